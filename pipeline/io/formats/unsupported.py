"""The record of volumes that are not read, with what converts them."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from pipeline.errors import InputError
from pipeline.io.formats.format import Format, Input, OpenOptions

_CONVERTERS = {
    ".mnc": ("MINC", "`mnc2nii`"),
    ".mif": ("MRtrix", "`mrconvert`"),
    ".mgz": ("FreeSurfer", "`mri_convert`"),
    ".mgh": ("FreeSurfer", "`mri_convert`"),
    ".head": ("AFNI", "`3dAFNItoNIFTI`"),
    ".brik": ("AFNI", "`3dAFNItoNIFTI`"),
}
"""By suffix: the format, and a converter to NIfTI."""
_ONE_SLICE = ".dcm"


def _suffix(text: str) -> str:
    return Path(text.lower().removesuffix(".gz")).suffix


def _matches(text: str) -> bool:
    return _suffix(text) in (*_CONVERTERS, _ONE_SLICE)


def _refuse(item: Input, options: OpenOptions) -> NoReturn:
    suffix = _suffix(item.text)
    if suffix == _ONE_SLICE:
        raise InputError(f"{item.name}: is a single DICOM file; give the folder that holds its series")
    name, converter = _CONVERTERS[suffix]
    raise InputError(f"{item.name}: {name} is not supported; convert it to NIfTI first, e.g. with {converter}")


UNSUPPORTED = Format("unsupported", matches=_matches, open=_refuse, takes=("volume", "series"))
