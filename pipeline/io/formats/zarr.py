"""The record of Zarr: scenes and volumes in, masks and layers out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.engine import Source
from pipeline.files.atomic import atomic_folder
from pipeline.geometry import cut_slabs
from pipeline.io.address import is_remote
from pipeline.io.formats.format import Format, Input, MaskFormat, OpenOptions
from pipeline.io.formats.nifti import header_beside
from pipeline.io.mask import Mask, MaskInfo, MaskLayer
from pipeline.io.suffixes import STORES, suffix_of


def _matches(text: str) -> bool:
    return ".zarr/" in text or (suffix_of(text) in STORES if is_remote(text) else Path(text).is_dir())


def _open(item: Input, options: OpenOptions) -> Source:
    from pipeline.io.zarr import ZarrSource

    return ZarrSource(item.text, options.affine)


def _also_read(item: Input) -> Iterator[Path]:
    return (path for path in item.path.rglob("*") if path.is_file())


def _version(item: Input, series: str | None) -> dict[str, Any]:
    if not item.remote:
        about = item.path.stat()
        return {"name": item.path.name, "bytes": about.st_size, "changed_ns": about.st_mtime_ns}
    from pipeline.io.zarr import version_at

    return {"name": item.name, **version_at(item.text)}


def _write(mask: Mask, path: Path) -> None:
    from pipeline.io.zarr import CHUNK, SlabStore, create_labels

    header = header_beside(mask.grid, mask.labels.dtype)
    said: dict[str, Any] = {"nodata": mask.nodata, "classes": mask.classes, "provenance": mask.provenance}
    with atomic_folder(path) as draft:
        create_labels(draft, mask.grid, mask.labels.dtype, **said, header=header)
        store = SlabStore(draft)
        for slab in cut_slabs(mask.grid.shape, CHUNK[len(mask.grid.shape)][0]):
            store.write(slab, mask.labels.read(slab).values[0])


def _write_layer(layer: MaskLayer, path: Path) -> None:
    """A layer that was made as it lies is copied; one of a volume that was turned is turned back."""
    from pipeline.io.zarr import WorkSource, export_store, record_provenance

    with atomic_folder(path) as draft:
        if isinstance(layer.values, WorkSource):
            export_store(layer.values.path, draft)
            record_provenance(draft, layer.provenance)
        else:
            _write_turned(layer, draft)


def _write_turned(layer: MaskLayer, path: Path) -> None:
    from pipeline.io.zarr import CHUNK, SlabStore, create_layer

    height, *_, width = CHUNK[len(layer.grid.shape)]
    kind, bands = layer.values.dtype, layer.bands
    said: dict[str, Any] = {"scaling": layer.scaling, "provenance": layer.provenance, "nodata": layer.nodata}
    header = header_beside(layer.grid, kind, channels=len(bands), scaling=layer.scaling)
    create_layer(path, layer.grid, kind, name=layer.name, bands=bands, header=header, checksums=False, **said)
    store = SlabStore(path)
    for slab in cut_slabs(layer.grid.shape, height, width):
        values = layer.values.read(slab).values
        store.write(slab, values if len(bands) > 1 else values[0])


def _info(path: Path) -> MaskInfo:
    from pipeline.io.zarr import ZarrSource

    source = ZarrSource(path)
    nodata: Any = source.info.nodata
    return MaskInfo(nodata, source.classes, source.provenance or None)


ZARR = Format(
    "Zarr",
    matches=_matches,
    open=_open,
    suffixes=STORES,
    also_read=_also_read,
    version=_version,
    mask=MaskFormat(_write, _info, _write_layer),
)
