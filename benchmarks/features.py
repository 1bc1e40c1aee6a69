"""Features shared by overlapping patches beside patches by themselves: time, memory, equal labels, IoU or Dice, seams.

    python -m benchmarks.features FOLDER INPUT ... [--truth LABELS ...] [--model landcover] [--overlap 64 128]
        [--precision float32 int8] [--runtime torch] [--block 1024] [--halo 64] [--ignore 255] [--runs 1] [--seams]

Each way of computing takes all inputs in a process of its own and is timed whole, start included; CPU seconds are those
of the process, memory is its peak. Ways alternate, `--runs` times; medians are printed. A way is a precision and
"patch", or "shared" with each block and halo; all are compared with the first one, patch by patch. An overlap of 0 is
the model's own. For int8 the model needs that form (`pipeline quantize`) and the runtime is OpenVINO's. Truths are in
the order of the inputs: mean IoU of scenes, mean Dice of the cases of volumes.
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
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pipeline.evaluation.compare import evaluate
from pipeline.io.suffixes import stem_of
from pipeline.jobs.job import Job, Resources
from pipeline.models.inference import units
from pipeline.runs.segment import segment

SCENES, VOLUMES = "mean_iou", "mean_case_dice"


@dataclass(frozen=True)
class Way:
    """How all inputs are computed in one process."""

    inputs: tuple[str, ...]
    folder: str
    suffix: str
    model: str
    features: str
    overlap: int
    precision: str
    runtime: str | None
    block: int
    halo: int
    seams: bool

    @property
    def masks(self) -> list[Path]:
        """Its outputs, in the order of the inputs."""
        return [Path(self.folder, stem_of(one) + self.suffix) for one in self.inputs]


def once(way: Way) -> dict[str, Any]:
    """Run in this process; the mean seam index, and the peak of memory in MiB."""
    overlap, also = (way.overlap, way.overlap) if way.overlap else None, ("disagreement",) if way.seams else None
    reports = []
    with patch.multiple(units, HALO=way.halo, BLOCK=way.block):
        for one, mask in zip(way.inputs, way.masks, strict=True):
            job = Job(one, mask, way.model, features=way.features, overlap=overlap, also=also)
            reports.append(
                segment(job, Resources(precision=way.precision, runtime=way.runtime, overwrite=True, restart=True))
            )
    seams = [report.seam_index for report in reports if report.seam_index is not None]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"seams": round(statistics.mean(seams), 4) if seams else None, "peak": peak}


def timed(way: Way) -> dict[str, Any]:
    """What `once` gives, and wall and CPU seconds, of a process of its own."""
    Path(way.folder).mkdir(parents=True, exist_ok=True)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    words = [sys.executable, "-m", "benchmarks.features", "--once", json.dumps(asdict(way))]
    told = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(told.splitlines()[-1]), "wall": time.perf_counter() - began, "cpu": cpu}


def ways_of(options: argparse.Namespace, overlap: int) -> dict[str, Way]:
    """Every precision with both ways of computing features, by name."""
    kinds = [("patch", units.BLOCK, units.HALO)]
    kinds += [("shared", block, halo) for block, halo in product(options.block, options.halo)]
    return {
        name: Way(
            inputs=tuple(map(str, options.inputs)),
            folder=str(options.folder / name.replace(" ", "-")),
            suffix=".tif" if stem_of(options.inputs[0]) + ".tif" == options.inputs[0].name else ".nii.gz",
            model=options.model,
            features=features,
            overlap=overlap,
            precision=precision,
            runtime=None if precision == "int8" else options.runtime,
            block=block,
            halo=halo,
            seams=options.seams,
        )
        for precision in options.precision
        for features, block, halo in kinds
        for name in [f"{precision} {features}" + (f" {block} {halo}" if features == "shared" else "")]
    }


def quality(masks: list[Path], truths: list[Path], ignore: int) -> float | None:
    """Mean IoU of scenes, or mean Dice of volumes; of masks against truths or against others."""
    figures = evaluate(zip(masks, truths, strict=True), ignore=(ignore,), bootstrap=2).overall.figures
    return next(round(float(figures[name].value), 4) for name in (VOLUMES, SCENES) if name in figures)


def compare(options: argparse.Namespace, overlap: int) -> dict[str, Any]:
    """All ways at one overlap; ratios are those of the first way over each."""
    ways = ways_of(options, overlap)
    runs = [{name: timed(way) for name, way in ways.items()} for _ in range(options.runs)]
    first, *_ = ways

    def middle(what: str) -> dict[str, float]:
        return {name: statistics.median(run[name][what] for run in runs) for name in ways}

    wall, cpu = middle("wall"), middle("cpu")
    equal = {name: evaluate(zip(way.masks, ways[first].masks, strict=True), bootstrap=2) for name, way in ways.items()}
    megapixels = equal[first].overall.cells / 1e6
    return {
        "overlap": overlap,
        "megapixels": round(megapixels, 2),
        "wall_s": {name: round(value, 1) for name, value in wall.items()},
        "cpu_s_per_megapixel": {name: round(value / megapixels, 2) for name, value in cpu.items()},
        "speed_up_wall": {name: round(wall[first] / value, 2) for name, value in wall.items()},
        "speed_up_cpu": {name: round(cpu[first] / value, 2) for name, value in cpu.items()},
        "peak_mib": middle("peak"),
        "equal_labels": {
            name: round(float(found.overall.figures["accuracy"].value), 4) for name, found in equal.items()
        },
        "quality": options.truth
        and {name: quality(way.masks, options.truth, options.ignore) for name, way in ways.items()},
        "seam_index": {name: runs[0][name]["seams"] for name in ways},
    }


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("inputs", type=Path, nargs="+")
    parser.add_argument("--truth", type=Path, nargs="+")
    parser.add_argument("--model", default="landcover")
    parser.add_argument("--overlap", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--precision", nargs="+", default=["float32"])
    parser.add_argument("--runtime")
    parser.add_argument("--halo", type=int, nargs="+", default=[units.HALO])
    parser.add_argument("--block", type=int, nargs="+", default=[units.BLOCK])
    parser.add_argument("--ignore", type=int, default=255)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seams", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Print a line for each overlap."""
    asked = parse()
    for overlap in asked.overlap:
        print(json.dumps(compare(asked, overlap)), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        print(json.dumps(once(Way(**json.loads(sys.argv[2])))))
    else:
        main()
