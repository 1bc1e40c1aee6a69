"""The stores of a work folder: created empty, checked against the marks of finished slabs, and mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.engine.ledger import Ledger
from pipeline.errors import DamagedError
from pipeline.files.atomic import remove
from pipeline.geometry import Box
from pipeline.io.formats.nifti import header_beside
from pipeline.io.mask_files import takes_tiles
from pipeline.io.zarr import SlabStore, create_labels, create_layer, create_scores
from pipeline.jobs.layers import Layer
from pipeline.runs.disk_storage import do_nothing
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.view_sweep import ViewSweep, sweeps_of
from pipeline.runs.work_folder import MASK, SCORES, store_of


@dataclass(frozen=True)
class Part:
    """Stores that are filled slab by slab together, with the ledger that marks these slabs."""

    ledger: Ledger
    stores: tuple[Path, ...]
    create: Callable[[], None]
    """Creates the stores, all nodata."""
    drop: Callable[[Iterable[Path]], None] = do_nothing
    """Is given the files of a damaged slab, which are written again."""

    def damaged(self, *, read: bool) -> Iterator[Box]:
        """Yield the marked slabs that are not as they were written; `read` also checks every byte of their chunks."""
        stores: Sequence[SlabStore] = ()
        with suppress(DamagedError):
            stores = [SlabStore(path) for path in self.stores]
        return (slab for slab in self.ledger.marked if not stores or not self._is_whole(stores, slab, read=read))

    def _is_whole(self, stores: Sequence[SlabStore], slab: Box, *, read: bool) -> bool:
        try:
            said = self.ledger.digests(slab) or {}
            for store in stores:
                store.check(slab, said.get(store.path.name) or {}, read=read)
        except DamagedError:
            return False
        return True

    def _files_of(self, slab: Box) -> Iterator[Path]:
        """The files of a slab in all stores, and its mark."""
        yield self.ledger.mark_file(slab)
        for path in self.stores:
            with suppress(DamagedError):
                yield from SlabStore(path).all_chunk_files(slab)

    def mend(self) -> list[Box]:
        """Take away the marks of damaged slabs, and return these; stores without any finished slab are created anew."""
        damaged = list(self.damaged(read=True))
        for slab in damaged:
            self.ledger.unmark(slab)
            self.drop(self._files_of(slab))
        if not self.ledger.any_done:
            for path in self.stores:
                remove(path)
            self.create()
        return damaged


def parts_of(prepared: PreparedJob) -> tuple[Part, ...]:
    """Return the parts of a work folder in the order in which they are filled: the scores of views, then labels."""
    return (*(view_parts(prepared) if prepared.averaged else ()), labels_part(prepared))


def view_parts(prepared: PreparedJob) -> tuple[Part, ...]:
    """Return the scores of each of several views."""
    return tuple(
        Part(Ledger(sweep.folder), (sweep.folder / SCORES,), partial(_create_scores, sweep), prepared.storage.drop)
        for sweep in sweeps_of(prepared)
    )


def labels_part(prepared: PreparedJob) -> Part:
    """Return the labels and layers."""
    paths = (prepared.work / MASK, *(store_of(prepared, layer) for layer in prepared.layers))
    return Part(Ledger(prepared.work), paths, partial(_create_labels, prepared), prepared.storage.drop)


def check(parts: Sequence[Part]) -> None:
    """Check that no chunk of a finished slab is gone, cut or another one; its bytes are checked as they are read.

    Raises:
        DamagedError: With the first slab that is damaged.

    """
    for part in parts:
        for slab in part.damaged(read=False):
            raise DamagedError(f"{part.stores[0]}: {slab} is not as it was written")


def _create_scores(sweep: ViewSweep) -> None:
    create_scores(sweep.folder / SCORES, sweep.grid, sum(sweep.scores.planes))
    Ledger(sweep.folder).begin(sweep.prepared.fingerprint())


def _header_of(prepared: PreparedJob, layer: Layer) -> bytes:
    return header_beside(prepared.store_grid, layer.decision.dtype, channels=len(layer.bands), scaling=layer.scaling)


def _create_labels(prepared: PreparedJob) -> None:
    create_labels(
        prepared.work / MASK,
        prepared.store_grid,
        prepared.labels.dtype,
        nodata=int(prepared.labels.nodata),
        classes=prepared.classes,
        provenance=prepared.fingerprint(),
        header=header_beside(prepared.store_grid, prepared.labels.dtype),
        checksums=True,
        tiled=takes_tiles(prepared.store_grid, prepared.output),
    )
    for layer in prepared.layers:
        create_layer(
            store_of(prepared, layer),
            prepared.store_grid,
            layer.decision.dtype,
            name=layer.name,
            bands=layer.bands,
            nodata=layer.decision.nodata,
            scaling=layer.scaling,
            provenance=prepared.fingerprint(),
            header=_header_of(prepared, layer),
        )
