"""Write the files of an output from a work folder: layers first, because a mask means that all is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from pipeline.engine import Failure, Source
from pipeline.engine.ledger import differences
from pipeline.errors import InputError, OutputError
from pipeline.files.atomic import atomic_folder
from pipeline.geometry import Box
from pipeline.geometry.orientation import inverse, unturned
from pipeline.io.mask_files import Mask, MaskLayer, foreign_sidecar, publish_layer, sidecar_of
from pipeline.io.mask_files import publish as publish_mask
from pipeline.io.zarr import WorkSource, export_store
from pipeline.jobs.bids import find_derivative, foreign_table, write_description
from pipeline.jobs.layers import DISAGREEMENT, Layer, mean_disagreement, seam_index
from pipeline.runs.prepared import ROUNDING, PreparedJob
from pipeline.runs.work_folder import MASK, store_of
from pipeline.sources.passes import slabs
from pipeline.sources.reoriented import ReorientedSource

FAILED = "failed_patches"
"""Name, in the record of a mask, of the number of patches that the network could not do."""
FAILED_AT = "failed_patches_at"
"""Name, in the record of a mask, of where they are: first cell of each and one past the last, in the mask's axes."""
SEAMS = "seam_index"
"""Name, in the record of a layer of disagreement, of its mean where patches overlap."""
MEAN = "disagreement"
"""Name, in the record of a layer of disagreement of several models or views, of its mean."""


def has_failed_patches(prepared: PreparedJob) -> bool:
    """Return whether the mask that is there records patches that the network failed on."""
    return FAILED in (prepared.storage.provenance(prepared.output) or {})


def check_free(prepared: PreparedJob) -> None:
    """Raise OutputError if a file that something else wrote would be overwritten."""
    derivative = find_derivative(prepared.job.input, prepared.output)
    paths = [layer.beside(prepared.output) for layer in prepared.layers]
    prepared.storage.fetch(filter(None, map(sidecar_of, paths)))
    other = foreign_sidecar(prepared.output) or foreign_table(derivative, prepared.output)
    if other := other or next(filter(None, (_foreign_layer(prepared, path) for path in paths)), None):
        raise OutputError(
            f"{other}: already exists and would be overwritten; use --overwrite to allow it, or give another --output"
        )


def _foreign_layer(prepared: PreparedJob, path: Path) -> Path | None:
    """Return a file that a layer would overwrite, if something else wrote it."""
    if prepared.storage.has(path) and difference_from(prepared, path, but=(FAILED, FAILED_AT, SEAMS, MEAN)):
        return path
    return foreign_sidecar(path)


def difference_from(prepared: PreparedJob, path: Path, but: Sequence[str] = ()) -> str:
    """Return how a file differs from what this run would write, except in the fields `but`; empty if it does not."""
    provenance = prepared.storage.provenance(path)
    if provenance is None:
        return "something else"
    left = {name: value for name, value in provenance.items() if name not in but}
    return differences(left, {**prepared.fingerprint(), **{name: provenance.get(name) for name in ROUNDING}})


def check_observed(prepared: PreparedJob) -> None:
    """Raise InputError if all cells of the finished labels are nodata; nothing of the run is kept."""
    nodata = int(prepared.labels.nodata)
    if any((pixels.values != nodata).any() for _, pixels in slabs(WorkSource(prepared.work / MASK))):
        return
    prepared.storage.remove_work()
    place = "" if prepared.region is None else " in the area of interest"
    raise InputError(
        f"{prepared.job.name}: nothing was observed: all of its {prod(prepared.grid.shape):,} cells{place} are nodata, "
        "NaN or fill values; no mask is written; look at them with `pipeline info` and a viewer",
        "nothing-observed",
    )


def publish(prepared: PreparedJob, failures: Sequence[Failure]) -> dict[str, float | None]:
    """Write the output; if patches failed, it records that, and the work folder is kept to compute them later.

    Returns:
        What its layers come to, under their names in a `Report`.

    """
    provenance = {**prepared.fingerprint(), **_told_failures(prepared, failures)}
    figures = _figures(prepared)
    for layer in prepared.layers:
        made = provenance | (figures if layer.name == DISAGREEMENT else {})
        publish_layer(_layer_to_write(prepared, layer, made), layer.beside(prepared.output))
    _publish_labels(prepared, provenance, whole=not failures)
    prepared.storage.publish(provenance)
    return figures


def _told_failures(prepared: PreparedJob, failures: Sequence[Failure]) -> dict[str, Any]:
    """Return what the record of a mask says of patches that failed; nothing if none did."""
    if not failures:
        return {}
    view = prepared.views[0]
    boxes = [failure.patch.clip(Box.whole(view.grid.shape)) for failure in failures]
    if view.orientation is not None:
        boxes = [unturned(box, view.grid.shape, *view.orientation) for box in boxes]
    return {FAILED: len(failures), FAILED_AT: [[list(box.start), list(box.stop)] for box in sorted(boxes)]}


def _layer_to_write(prepared: PreparedJob, layer: Layer, made: Mapping[str, Any]) -> MaskLayer:
    store, bands = store_of(prepared, layer), range(len(layer.bands))
    return MaskLayer(
        layer.name,
        _turned_back(prepared, WorkSource(store)),
        tuple(_turned_back(prepared, WorkSource(store, band)) for band in bands),
        prepared.grid,
        layer.bands,
        layer.scaling,
        made,
    )


def _turned_back(prepared: PreparedJob, stored: WorkSource) -> Source:
    """Return what is stored as it was swept in the axes of the mask."""
    turned = None if prepared.averaged else prepared.views[0].orientation
    return stored if turned is None else ReorientedSource(stored, *inverse(*turned))


def _figures(prepared: PreparedJob) -> dict[str, float | None]:
    """Return what the layer of disagreement comes to: that of patches, or with several models or views that of all."""
    layer = next((layer for layer in prepared.layers if layer.name == DISAGREEMENT), None)
    if layer is None:
        return {}
    disagreement = WorkSource(store_of(prepared, layer))
    if len(prepared.members) > 1 or prepared.averaged:
        return {MEAN: mean_disagreement(disagreement)}
    return {SEAMS: seam_index(disagreement, prepared.views[0].lattice)}


def _publish_labels(prepared: PreparedJob, provenance: Mapping[str, Any], *, whole: bool) -> None:
    stored = WorkSource(prepared.work / MASK)
    labels = _turned_back(prepared, stored)
    if prepared.output.suffix == ".zarr" and labels is stored and whole:
        with atomic_folder(prepared.output) as draft:
            export_store(stored.path, draft)
        return
    derivative = find_derivative(prepared.job.input, prepared.output)
    told = {} if derivative is None else write_description(derivative, prepared.output, prepared.classes)
    publish_mask(
        Mask(labels, prepared.grid, int(prepared.labels.nodata), prepared.classes, provenance, told), prepared.output
    )
