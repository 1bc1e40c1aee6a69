"""From the stores of a work folder to the files of an output: the layers first, for a mask says that all is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.jobs.bids import derivative_of, describe
from pipeline.engine import Source
from pipeline.engine.ledger import differences
from pipeline.errors import OutputError
from pipeline.io.mask_files import Mask, about, header_beside, in_the_way, publish_layer, remove
from pipeline.io.mask_files import publish as publish_mask
from pipeline.io.zarr import ZarrSource, create_labels, create_layer
from pipeline.sources.reoriented import Reoriented, inverse
from pipeline.jobs.layers import DISAGREEMENT, seam_index
from pipeline.runs.prepared import ROUNDING, Setup
from pipeline.runs.work_folder import MASK, store_of

FAILED = "failed_patches"
"""Name, in the record of a mask, of the number of patches that the network could not do."""
SEAMS = "seam_index"
"""Name, in the record of a layer of disagreement, of its mean where patches overlap."""


def create(setup: Setup) -> None:
    """Make the stores of labels and layers in the work folder, all nodata."""
    grid = setup.grid if setup.averaged else setup.swept
    create_labels(
        setup.work / MASK,
        grid,
        setup.labels.dtype,
        nodata=int(setup.labels.nodata),
        classes=setup.classes,
        made=setup.fingerprint(),
        header=header_beside(grid, setup.labels.dtype),
    )
    for layer in setup.layers:
        create_layer(
            store_of(setup, layer),
            setup.swept,
            layer.decision.dtype,
            name=layer.name,
            bands=layer.bands,
            nodata=layer.decision.nodata,
            scaling=layer.scaling,
            made=setup.fingerprint(),
        )


def has_failed(path: Path) -> bool:
    """Whether the mask at `path` says that the network could not do all of it."""
    return FAILED in (about(path).made or {})


def check_free(setup: Setup) -> None:
    """Raise OutputError for a file that something else wrote where one of the output's own is to be."""
    other = in_the_way(setup.output)
    for layer in setup.layers:
        path = layer.beside(setup.output)
        if other is None and path.exists() and made_otherwise(setup, path, but=(FAILED, SEAMS)):
            other = path
    if other is not None:
        raise OutputError(
            f"{other}: would be replaced by the mask's own; --overwrite allows it, or give another --output"
        )


def made_otherwise(setup: Setup, path: Path, but: Sequence[str] = ()) -> str:
    """In what the file at `path`, `but` for these fields, differs from what this run would write; empty if in none."""
    made = about(path).made
    if made is None:
        return "something else"
    left = {name: value for name, value in made.items() if name not in but}
    return differences(left, {**setup.fingerprint(), **{name: made.get(name) for name in ROUNDING}})


def publish(setup: Setup, failed: int) -> float | None:
    """Write the output; where patches `failed` it says so, and the work folder is kept to make them good.

    The mean disagreement where patches overlap, if that layer is asked for.
    """
    made = {**setup.fingerprint(), **({FAILED: failed} if failed else {})}
    seams = _seams(setup)
    for layer in setup.layers:
        publish_layer(
            store_of(setup, layer),
            layer.beside(setup.output),
            bands=layer.bands,
            scaling=layer.scaling,
            made=made | ({SEAMS: seams} if layer.name == DISAGREEMENT else {}),
        )
    _publish_labels(setup, made, whole=not failed)
    return seams


def _seams(setup: Setup) -> float | None:
    stores = [store_of(setup, layer) for layer in setup.layers if layer.name == DISAGREEMENT]
    return seam_index(ZarrSource(stores[0]), setup.lattice) if stores else None


def _publish_labels(setup: Setup, made: Mapping[str, Any], *, whole: bool) -> None:
    store = setup.work / MASK
    turned = None if setup.averaged else setup.orientation
    if setup.output.suffix == ".zarr" and turned is None and whole:
        remove(setup.output)
        store.rename(setup.output)
        return
    labels: Source = ZarrSource(store)
    if turned is not None:
        labels = Reoriented(labels, *inverse(*turned))
    derivative = derivative_of(setup.job.input, setup.output)
    told = {} if derivative is None else describe(derivative, setup.output, setup.classes)
    publish_mask(Mask(labels, setup.grid, int(setup.labels.nodata), setup.classes, made, told), setup.output)
