"""Which door a path goes through. The doors are imported when they are used, for each brings a library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from pipeline.classes import ClassTable, rows_of, table_of
from pipeline.engine import Source
from pipeline.errors import InputError, RequestError
from pipeline.extras import need
from pipeline.geometry import Grid, cut_bands
from pipeline.io.address import is_mosaic, is_remote, is_stack, name_of, parts_of_stack, shown
from pipeline.io.dicom.files import is_dicom
from pipeline.io.foreign import way_out
from pipeline.io.pairs import PAIRS, halves, parts
from pipeline.io.slabs import slabs

SCENES = (".tif", ".tiff")
VOLUMES = (".nii", ".nii.gz")
NRRD, META = (".nrrd", ".nhdr"), (".mha", ".mhd")
"""Volumes that are read, and never written."""
STORES = (".zarr",)
COMPANIONS = (".qml", ".png", ".json", ".ctbl", ".label")
VECTORS = (".gpkg", ".parquet", ".geojson")
_PACKED = (".nii.gz", ".hdr.gz", ".img.gz")


def suffix_of(path: str | Path) -> str:
    """The suffix that tells the format, in lower case: `.nii.gz`, `.hdr.gz` and `.img.gz` each count as one."""
    name = name_of(path).lower()
    return next((suffix for suffix in _PACKED if name.endswith(suffix)), Path(name).suffix)


def stem_of(path: str | Path) -> str:
    """The name without folder and suffix. Of a folder that is no store, all of it: its points are no suffix."""
    name = name_of(path)
    if Path(path).is_dir() and suffix_of(path) not in STORES:
        return name
    return name[: len(name) - len(suffix_of(path))]


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
        from pipeline.io.mosaic import MosaicSource

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
        from pipeline.io.stack import StackSource

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
        from pipeline.io.store import ZarrSource

        source = ZarrSource(path)
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
        from pipeline.io.nrrd import open_nrrd

        return open_nrrd(path)
    if suffix_of(path) in META:
        from pipeline.io.metaimage import open_metaimage

        return open_metaimage(path)
    from pipeline.io.volume import open_volume

    return open_volume(path, **form._asdict())


def files_of(path: str | Path) -> tuple[Path, ...]:
    """The files of an input: that at `path`, and that of the voxels where its header is a file of its own."""
    voxels: tuple[Path, ...] = ()
    if suffix_of(path) == ".nhdr":
        need("nrrd", f"{path}")
        from pipeline.io.nrrd import read_nrrd

        voxels = (read_nrrd(Path(path)).data,)
    if suffix_of(path) == ".mhd":
        from pipeline.io.metaimage import read_metaimage

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
    from pipeline.io.volume_header import placed

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
        from pipeline.io.mosaic import versions

        return versions(str(path))
    if is_stack(path):
        return {"name": shown(path), "parts": [identity(part) for _, part in parts_of_stack(path)]}
    if is_remote(path):
        from pipeline.io.remote import version_at

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


@dataclass(frozen=True)
class Mask:
    """Labels with all that goes beside them into a file."""

    labels: Source
    grid: Grid
    """Where the labels lie: the input's own grid, with its file's words."""
    nodata: int
    classes: ClassTable
    made: Mapping[str, Any]
    """How they were made, as JSON values."""


def publish(mask: Mask, path: Path) -> None:
    """Write a mask in the format of `path`'s suffix; it appears under its name when it is whole."""
    _WRITERS[_format(mask.grid, path)](mask, path)


def publish_layer(
    store: Path, path: Path, *, bands: Sequence[str], scaling: tuple[float, float] | None, made: Mapping[str, Any]
) -> None:
    """Write the layer in `store` in the format of `path`'s suffix; it appears under its name when it is whole."""
    from pipeline.io.store import ZarrSource

    if suffix_of(path) in STORES:
        _copy_store(store, path, made)
        return
    from pipeline.io.raster import write_layer

    layer = ZarrSource(store)
    values = (pixels.values for _, pixels in slabs(layer, 1024))
    tags = {"PIPELINE": json.dumps(made)}
    nodata = float("nan") if layer.nodata is None else layer.nodata
    write_layer(path, layer.grid, values, layer.dtype, bands=bands, nodata=nodata, scaling=scaling, tags=tags)


def _copy_store(store: Path, path: Path, made: Mapping[str, Any]) -> None:
    from pipeline.io.safely import own_name
    from pipeline.io.store import note_made

    draft = own_name(path)
    remove(draft)
    try:
        shutil.copytree(store, draft)
        note_made(draft, made)
        remove(path)
        draft.rename(path)
    finally:
        remove(draft)


def check_output(grid: Grid, path: Path) -> None:
    """Raise RequestError unless a mask of `grid` can be written in the format of `path`."""
    _format(grid, path)


@dataclass(frozen=True)
class About:
    """What a mask says of itself, beside its cells."""

    nodata: int | None = None
    classes: ClassTable = ()
    made: Mapping[str, Any] | None = None
    """How it was made, as JSON values; None where it does not say."""


def about(path: str | Path) -> About:
    """What the mask at `path` says of itself; nothing where it does not, or is none."""
    try:
        return _ABOUT[suffix_of(path)](Path(path))
    except (KeyError, ValueError, InputError, OSError):
        return About()


def in_the_way(path: Path) -> Path | None:
    """A file that goes beside a mask at `path` and stands there already, written by something else."""
    beside = _sidecar(path)
    if suffix_of(path) not in VOLUMES or not beside.exists():
        return None
    try:
        ours = "made" in json.loads(beside.read_text(encoding="utf-8"))
    except (ValueError, TypeError):
        ours = False
    return None if ours else beside


def remove(path: Path) -> None:
    """Delete a file or a store, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _check_file(path: Path) -> None:
    at = next((part for part in (path, *path.parents) if part.exists()), path)
    if at != path and suffix_of(at) not in STORES:
        raise InputError(f"{path}: there is no such file; look for it with `ls {at}`")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); fetch or write it again")


def _format(grid: Grid, path: Path) -> str:
    suffix = suffix_of(path)
    fitting = (*(SCENES if grid.is_scene else VOLUMES), *STORES)
    if suffix not in fitting:
        kind = "scene" if grid.is_scene else "volume"
        raise RequestError(f"{path}: a mask of a {kind} is written as {', '.join(fitting)}, not {suffix or 'without'}")
    return suffix


def _rows(mask: Mask) -> Iterator[NDArray[Any]]:
    """The labels from the top, in slabs that end where blocks end."""
    step = mask.labels.block[0]
    height = step * max(1, (1024 if mask.grid.is_scene else 16) // step)
    return (pixels.values[0] for _, pixels in slabs(mask.labels, height))


def _write_tif(mask: Mask, path: Path) -> None:
    from pipeline.io.raster import write_cog

    tags = {"PIPELINE": json.dumps(mask.made)}
    write_cog(path, mask.grid, _rows(mask), mask.labels.dtype, nodata=mask.nodata, classes=mask.classes, tags=tags)


def _write_nifti(mask: Mask, path: Path) -> None:
    from pipeline.io.safely import replacing
    from pipeline.io.volume import write_nifti

    beside = {"labels": rows_of(mask.classes), "nodata": mask.nodata, "made": mask.made}

    def describe() -> None:
        """Never beside an older volume, which it would tell of as well."""
        path.unlink(missing_ok=True)
        with replacing(_sidecar(path)) as draft:
            draft.write_text(json.dumps(beside, indent=1) + "\n", encoding="utf-8")

    try:
        write_nifti(path, mask.grid, _rows(mask), mask.labels.dtype, before=describe)
    except BaseException:
        if not path.exists():
            _sidecar(path).unlink(missing_ok=True)
        raise


def _write_zarr(mask: Mask, path: Path) -> None:
    from pipeline.io.safely import own_name
    from pipeline.io.store import CHUNK, BandStore, create_labels

    draft = own_name(path)
    remove(draft)
    try:
        create_labels(draft, mask.grid, mask.labels.dtype, nodata=mask.nodata, classes=mask.classes, made=mask.made)
        store = BandStore(draft)
        for band in cut_bands(mask.grid.shape, CHUNK[len(mask.grid.shape)][0]):
            store.write(band, mask.labels.read(band).values[0])
        remove(path)
        draft.rename(path)
    finally:
        remove(draft)


def _tif_about(path: Path) -> About:
    from pipeline.io.raster import RasterSource

    source = RasterSource(path)
    source.close()
    made = json.loads(source.tags["PIPELINE"]) if "PIPELINE" in source.tags else None
    known = source.nodata is not None and float(source.nodata).is_integer()
    return About(int(source.nodata or 0) if known else None, source.classes, made)


def _nifti_about(path: Path) -> About:
    beside = json.loads(_sidecar(path).read_text(encoding="utf-8"))
    return About(beside["nodata"], table_of(beside["labels"]), beside["made"])


def _zarr_about(path: Path) -> About:
    from pipeline.io.store import ZarrSource

    source = ZarrSource(path)
    return About(source.nodata, source.classes, source.made or None)


def _sidecar(path: Path) -> Path:
    return path.with_name(stem_of(path) + ".json")


_WRITERS: dict[str, Callable[[Mask, Path], None]] = {
    **dict.fromkeys(SCENES, _write_tif),
    **dict.fromkeys(VOLUMES, _write_nifti),
    **dict.fromkeys(STORES, _write_zarr),
}
_ABOUT: dict[str, Callable[[Path], About]] = {
    **dict.fromkeys(SCENES, _tif_about),
    **dict.fromkeys(VOLUMES, _nifti_about),
    **dict.fromkeys(STORES, _zarr_about),
}
