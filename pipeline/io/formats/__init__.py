"""The formats of inputs and masks, in one table. To add one, add a module here and an entry in `FORMATS`.

The packages of the libraries (`raster`, `volume`, `dicom`, `zarr`) are imported when a file is opened or written.
May import the modules of `pipeline.io`, and those packages inside functions only.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.files.object_path import ObjectPath
from pipeline.io.address import is_remote
from pipeline.io.formats.dicom import DICOM, DICOM_FILE
from pipeline.io.formats.format import Format, Input, Kind, MaskFormat, OpenOptions
from pipeline.io.formats.metaimage import METAIMAGE
from pipeline.io.formats.mosaic import MOSAIC
from pipeline.io.formats.nifti import NIFTI
from pipeline.io.formats.nrrd import NRRD
from pipeline.io.formats.raster import RASTER
from pipeline.io.formats.stack import STACK
from pipeline.io.formats.subdataset import SUBDATASET
from pipeline.io.formats.unsupported import UNSUPPORTED
from pipeline.io.formats.zarr import ZARR
from pipeline.io.suffixes import READ_BY_GDAL, suffix_of
from pipeline.io.volume.nifti_pairs import halves

__all__ = [
    "FORMATS",
    "Format",
    "Input",
    "Kind",
    "MaskFormat",
    "OpenOptions",
    "is_found_by_name",
    "is_input",
    "is_named_only",
    "look",
    "mask_format",
    "mask_suffixes",
]

FORMATS = (MOSAIC, STACK, SUBDATASET, DICOM, RASTER, NIFTI, ZARR, NRRD, METAIMAGE, DICOM_FILE, UNSUPPORTED)
"""An input is of the first that matches it; messages name suffixes in this order."""


def look(path: str | Path | Input) -> Input:
    """Find the format of an input by its name or, where that is not enough, by a first look at its files.

    What no format matches is left to GDAL, and so is an input that does not exist.

    Raises:
        RequestError: A raster of a stack has no name.

    """
    if isinstance(path, Input):
        return path
    text = str(path)
    found = next((each for each in FORMATS if each.matches(text)), RASTER)
    parts = tuple((name, look(part)) for name, part in found.parts(text))
    return Input(text, found, is_remote(text), parts)


def is_input(path: Path) -> bool:
    """Return whether a file in a folder is an input, by its suffix; the header of a NIfTI pair is, for both halves."""
    suffix = suffix_of(path)
    return any(
        suffix in (*each.suffixes, *each.read_only) or (suffix in each.unsure and each.matches(str(path)))
        for each in FORMATS
    )


def is_found_by_name(name: str) -> bool:
    """Return whether a prefix stands for objects of this name, without a look at them."""
    suffix = suffix_of(name)
    return suffix == ".zip" or any(suffix in (*each.suffixes, *each.read_only, *each.unsure) for each in FORMATS)


def is_named_only(path: Path) -> bool:
    """Return whether a file is an input if it is named, but is not what a folder stands for."""
    return path.suffix.lower() in READ_BY_GDAL and halves(path) is None and not path.is_dir()


def mask_format(path: str | Path | ObjectPath, kind: Kind | None = None) -> MaskFormat | None:
    """Return how masks are written under a name; None where its suffix is not that of a mask of this kind."""
    suffix = suffix_of(path)
    return next((each.mask for each in _of_masks(kind) if suffix in each.mask_suffixes), None)


def mask_suffixes(kind: Kind | None = None, *, layers: bool = False) -> tuple[str, ...]:
    """Return the suffixes of masks of a kind, or of all masks; with `layers`, of those that may have layers."""
    found = (each for each in _of_masks(kind) if not layers or (each.mask and each.mask.write_layer))
    return tuple(suffix for each in found for suffix in each.mask_suffixes)


def _of_masks(kind: Kind | None) -> list[Format]:
    return [each for each in FORMATS if each.mask is not None and (kind is None or each.kind in (kind, None))]
