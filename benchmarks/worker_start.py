"""What workers add to a run of a few patches: seconds, CPU seconds, and the time until the first slab is safe.

    python -m benchmarks.worker_start FOLDER [--workers 2] [--times 5]

Medians of whole `pipeline run` commands, with workers and without, in turn, on a scene of two slabs made in FOLDER, and
of an interpreter that imports what workers need. Linux only: CPU seconds are those of all processes, also of those that
the command leaves behind, whose number must be 0 a little later.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

from benchmarks import random_model
from benchmarks.scenes import sample_scene
from pipeline.files.atomic import remove

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl: this process waits for those whose parent has ended."""
_PATIENCE = 10.0
"""Seconds for processes to end after the command."""
IMPORTS = [sys.executable, "-c", "import pipeline.runs.execute"]


@dataclass(frozen=True)
class Started:
    """One command."""

    wall_s: float
    cpu_s: float
    first_s: float
    """Until the first slab was safe."""
    left: int
    """Processes that still ran a while after the command."""


def start(command: Sequence[str], done: Path | None = None) -> Started:
    """Run a command; `done` is the folder in which it marks its slabs."""
    before, began, first = _cpu(), time.perf_counter(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if not first and done is not None and done.exists() and any(done.iterdir()):
            first = time.perf_counter() - began
        time.sleep(0.005)
    wall = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}")
    left = _reap(time.monotonic() + _PATIENCE)
    return Started(wall, _cpu() - before, first, left)


def _reap(end: float) -> int:
    """Wait for all processes below this one, until `end` at most; return how many still run."""
    with suppress(ChildProcessError):
        while time.monotonic() < end:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.02)
        return len(Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split())
    return 0


def _cpu() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(folder: Path, workers: int, times: int) -> dict[str, dict[str, float]]:
    """Medians by what was run."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    random_model.write(folder / "model", patch=256, overlap=64)
    scene, mask = sample_scene(folder, 1400, 256), folder / "worker_start.tif"
    run = [sys.executable, "-m", "pipeline.cli", "run", "--quiet", "--no-prefect", "--device", "cpu"]
    run += ["--input", str(scene), "--output", str(mask), "--model", str(folder / "model")]
    calls = {"imports": IMPORTS, "alone": run, "workers": [*run, "--workers", str(workers)]}
    seen: dict[str, list[Started]] = {name: [] for name in calls}
    work = mask.with_name(f"{mask.name}.partial")
    for _ in range(times):
        for name, call in calls.items():
            for path in (mask, work):
                remove(path)
            seen[name].append(start(call, work / "done"))
    medians = {name: _medians(starts) for name, starts in seen.items()}
    added = {key: medians["workers"][key] - medians["alone"][key] for key in medians["alone"]}
    return {**medians, "added by workers": {key: round(value, 2) for key, value in added.items()}}


def _medians(starts: Sequence[Started]) -> dict[str, float]:
    rows = [asdict(one) for one in starts]
    return {key: round(median(row[key] for row in rows), 2) for key in rows[0]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m benchmarks.worker_start", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    print(json.dumps(compare(asked.folder, asked.workers, asked.times), indent=1))
