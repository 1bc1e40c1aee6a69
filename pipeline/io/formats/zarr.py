"""The record of Zarr: scenes and volumes in, masks and layers out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.engine import Source
from pipeline.files.atomic import atomic_folder
from pipeline.geometry import cut_slabs
from pipeline.io.formats.format import Format, Input, MaskFormat, OpenOptions
from pipeline.io.formats.nifti import header_beside
from pipeline.io.mask import LayerRecord, Mask, MaskInfo
from pipeline.io.suffixes import STORES


def _matches(text: str) -> bool:
    return Path(text).is_dir() or ".zarr/" in text


def _open(item: Input, options: OpenOptions) -> Source:
    from pipeline.io.zarr import ZarrSource

    return ZarrSource(item.text, options.affine)


def _also_read(item: Input) -> Iterator[Path]:
    return (path for path in item.path.rglob("*") if path.is_file())


def _write(mask: Mask, path: Path) -> None:
    from pipeline.io.zarr import CHUNK, SlabStore, create_labels

    header = header_beside(mask.grid, mask.labels.dtype)
    said: dict[str, Any] = {"nodata": mask.nodata, "classes": mask.classes, "provenance": mask.provenance}
    with atomic_folder(path) as draft:
        create_labels(draft, mask.grid, mask.labels.dtype, **said, header=header)
        store = SlabStore(draft)
        for slab in cut_slabs(mask.grid.shape, CHUNK[len(mask.grid.shape)][0]):
            store.write(slab, mask.labels.read(slab).values[0])


def _write_layer(store: Path, path: Path, record: LayerRecord) -> None:
    from pipeline.io.zarr import export_store, record_provenance

    with atomic_folder(path) as draft:
        export_store(store, draft)
        record_provenance(draft, record.provenance)


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
    mask=MaskFormat(_write, _info, _write_layer),
)
