"""Features shared by overlapping patches beside patches by themselves: time, equal labels, and IoU if there is a truth.

    python -m benchmarks.features FOLDER SCENE [--truth LABELS] [--model landcover] [--overlap 64 128]
        [--precision bfloat16 int8] [--runtime torch] [--halo 64] [--block 1024] [--ignore 255] [--runs 1]

Each run is a process of its own and is timed whole, start included; CPU seconds are those of the process. Ways
alternate, `--runs` times; medians are printed. A way is a precision and "patch" or "shared"; all are compared with the
first one, patch by patch. For int8 the model needs that form (`pipeline quantize`) and the runtime is OpenVINO's.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import rasterio
from numpy.typing import NDArray

from pipeline.jobs.job import Job, Resources
from pipeline.models.inference import units
from pipeline.runs.segment import segment

FEATURES = ("patch", "shared")


@dataclass(frozen=True)
class Way:
    """One run."""

    scene: str
    mask: str
    model: str
    features: str
    overlap: int
    precision: str
    runtime: str | None
    halo: int
    block: int


def once(way: Way) -> None:
    """Run in this process."""
    job = Job(way.scene, Path(way.mask), way.model, features=way.features, overlap=(way.overlap, way.overlap))
    with patch.multiple(units, HALO=way.halo, BLOCK=way.block):
        segment(job, Resources(precision=way.precision, runtime=way.runtime, overwrite=True, restart=True))


def timed(way: Way) -> tuple[float, float]:
    """Wall and CPU seconds of a run in a process of its own."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "benchmarks.features", "--once", json.dumps(asdict(way))], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def labels_of(path: str | Path) -> NDArray[np.uint8]:
    """Labels of a mask or a truth."""
    with rasterio.open(path) as dataset:
        labels: NDArray[np.uint8] = dataset.read(1)
        return labels


def mean_iou(labels: NDArray[np.uint8], truth: NDArray[np.uint8], ignore: int) -> float:
    """Mean IoU over the classes of the truth."""
    seen = truth != ignore
    ious = [
        float(((labels == value) & (truth == value)).sum() / (((labels == value) & seen) | (truth == value)).sum())
        for value in np.unique(truth[seen])
    ]
    return statistics.mean(ious)


def ways_of(options: argparse.Namespace, overlap: int) -> dict[str, Way]:
    """Every precision with both ways of computing features, by name."""
    return {
        f"{precision} {features}": Way(
            str(options.scene),
            str(options.folder / f"{precision}-{features}.tif"),
            options.model,
            features,
            overlap,
            precision,
            None if precision == "int8" else options.runtime,
            options.halo,
            options.block,
        )
        for precision in options.precision
        for features in FEATURES
    }


def compare(options: argparse.Namespace, overlap: int) -> dict[str, object]:
    """All ways at one overlap; ratios are those of the first way over each."""
    options.folder.mkdir(parents=True, exist_ok=True)
    ways = ways_of(options, overlap)
    first = next(iter(ways))
    seconds = [{name: timed(way) for name, way in ways.items()} for _ in range(options.runs)]
    wall, cpu = ({name: statistics.median(run[name][kind] for run in seconds) for name in ways} for kind in (0, 1))
    masks = {name: labels_of(way.mask) for name, way in ways.items()}
    truth = None if options.truth is None else labels_of(options.truth)
    pixels = masks[first].size / 1e6
    return {
        "overlap": overlap,
        "megapixels": round(pixels, 2),
        "wall_s": {name: round(value, 1) for name, value in wall.items()},
        "cpu_s_per_megapixel": {name: round(value / pixels, 2) for name, value in cpu.items()},
        "speed_up_wall": {name: round(wall[first] / value, 2) for name, value in wall.items()},
        "speed_up_cpu": {name: round(cpu[first] / value, 2) for name, value in cpu.items()},
        "equal_labels": {name: round(float((masks[first] == mask).mean()), 4) for name, mask in masks.items()},
        "mean_iou": None
        if truth is None
        else {name: round(mean_iou(mask, truth, options.ignore), 4) for name, mask in masks.items()},
    }


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--model", default="landcover")
    parser.add_argument("--overlap", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--precision", nargs="+", default=["bfloat16"])
    parser.add_argument("--runtime")
    parser.add_argument("--halo", type=int, default=units.HALO)
    parser.add_argument("--block", type=int, default=units.BLOCK)
    parser.add_argument("--ignore", type=int, default=255)
    parser.add_argument("--runs", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        once(Way(**json.loads(sys.argv[2])))
    else:
        asked = parse()
        for one in asked.overlap:
            print(json.dumps({"halo": asked.halo, "block": asked.block, **compare(asked, one)}), flush=True)
