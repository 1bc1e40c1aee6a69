"""An archive that is done, run again: how long until that is known.

    python -m benchmarks.archive FOLDER [ITEMS]

Makes ITEMS small scenes (1000 unless told), segments them with random weights,
and times the same command again as a process of its own: wall time, and time of the ledger alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import random_model
from pipeline.archive.archive import Archive
from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger
from pipeline.demo import scene_grid
from pipeline.io.raster import write_scene
from pipeline.jobs.inputs import jobs_of
from pipeline.jobs.job import Resources
from pipeline.jobs.request import Request

SIDE = 64


def main(folder: Path, items: int) -> None:
    """Make the archive if it is not there, and time it."""
    scenes, masks = folder / "scenes", folder / "masks"
    grid, rng = scene_grid((SIDE, SIDE)), np.random.default_rng(0)
    for number in range(items):
        path = scenes / f"{number:05d}.tif"
        if not path.exists():
            write_scene(path, grid, iter([rng.integers(0, 255, (3, SIDE, SIDE), np.uint8)]), 3, np.dtype(np.uint8))
    model = folder / "model"
    random_model.write(model, patch=SIDE, overlap=SIDE // 4)
    words = ["run", "--input", str(scenes), "--output", f"{masks}/", "--model", str(model), "--no-prefect", "--json"]
    command = [sys.executable, "-m", "pipeline.cli", *words]
    first = _seconds(command)
    again = sorted(_seconds(command) for _ in range(3))
    request = Request(input=(str(scenes),), output=f"{masks}/", model=str(model))
    began = time.perf_counter()
    archive = Archive(ArchiveLedger(masks / LEDGER_NAME))
    left = [choice for choice in archive.choose(jobs_of(request), Resources()) if choice.report is None]
    inside = time.perf_counter() - began
    archive.close()
    told = {"items": items, "first run, s": first, "again, s (median of 3)": again[1]}
    print(json.dumps({**told, "of that finding and ledger, s": round(inside, 2), "left": len(left)}, indent=1))


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return round(time.perf_counter() - began, 2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
