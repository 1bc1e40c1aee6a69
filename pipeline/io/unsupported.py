"""Formats of volumes that are not read, and what converts them. Standard library only."""

from __future__ import annotations

from pathlib import Path

_CONVERTERS = {
    ".mnc": ("MINC", "`mnc2nii`"),
    ".mif": ("MRtrix", "`mrconvert`"),
    ".mgz": ("FreeSurfer", "`mri_convert`"),
    ".mgh": ("FreeSurfer", "`mri_convert`"),
    ".head": ("AFNI", "`3dAFNItoNIFTI`"),
    ".brik": ("AFNI", "`3dAFNItoNIFTI`"),
}
"""By suffix: the format, and a converter to NIfTI."""


def way_out(path: str | Path) -> str | None:
    """What to do with a file in a format of volumes that is not read; None for any other."""
    suffix = Path(str(path).lower().removesuffix(".gz")).suffix
    if suffix == ".dcm":
        return "is one file of DICOM; give the folder that holds its series"
    if suffix not in _CONVERTERS:
        return None
    name, converter = _CONVERTERS[suffix]
    return f"{name} is not read; convert it to NIfTI first, as with {converter}"
