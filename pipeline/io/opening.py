"""Which door an input comes in through. The doors are imported when they are used, for each brings a library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.engine import Source
from pipeline.errors import InputError, RequestError
from pipeline.geometry import Grid
from pipeline.io.address import is_mosaic, is_remote, is_stack, parts_of_stack, shown
from pipeline.io.dicom.files import is_dicom
from pipeline.io.mask_files import META, NRRD, STORES, VOLUMES, suffix_of
from pipeline.io.unsupported import way_out
from pipeline.io.volume.nifti_pairs import PAIRS, halves, parts
from pipeline.optional import need


def is_volume(path: str | Path) -> bool:
    """Whether the name tells a NIfTI file, or the path is a half of a NIfTI pair."""
    return suffix_of(path) in VOLUMES or (suffix_of(path) in PAIRS and halves(Path(path)) is not None)


def is_series(path: str | Path) -> bool:
    """Whether an input is a folder of DICOM files, or a zip of one, by their content."""
    return not (is_remote(path) or is_mosaic(path) or is_stack(path)) and is_dicom(Path(path))


def open_source(
    path: str | Path,
    *,
    bands: Sequence[int | str] | None = None,
    onto: Grid | None = None,
    affine: str = "strict",
    volume: int | None = None,
    keep_text: bool = False,
    series: str | None = None,
) -> Source:
    """Open an input: a scene as GDAL opens it, a volume in NIfTI, NRRD, MetaImage or DICOM, or a Zarr array.

    `bands` (of GDAL's rasters) are numbers from 1, or names; `onto` is a grid that a scene is put on. Of NIfTI:
    `affine` is what holds where sform and qform disagree, "sform", "qform", or "strict" for neither; `volume`, from 0,
    is one of a 4-D file; `keep_text` takes free text and extensions of the header along. `series` is the UID of one of
    several DICOM series. Raises InputError with the path, what was found and the way out.
    """
    if is_mosaic(path):
        from pipeline.io.raster.mosaic import MosaicSource

        return MosaicSource(str(path), bands, onto)
    source = _opened(path, bands, series, _Form(affine, volume, keep_text))
    if onto is None:
        return source
    from pipeline.io.raster.warped import Warped

    return Warped(source, onto)


class _Form(NamedTuple):
    """How a NIfTI file is read."""

    affine: str
    volume: int | None
    keep_text: bool


def _opened(path: str | Path, bands: Sequence[int | str] | None, series: str | None, form: _Form) -> Source:
    if is_stack(path):
        from pipeline.io.raster.stack import StackSource

        return StackSource(str(path), bands)
    dicom, nifti = is_series(path), is_volume(path)
    _check(path, dicom=dicom, nifti=nifti, series=series, volume=form.volume)
    if dicom:
        need("dicom", f"{path}")
        from pipeline.io.dicom.source import DicomSource

        source: Source = DicomSource(Path(path), series)
    elif nifti or suffix_of(path) in (*NRRD, *META):
        source = _open_volume(Path(path), form)
    elif Path(path).is_dir() or ".zarr/" in str(path):
        from pipeline.io.zarr import ZarrSource

        source = ZarrSource(path, form.affine)
    else:
        from pipeline.io.raster import RasterSource

        return RasterSource(path, bands)
    if bands is not None:
        raise RequestError(f"{path}: bands can be chosen of GDAL's rasters only; this input has {source.channels}")
    return source


def _check(path: str | Path, *, dicom: bool, nifti: bool, series: str | None, volume: int | None) -> None:
    """Raise InputError for what is no input, and RequestError for a choice that it does not have."""
    if not is_remote(path):
        _check_file(Path(path))
    elif suffix_of(path) in (*VOLUMES, *NRRD, *META):
        raise InputError(f"{shown(path)}: volumes are read from files; download it first, as with `curl -LO`")
    if not dicom and (words := way_out(path)):
        raise InputError(f"{shown(path)}: {words}")
    if volume is not None and not nifti:
        raise RequestError(f"{shown(path)}: --volume chooses one of a 4-D NIfTI file; this is none")
    if series is not None and not dicom:
        raise RequestError(f"{shown(path)}: --series is for folders of DICOM files; this is none")


def _open_volume(path: Path, form: _Form) -> Source:
    """A volume in a file."""
    if suffix_of(path) in NRRD:
        need("nrrd", f"{path}")
        from pipeline.io.volume.nrrd import open_nrrd

        return open_nrrd(path)
    if suffix_of(path) in META:
        from pipeline.io.volume.metaimage import open_metaimage

        return open_metaimage(path)
    from pipeline.io.volume.nifti import open_volume

    return open_volume(path, **form._asdict())


def files_of(path: str | Path) -> tuple[Path, ...]:
    """The files of an input: that at `path`, and that of the voxels where its header is a file of its own.

    Of a folder of DICOM files, all in it: one that is written again in its place leaves the folder's date as it was.
    """
    if Path(path).is_dir() and is_series(path):
        return tuple(sorted(file for file in Path(path).iterdir() if file.is_file()))
    voxels: tuple[Path, ...] = ()
    if suffix_of(path) == ".nhdr":
        need("nrrd", f"{path}")
        from pipeline.io.volume.nrrd import read_nrrd

        voxels = (read_nrrd(Path(path)).data,)
    if suffix_of(path) == ".mhd":
        from pipeline.io.volume.metaimage import read_metaimage

        voxels = (read_metaimage(Path(path)).data,)
    return tuple(dict.fromkeys((*parts(Path(path)), *voxels)))


def same_system(one: str | None, other: str | None) -> bool:
    """Whether two coordinate systems, in WKT or as codes, are the same."""
    if one is None or other is None or one == other:
        return one == other
    from pipeline.io.raster.georeference import same_crs

    return same_crs(one, other)


def form_apart(one: Grid, other: Grid, form: str) -> float | None:
    """Millimetres between two grids that were read from NIfTI, by their "sform" or "qform", at the farthest corner.

    None where that of one of them is broken.
    """
    from pipeline.io.volume.nifti_header import placed

    try:
        first, second = placed(one, form), placed(other, form)
    except InputError:
        return None
    return first.apart(second) * min(first.spacing)


def identity(path: str | Path, series: str | None = None) -> dict[str, Any]:
    """What tells one version of an input from another, without reading it: name, size and time of change.

    Of a DICOM series, a digest of the UIDs of its instances. Of an http(s) address, what its server tells; of any
    other, the name alone.
    """
    if is_mosaic(path):
        from pipeline.io.raster.mosaic import versions

        return versions(str(path))
    if is_stack(path):
        return {"name": shown(path), "parts": [identity(part) for _, part in parts_of_stack(path)]}
    if is_remote(path):
        from pipeline.io.http import version_at

        address = str(path).removeprefix("/vsicurl/")
        return {"name": shown(path), **(version_at(address) if address.startswith("http") else {})}
    if is_series(path):
        from pipeline.io.dicom.source import series_identity

        return {"name": Path(path).name, **series_identity(Path(path), series)}
    first, *others = (
        {"name": part.name, "bytes": about.st_size, "changed_ns": about.st_mtime_ns}
        for part in files_of(path)
        for about in (part.stat(),)
    )
    return {**first, **({"voxels": others[0]} if others else {})}


def _check_file(path: Path) -> None:
    at = next((part for part in (path, *path.parents) if part.exists()), path)
    if path.is_symlink() and at != path:
        raise InputError(f"{path}: is a link to a file that is not there; fetch that, as with `git annex get`")
    if at != path and suffix_of(at) not in STORES:
        raise InputError(f"{path}: there is no such file; look for it with `ls {at}`")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); fetch or write it again")
