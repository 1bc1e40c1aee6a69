"""What is read before the sweep: a copy of a volume that is read in another order, and the statistics of an input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline.engine import Source
from pipeline.errors import DamagedError
from pipeline.files.sealed import write_sealed
from pipeline.io.zarr import StagedVolume, stage_volume
from pipeline.models.card import Normalization
from pipeline.runs.observer import Observer
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.stoppable import StoppableSource
from pipeline.runs.work_folder import STATISTICS, VOLUME, statistics_of
from pipeline.sources.percentiles import ends_of, stretch
from pipeline.sources.statistics import Histogram, MomentAccumulator, count_in, count_volume


def stage_and_count(prepared: PreparedJob, observer: Observer) -> None:
    """Stage a volume and take its statistics, in one pass, if they are needed and not there yet, or damaged."""
    volume = prepared.work / VOLUME
    staging = prepared.staged and not _is_staged(volume)
    counting = prepared.needs_statistics and not _is_counted(prepared)
    if not (staging or counting):
        return
    observer.phase("reading")
    rule, whole = prepared.card.normalization, replace(prepared.reading, windows=None)
    source = StoppableSource(whole.open(prepared.input), observer)
    seen = _counters(source, rule)
    try:
        if staging:
            stage_volume(source, volume, partial(count_in, seen) if counting else _ignore)
        elif not prepared.grid.is_scene:
            count_volume(seen, source)
        if counting:
            by_channel = [seen[at] for at in prepared.reading.windows or range(source.channels)]
            write_sealed(prepared.work / STATISTICS, _statistics_json(source, by_channel, rule))
    finally:
        source.close()


def _is_staged(volume: Path) -> bool:
    """Return whether a volume has been staged, and is as it was written."""
    try:
        StagedVolume(volume).check()
    except DamagedError:
        return False
    return True


def _is_counted(prepared: PreparedJob) -> bool:
    """Return whether statistics have been taken, and are as they were written."""
    try:
        statistics_of(prepared)
    except DamagedError:
        return False
    return True


def _counters(source: Source, rule: Normalization) -> list[MomentAccumulator | Histogram]:
    """Return an accumulator for the values of each channel."""
    return [
        Histogram(source.dtype) if rule.kind == "percentile" else MomentAccumulator() for _ in range(source.channels)
    ]


def _ignore(_: NDArray[Any]) -> None:
    """Do nothing with values that are not counted."""


def _statistics_json(
    source: Source, seen: Sequence[MomentAccumulator | Histogram], rule: Normalization
) -> dict[str, Any]:
    """Return the statistics of each channel as JSON values; those of a volume from what was `seen`."""
    if rule.kind != "percentile":
        found = [one for one in seen if isinstance(one, MomentAccumulator)]
        return {"mean": [one.mean for one in found], "std": [one.std for one in found]}
    counted = [one for one in seen if isinstance(one, Histogram)]
    ends = stretch(source, rule.low, rule.high) if source.grid.is_scene else ends_of(counted, rule.low, rule.high)
    return {"shift": ends.offset, "spread": ends.scale}
