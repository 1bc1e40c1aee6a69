"""Formats by their suffixes, and which door a mask goes out through; doors are imported when they are used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable, rows_of, table_of
from pipeline.engine import Source
from pipeline.errors import InputError, RequestError
from pipeline.files.atomic import atomic_folder, atomic_write
from pipeline.geometry import Grid, cut_slabs
from pipeline.io.address import name_of
from pipeline.sources.passes import slabs

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
    told: Mapping[str, Any] = field(default_factory=dict)
    """What else the JSON file beside a volume says."""


def publish(mask: Mask, path: Path) -> None:
    """Write a mask in the format of `path`'s suffix; it appears under its name when it is whole."""
    _WRITERS[_format(mask.grid, path)](mask, path)


def publish_layer(
    store: Path, path: Path, *, bands: Sequence[str], scaling: tuple[float, float] | None, made: Mapping[str, Any]
) -> None:
    """Write the layer in `store` in the format of `path`'s suffix; it appears under its name when it is whole."""
    from pipeline.io.zarr import ZarrSource

    if suffix_of(path) in STORES:
        _copy_store(store, path, made)
        return
    from pipeline.io.raster import write_layer

    layer = ZarrSource(store)
    values = (pixels.values for _, pixels in slabs(layer, 1024))
    tags = {"PIPELINE": json.dumps(made)}
    nodata = float("nan") if layer.info.nodata is None else layer.info.nodata
    write_layer(path, layer.grid, values, layer.dtype, bands=bands, nodata=nodata, scaling=scaling, tags=tags)


def _copy_store(store: Path, path: Path, made: Mapping[str, Any]) -> None:
    from pipeline.io.zarr import note_made

    with atomic_folder(path) as draft:
        shutil.copytree(store, draft)
        note_made(draft, made)


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
    suffix = ".zarr" if (Path(path) / "zarr.json").is_file() else suffix_of(path)
    try:
        return _ABOUT[suffix](Path(path))
    except (KeyError, ValueError, InputError, OSError):
        return About()


def header_beside(grid: Grid, dtype: np.dtype[Any]) -> bytes:
    """The NIfTI header that goes into the Zarr mask of a volume; nothing for that of a scene."""
    if grid.is_scene:
        return b""
    from pipeline.io.volume.nifti_write import header_block

    return header_block(grid, dtype)


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
    from pipeline.io.volume.nifti import write_nifti

    beside = {"labels": rows_of(mask.classes), "nodata": mask.nodata, "made": mask.made, **mask.told}

    def describe() -> None:
        """Never beside an older volume, which it would tell of as well."""
        path.unlink(missing_ok=True)
        with atomic_write(_sidecar(path)) as draft:
            draft.write_text(json.dumps(beside, indent=1) + "\n", encoding="utf-8")

    try:
        write_nifti(path, mask.grid, _rows(mask), mask.labels.dtype, before=describe)
    except BaseException:
        if not path.exists():
            _sidecar(path).unlink(missing_ok=True)
        raise


def _write_zarr(mask: Mask, path: Path) -> None:
    from pipeline.io.zarr import CHUNK, SlabStore, create_labels

    header = header_beside(mask.grid, mask.labels.dtype)
    said: dict[str, Any] = {"nodata": mask.nodata, "classes": mask.classes, "made": mask.made}
    with atomic_folder(path) as draft:
        create_labels(draft, mask.grid, mask.labels.dtype, **said, header=header)
        store = SlabStore(draft)
        for slab in cut_slabs(mask.grid.shape, CHUNK[len(mask.grid.shape)][0]):
            store.write(slab, mask.labels.read(slab).values[0])


def _tif_about(path: Path) -> About:
    from pipeline.io.raster import RasterSource

    source = RasterSource(path)
    source.close()
    made = json.loads(source.tags["PIPELINE"]) if "PIPELINE" in source.tags else None
    nodata = source.info.nodata
    known = nodata is not None and float(nodata).is_integer()
    return About(int(nodata or 0) if known else None, source.classes, made)


def _nifti_about(path: Path) -> About:
    beside = json.loads(_sidecar(path).read_text(encoding="utf-8"))
    return About(beside["nodata"], table_of(beside["labels"]), beside["made"])


def _zarr_about(path: Path) -> About:
    from pipeline.io.zarr import ZarrSource

    source = ZarrSource(path)
    nodata: Any = source.info.nodata
    return About(nodata, source.classes, source.made or None)


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
