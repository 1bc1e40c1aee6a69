"""A peer beside the pipeline: pairs of runs, and what comes of them."""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import rasterio

from benchmarks import overhead
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.runs import FailedError, Files, peer_run
from pipeline.evaluation.compare import evaluate


@dataclass(frozen=True)
class Row:
    """Figures of one way to segment the scene; None where it did not run."""

    name: str
    seconds: float | None = None
    times: float | None = None
    """Its seconds over those of the pipeline, the median of all pairs."""
    peak: int | None = None
    """Bytes; where it was not run for want of them, those of its arrays alone."""
    share: float | None = None
    """The pipeline's peak over its."""
    labels: float | None = None
    """Share of pixels on which it agrees with the pipeline."""
    quality: float | None = None
    """Mean IoU against the truth."""
    why_not: str = ""


@dataclass(frozen=True)
class Comparison:
    """A peer's row, and the pipeline's seconds in the same pairs."""

    row: Row
    pipeline_seconds: tuple[float, ...] = ()


def compare(
    peer: Peer, files: Files, needed: int, own_peak: int, *, repeats: int, allowed: int, truth: Path | None = None
) -> Comparison:
    """Run the pipeline and `peer` in turn, unless the peer needs more than the bytes that are `allowed` or free."""
    free = min(allowed, psutil.virtual_memory().available)
    if needed > free:
        why_not = f"not run: arrays alone, {free >> 20} MiB allowed"
        return Comparison(Row(peer.name, peak=needed, share=own_peak / needed, why_not=why_not))
    try:
        pairs = [_pair(peer, files) for _ in range(repeats)]
    except FailedError as error:
        return Comparison(Row(peer.name, why_not=str(error)))
    own, seconds, peaks = zip(*pairs, strict=True)
    peak = int(statistics.median(peaks))
    times = statistics.median(its / ours for ours, its, _ in pairs)
    agreed = _agreement(files, peer.module)
    found = quality(files, truth, peer.module)
    return Comparison(Row(peer.name, statistics.median(seconds), times, peak, own_peak / peak, agreed, found), own)


def _pair(peer: Peer, files: Files) -> tuple[float, float, int]:
    """Seconds of the pipeline, and seconds and bytes of the peer; told on stderr, as whole comparisons take long."""
    own = overhead.run(files.scene, files.mask("pipeline"), files.model, *files.options)
    seconds, peak = peer_run(peer.module, files)
    print(json.dumps({"peer": peer.name, "pipeline_s": own, "peer_s": seconds, "peak": peak}), file=sys.stderr)
    return own, seconds, peak


def quality(files: Files, truth: Path | None, name: str) -> float | None:
    """Mean IoU of the mask that `name` made against a truth, in which 255 is ignored."""
    if truth is None:
        return None
    found = evaluate([(files.mask(name), truth)], ignore=(255,), bootstrap=2).overall.figures["mean_iou"].value
    return float(found)


def _agreement(files: Files, module: str) -> float:
    with rasterio.open(files.mask("pipeline")) as ours, rasterio.open(files.mask(module)) as its:
        return float(np.mean(ours.read(1) == its.read(1)))
