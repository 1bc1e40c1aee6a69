"""File names: the suffix that says the format, and the stem before it. Standard library only."""

from __future__ import annotations

from pathlib import Path

from pipeline.files.object_path import ObjectPath, Place
from pipeline.io.address import name_of

STORES = (".zarr",)

PICTURES = (".png", ".svg", ".pdf")
"""Of scenes; of volumes only the first."""
SIDECARS = (".qml", *PICTURES, ".json", ".ctbl", ".label")

VECTORS = (".gpkg", ".parquet", ".geojson")

READ_BY_GDAL = tuple(
    (  # noqa: SIM905  (a list of them takes a page)
        ".asc .bag .bil .bip .blx .bmp .bsq .bt .byn .cub .dem .dt0 .dt1 .dt2 .ecw .ers .gif .grb .grb2 .grd "
        ".grib .grib2 .h5 .hdf .hdf5 .hf2 .hgt .img .j2k .jp2 .jpeg .jpg .jpx .jxl .kea .kro .lcp .mbtiles "
        ".mrf .nc .nitf .ntf .pgm .pix .png .pnm .ppm .rgb .rst .rsw .sdat .sid .sigdem .ter .vrt .webp .xpm"
    ).split()
)
"""Suffixes of rasters that are inputs if they are named, but that a folder does not stand for: among them are previews,
and mosaics of what is there already."""

_DOUBLE = (".nii.gz", ".hdr.gz", ".img.gz", ".seg.nrrd")


def suffix_of(path: str | Path | ObjectPath) -> str:
    """Return the suffix that says the format, in lower case: `.nii.gz` and `.seg.nrrd`, for example, count as one.

    The last number of a name such as `1.2.840.99`, a UID of DICOM, is none.
    """
    name = name_of(path).lower()
    if name.endswith(_DOUBLE):
        return next(suffix for suffix in _DOUBLE if name.endswith(suffix))
    at = name.rfind(".")
    suffix = name[at:] if 0 < at < len(name) - 1 else ""
    return "" if suffix[1:].isdecimal() else suffix


def stem_of(path: str | Path | ObjectPath) -> str:
    """Return the name without folder and suffix. The stem of a folder that is not a store is its whole name."""
    name = name_of(path)
    if not isinstance(path, ObjectPath) and Path(path).is_dir() and suffix_of(path) not in STORES:
        return name
    return name[: len(name) - len(suffix_of(path))]


def with_stem(path: Place, stem: str) -> Place:
    """Return the path with another stem, in the same folder and with the same suffix."""
    return path.with_name(stem + suffix_of(path))


def names_folder(name: str | Path) -> bool:
    """Return whether a name can be that of a folder for masks: an existing folder, or a new name without a suffix."""
    path = Path(name)
    return path.is_dir() or not (path.is_file() or (suffix_of(name) and not str(name).endswith("/")))


def names_store(name: str | Path | ObjectPath) -> bool:
    """Return whether a name is that of a Zarr store."""
    return suffix_of(name) in STORES


def has_suffix(name: str | Path | ObjectPath) -> bool:
    """Return whether a name says the format."""
    return suffix_of(name) != ""


def is_read_by_gdal(name: str | Path | ObjectPath) -> bool:
    """Return whether a name is that of a raster that is an input only if it is named."""
    return suffix_of(name) in READ_BY_GDAL


def is_store(path: Path) -> bool:
    """Return whether a folder is a Zarr store: by its suffix, or by the metadata of version 3 in it."""
    return path.is_dir() and (path.suffix in STORES or (path / "zarr.json").exists())
