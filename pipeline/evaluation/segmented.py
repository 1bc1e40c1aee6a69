"""Predictions that are still to be made: images segmented by the ordinary run, then pairs like any others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from pipeline.archive import Audience, segment_all
from pipeline.evaluation.pairs import Pair, Wish, check_wish
from pipeline.inputs import name_outputs
from pipeline.job import Job, Means
from pipeline.segmentation import Report


@dataclass(frozen=True)
class Segmented:
    """What became of the images."""

    pairs: tuple[Pair, ...]
    """Those that have a mask now."""
    reports: tuple[Report, ...]


def segment_wishes(
    wishes: Sequence[Wish],
    named: Sequence[str],
    model: str | None,
    output: Path,
    means: Means,
    audience: Audience,
    stop: Event | None = None,
) -> Segmented:
    """Segment each image into the folder `output`, after all truths were checked; one that fails is in the reports.

    Images keep their place below what was `named`, as in a run. A mask that this very run made before is left alone,
    and has no time.
    """
    for wish in wishes:
        check_wish(wish)
    images = [wish.image for wish in wishes]
    masks = name_outputs(images, f"{output}/", named)
    jobs = [Job(image, mask, model) for image, mask in zip(images, masks, strict=True)]
    reports = segment_all(jobs, means, audience, stop)
    pairs = [
        Pair(report.output, wish.truth, wish.image, report.seconds if report.status == "done" else None)
        for wish, report in zip(wishes, reports, strict=True)
        if report.status != "failed" and report.output is not None
    ]
    return Segmented(tuple(pairs), tuple(reports))
