"""Wall time of `pipeline run` over that of the network alone on the same patches.

    python -m benchmarks.overhead FOLDER [ROWS] [COLUMNS] [--backbone resnet18]

The network alone has its patches ready in memory and computes them on as many threads as the run does. The run is the
whole command in a process of its own: start, read, blend, stage, write the COG. The two alternate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

from benchmarks import random_model
from benchmarks.scenes import sample_scene
from pipeline.geometry import Box
from pipeline.io.opening import open_source
from pipeline.jobs.job import Job, Resources
from pipeline.models.spec import Backbone
from pipeline.runs.predictors import build_predictor
from pipeline.runs.prepare import prepare
from pipeline.runs.view_sweep import sweeps_of


def run(scene: Path, mask: Path, model: Path, *options: str) -> float:
    command = [sys.executable, "-m", "pipeline.cli", "run", "-q", "--overwrite"]
    began = time.perf_counter()
    subprocess.run([*command, "-i", scene, "-o", mask, "-m", model, *options], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def network_alone(scene: Path, mask: Path, model: Path) -> float:
    (sweep,) = sweeps_of(prepare(Job(str(scene), mask, str(model)), Resources()))
    predictor = build_predictor(sweep, None)
    source = open_source(scene)
    whole = source.read(Box.whole(source.grid.shape)).values
    patches = [whole[(slice(None), *patch.slices)][None] for _, row in sweep.lattice.rows() for patch in row]
    predictor(patches[0], None)
    began = time.perf_counter()
    with ThreadPoolExecutor(predictor.threads) as pool:
        for _ in pool.map(lambda patch: predictor(patch, None).shape, patches):
            pass
    return time.perf_counter() - began


def main(folder: Path, rows: int, columns: int, backbone: Backbone, repeats: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scene, mask, model = sample_scene(folder, rows, columns), folder / "overhead.tif", folder / backbone
    random_model.write(model, backbone=backbone)
    pairs = [(run(scene, mask, model), network_alone(scene, mask, model)) for _ in range(repeats)]
    run_s, network_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(whole / alone for whole, alone in pairs)
    print(json.dumps({"run_s": round(run_s, 1), "network_s": round(network_s, 1), "run_over_network": round(ratio, 3)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int, nargs="?", default=8192)
    parser.add_argument("columns", type=int, nargs="?", default=8192)
    parser.add_argument("--backbone", choices=get_args(Backbone), default="resnet18")
    parser.add_argument("--repeats", type=int, default=3)
    main(**vars(parser.parse_args()))
