"""Peak memory of a run above the interpreter and the loaded network, for scenes of growing length.

    python -m benchmarks.memory FOLDER [ROWS ...] [--columns 8192] [--classes 6] [--null]

Each scene is segmented in a process of its own. Once the libraries are imported and the network is loaded, the kernel's
mark of the peak is reset; after the run it is read again. `--null` takes a network that costs nothing, to look at the
engine and the doors alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pipeline.runs.predictors
import pipeline.runs.segment
from benchmarks import random_model
from benchmarks.null_network import NullNetwork
from benchmarks.resident import MIB, resident
from benchmarks.scenes import sample_scene
from pipeline.jobs.job import Job, Resources
from pipeline.runs.prepare import prepare
from pipeline.runs.view_sweep import sweeps_of


def asked(scene: str, mask: str, model: str, computed: str = "{}") -> tuple[Job, Resources]:
    """A run, and how it computes: overlap and features of the job, precision and runtime, as JSON."""
    how = {"overlap": None, "features": None, **(json.loads(computed) if computed != "--null" else {})}
    overlap = how.pop("overlap")
    job = Job(scene, Path(mask), model, overlap=overlap and tuple(overlap), features=how.pop("features"))
    return job, Resources(**how)


def measure(job: Job, resources: Resources, *, null: bool) -> dict[str, int]:
    """Bytes before and at the peak, in this process."""
    (sweep,) = sweeps_of(prepare(job, resources))
    predictor = NullNetwork() if null else pipeline.runs.predictors.build_predictor(sweep, None)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    with patch.object(pipeline.runs.predictors, "build_predictor", lambda *_: predictor):
        pipeline.runs.segment.segment(job, replace(resources, overwrite=True, restart=True))
    return {"before": before, "peak": resident("VmHWM")}


def main(folder: Path, rows: list[int], columns: int, classes: int, *, null: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / f"r18-{classes}"
    random_model.write(model, classes=classes)
    figures = {}
    for count in rows:
        scene = sample_scene(folder, count, columns)
        call = [sys.executable, "-m", "benchmarks.memory", "--measure", scene, folder / "memory.tif", model]
        printed = subprocess.run([*call, *(["--null"] if null else [])], check=True, capture_output=True).stdout
        found = json.loads(printed)
        figures[f"{count} x {columns}"] = round((found["peak"] - found["before"]) / MIB)
        print(json.dumps({"scene": f"{count} x {columns}", **{k: round(v / MIB) for k, v in found.items()}}))
    peaks = list(figures.values())
    print(json.dumps({"peak_above_mib": figures, "growth": round(peaks[-1] / peaks[0] - 1, 3)}, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int, nargs="*", default=[8192, 32768])
    parser.add_argument("--columns", type=int, default=8192)
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--null", action="store_true")
    if "--measure" in sys.argv:
        print(json.dumps(measure(*asked(*sys.argv[2:6]), null="--null" in sys.argv)))
    else:
        main(**vars(parser.parse_args()))
