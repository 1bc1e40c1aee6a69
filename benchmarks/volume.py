"""A packed volume through a network that costs nothing, against unpacking and packing it alone; and its peak memory.

    python -m benchmarks.volume FOLDER [--slices 400] [--side 512] [--runs 5] [--normalization window]

run     `segment` from `.nii.gz` to `.nii.gz`, int16 in and labels out, with a network whose scores are ready;
alone   the same file unpacked slice by slice, and the same labels packed.

Runs alternate; the ratio of their medians is what counts. The peak is that of a process of its own, above what it held
once all was imported. The input is as noisy as CT is: half its bytes cannot be packed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

import pipeline.runs.execute
import pipeline.runs.predictors
import pipeline.runs.segment
from benchmarks import random_model
from benchmarks.memory import MIB, resident
from benchmarks.null_network import seconds
from pipeline.geometry import Box, Grid
from pipeline.io.volume.nifti import open_volume, write_nifti
from pipeline.jobs.job import Job, Resources
from pipeline.sources.passes import slabs

CLASSES = 3
NAMES = {"input": "scan.nii.gz", "mask": "mask.nii.gz", "alone": "alone.nii.gz", "model": "model"}


class NullNetwork:
    """Scores that are ready: an organ in a body."""

    classes, batch, threads = CLASSES, 1, 1

    def __init__(self, side: int) -> None:
        y, x = np.mgrid[:side, :side] / side - 0.5
        planes = [np.full((side, side), 0.1), 0.16 - x * x - y * y, 0.2 - (x - 0.1) ** 2 * 9 - y * y * 4]
        self._scores = np.array(planes, np.float32)[None, :, None]

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """Always the same scores."""
        return self._scores


def make(path: Path, slices: int, side: int) -> None:
    """A body of noise in air."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side - 0.5
    body = x * x + y * y < 0.2
    affine = ((0.0, 0.0, 0.7, 0.0), (0.0, 0.7, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    grid = Grid((slices, side, side), affine, ("z", "y", "x"))
    noise = (rng.normal(np.where(body, 40, -1000), np.where(body, 60, 8)).astype(np.int16)[None] for _ in range(slices))
    write_nifti(path, grid, noise, np.int16)


def run(folder: Path, side: int) -> None:
    null = NullNetwork(side)
    with patch.object(pipeline.runs.predictors, "build_predictor", lambda *_: null):
        job = Job(str(folder / NAMES["input"]), folder / NAMES["mask"], str(folder / NAMES["model"]))
        pipeline.runs.segment.segment(
            job, Resources(overwrite=True, restart=True, precision="float32", runtime="torch")
        )


def alone(folder: Path, ready: NDArray[np.uint8]) -> None:
    with closing(open_volume(folder / NAMES["input"])) as source:
        labels = (ready[box.slices] for box, _ in slabs(source, 1))
        write_nifti(folder / NAMES["alone"], source.grid, labels, np.uint8)


def main(folder: Path, slices: int, side: int, runs: int, normalization: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random_model.write_volume(folder / NAMES["model"], normalization, CLASSES, patch=side, overlap=side // 4)
    if not (folder / NAMES["input"]).exists():
        make(folder / NAMES["input"], slices, side)
    run(folder, side)
    with closing(open_volume(folder / NAMES["mask"])) as mask:
        ready = mask.read(Box.whole(mask.grid.shape)).values[0]
    pairs = [(seconds(lambda: run(folder, side)), seconds(lambda: alone(folder, ready))) for _ in range(runs)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    figures = {"run_s": round(ours, 2), "alone_s": round(theirs, 2), "times": round(ours / theirs, 2)}
    call = [sys.executable, "-m", "benchmarks.volume", "--measure", str(folder), str(side)]
    peak = json.loads(subprocess.run(call, check=True, capture_output=True).stdout)
    print(json.dumps({**figures, "peak_above_mib": round(peak / MIB)}))


def measure(folder: Path, side: int) -> int:
    """Bytes at the peak, above those before, of a run in this process."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    run(folder, side)
    return resident("VmHWM") - before


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in {"slices": 400, "side": 512, "runs": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--normalization", choices=random_model.VOLUMES, default="window")
    if "--measure" in sys.argv:
        print(measure(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        main(**vars(parser.parse_args()))
