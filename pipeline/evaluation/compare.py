"""Pairs of prediction and truth, one after the other, and the figures over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable, background_of
from pipeline.engine.observer import check_stop
from pipeline.errors import RequestError
from pipeline.evaluation.bootstrap import intervals
from pipeline.evaluation.boundaries import boundary_counts, margin_of, with_margin
from pipeline.evaluation.counts import (
    PER_CASE,
    Counts,
    add_counts,
    by_class,
    cases_key,
    confusion,
    over_all,
    overlap_counts,
)
from pipeline.evaluation.labels import SLAB_CELLS, ClassIndex, ClassIndices, class_table, index_slabs
from pipeline.evaluation.pairs import OpenPair, Pair, open_pair
from pipeline.evaluation.request import Measures
from pipeline.evaluation.result import ClassOfItem, ClassResult, Evaluation, ItemResult, Overall, estimate, plain_number
from pipeline.evaluation.surfaces import distances
from pipeline.geometry import Box, Grid
from pipeline.runs.observer import SILENT, Observer


def evaluate(
    pairs: Iterable[tuple[str | Path, str | Path]],
    *,
    ignore: Sequence[int] = (),
    tolerance: float = 1.0,
    boundary: float = 3.0,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Compare predictions with their truths.

    `pairs` are paths of a prediction and its truth, all of scenes or all of volumes. Cells whose truth is nodata or one
    of `ignore` are not counted. `tolerance` (mm) is that of the surface Dice of volumes, `boundary` (pixels) that of
    the boundary F1 of scenes. Scenes are read in slabs, volumes whole.

    Raises:
        PipelineError: with the pair, both values and the way out.

    """
    measures = Measures(tuple(ignore), tolerance, boundary, bootstrap, seed)
    return evaluate_pairs([Pair(str(prediction), str(truth)) for prediction, truth in pairs], measures)


def evaluate_pairs(pairs: Sequence[Pair], measures: Measures, observer: Observer = SILENT) -> Evaluation:
    """Compare all pairs; every pair is checked before the first is compared. Raises Interrupted if it is to stop."""
    sizes = _check(pairs)
    observer.started(sum(sizes), 0)
    index = ClassIndex(class_table(pairs, measures.ignore), measures.ignore)
    if not index.classes:
        raise RequestError(f"{pairs[0]}, and {len(pairs) - 1} more: no class is left; check --ignore {measures.ignore}")
    compared = []
    for pair, size in zip(pairs, sizes, strict=True):
        check_stop(observer)
        compared.append(_compared(pair, index, measures))
        observer.advanced(size)
    if not any(one.matrix.any() for one in compared):
        raise RequestError(f"{pairs[0]}, and {len(pairs) - 1} more: no cell has a truth that counts; check --ignore")
    return Evaluation(tuple(_item(one, index.classes) for one in compared), _overall(compared, index, measures))


@dataclass(frozen=True)
class _Compared:
    pair: Pair
    grid: Grid
    matrix: NDArray[np.int64]
    """Cells by class of truth and prediction."""
    counts: Counts


def _check(pairs: Sequence[Pair]) -> list[int]:
    """Cells of each pair; raises where they cannot be compared."""
    sizes = []
    if not pairs:
        raise RequestError("nothing to evaluate; give at least one prediction and its truth")
    first: tuple[Pair, bool] | None = None
    for pair in pairs:
        with open_pair(pair) as files:
            first = first or (pair, files.grid.is_scene)
            if files.grid.is_scene != first[1]:
                raise RequestError(f"{first[0]} and {pair}: one is a scene, one a volume; evaluate them separately")
            sizes.append(Box.whole(files.grid.shape).size)
    return sizes


def _compared(pair: Pair, index: ClassIndex, measures: Measures) -> _Compared:
    with open_pair(pair) as files:
        compare = counts_of_scene if files.grid.is_scene else counts_of_volume
        matrix, counts = compare(files, index, measures)
        return _Compared(pair, files.grid, matrix, counts)


def counts_of_scene(
    files: OpenPair, index: ClassIndex, measures: Measures, *, cells: int = SLAB_CELLS
) -> tuple[NDArray[np.int64], Counts]:
    """Counts of a scene, slab by slab of about `cells` cells."""
    classes = len(index.classes)
    matrix = np.zeros((classes, classes + 1), np.int64)
    near: Counts = {}
    for indices, rows in with_margin(index_slabs(files, index, cells=cells), margin_of(measures.boundary)):
        matrix += confusion(indices[:, rows], classes)
        found = boundary_counts(indices, rows, classes, measures.boundary)
        near = add_counts([near, found]) if near else found
    return matrix, {**overlap_counts(matrix), **near}


def counts_of_volume(files: OpenPair, index: ClassIndex, measures: Measures) -> tuple[NDArray[np.int64], Counts]:
    """Counts of a volume, and what is taken of each case by itself, for all classes but the background.

    That is the class of that name; value 0 if there is none.
    """
    indices = np.concatenate(list(index_slabs(files, index)), axis=1)
    matrix = confusion(indices, len(index.classes))
    counts = overlap_counts(matrix)
    background = background_of(index.classes) or 0
    by_case = [
        {} if entry.value == background else _case(indices, place, files.grid, measures.tolerance)
        for place, entry in enumerate(index.classes)
    ]
    for name in PER_CASE:
        counts[name] = np.array([case.get(name, 0.0) for case in by_case])
        counts[cases_key(name)] = np.array([int(name in case) for case in by_case])
    return matrix, counts


def _case(indices: ClassIndices, place: int, grid: Grid, tolerance: float) -> dict[str, float]:
    """Figures of one class in one volume, without those that are not defined; empty if neither has the class."""
    truth, prediction = indices == place
    sizes = int(truth.sum()), int(prediction.sum())
    if not any(sizes):
        return {}
    found = {"truth_mm3": sizes[0] * grid.cell_volume, "predicted_mm3": sizes[1] * grid.cell_volume}
    found["case_dice"] = 2 * int((truth & prediction).sum()) / sum(sizes)
    if sizes[0]:
        found["volume_error"] = (sizes[1] - sizes[0]) / sizes[0]
        found["absolute_volume_error"] = abs(found["volume_error"])
    if not all(sizes):
        return {**found, "surface_dice": 0.0}
    apart = distances(truth, prediction, grid)
    figures = {"hd95_mm": apart.hd95, "assd_mm": apart.assd, "maximum_distance_mm": apart.maximum}
    return {**found, **figures, "surface_dice": apart.surface_dice(tolerance)}


def _item(one: _Compared, classes: ClassTable) -> ItemResult:
    figures = by_class(one.counts)
    return ItemResult(
        prediction=one.pair.prediction,
        truth=one.pair.truth,
        image=one.pair.image,
        cells=Box.whole(one.grid.shape).size,
        counted=int(one.matrix.sum()),
        missed=int(one.matrix[:, -1].sum()),
        seconds=one.pair.seconds,
        figures={name: plain_number(value) for name, value in over_all(one.counts).items()},
        classes=tuple(
            ClassOfItem(
                entry.value,
                entry.name,
                int(one.counts["truth"][place]),
                int(one.counts["predicted"][place]),
                {name: plain_number(values[place]) for name, values in figures.items()},
            )
            for place, entry in enumerate(classes)
        ),
    )


def _overall(compared: Sequence[_Compared], index: ClassIndex, measures: Measures) -> Overall:
    items = [one.counts for one in compared]
    counts, matrix = add_counts(items), np.sum([one.matrix for one in compared], axis=0)
    means, around = over_all(counts), intervals(items, over_all, measures.bootstrap, measures.seed)
    cells = [Box.whole(one.grid.shape).size for one in compared]
    timed = [(one.pair.seconds, size) for one, size in zip(compared, cells, strict=True) if one.pair.seconds]
    seconds = sum(time for time, _ in timed) if timed else None
    return Overall(
        kind="scene" if compared[0].grid.is_scene else "volume",
        items=len(compared),
        cells=sum(cells),
        counted=int(matrix.sum()),
        missed=int(matrix[:, -1].sum()),
        seconds=seconds,
        megapixels_per_second=sum(size for _, size in timed) / 1e6 / seconds if seconds else None,
        figures={name: estimate(value, around[name]) for name, value in means.items()},
        classes=_classes(items, index.classes, measures),
        confusion=tuple(tuple(row) for row in matrix.tolist()),
        settings=asdict(measures),
    )


def _classes(items: Sequence[Counts], classes: ClassTable, measures: Measures) -> tuple[ClassResult, ...]:
    counts = add_counts(items)
    figures, around = by_class(counts), intervals(items, by_class, measures.bootstrap, measures.seed)
    have = np.stack([[item["truth"] > 0, item["predicted"] > 0] for item in items])
    return tuple(
        ClassResult(
            value=entry.value,
            name=entry.name,
            color=entry.color,
            truth_cells=int(counts["truth"][place]),
            predicted_cells=int(counts["predicted"][place]),
            items=int(have[:, :, place].any(1).sum()),
            one_sided=int((have[:, 0, place] != have[:, 1, place]).sum()),
            figures={name: estimate(values[place], around[name][:, place]) for name, values in figures.items()},
        )
        for place, entry in enumerate(classes)
    )
