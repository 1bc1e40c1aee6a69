"""What workers bring and take: time of `pipeline run` by their number, and the peak memory of each on a large scene.

    python -m benchmarks.workers time FOLDER [--side 8192] [--workers 1 2] [--repeats 3]
    python -m benchmarks.workers memory FOLDER [--side 30000] [--workers 2] [--memory 512MiB]

Times are of whole commands, each beside one without workers, and all masks must be the same, byte for byte. The peak of
a worker is the kernel's mark of its resident memory, above that of a worker on a scene of one patch: beside the
interpreter and the network with its activations, that is what `--memory` bounds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks import random_model
from benchmarks.scenes import sample_scene

MIB = 2**20
ALONE = 0
"""Stands for a run without workers."""
_LOOK = 0.2


def main() -> None:
    """Read the command line and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    timing, memory = kinds.add_parser("time"), kinds.add_parser("memory")
    for kind, side in ((timing, 8192), (memory, 30_000)):
        kind.add_argument("folder", type=Path)
        kind.add_argument("--side", type=int, default=side)
    timing.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    timing.add_argument("--repeats", type=int, default=3)
    memory.add_argument("--workers", type=int, default=2)
    memory.add_argument("--memory", default="512MiB")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    model = asked.folder / "r18"
    random_model.write(model)
    if asked.kind == "time":
        found = times(asked.folder, model, asked.side, asked.workers, asked.repeats)
    else:
        found = peaks(asked.folder, model, asked.side, asked.workers, asked.memory)
    print(json.dumps(found, indent=1))


def times(folder: Path, model: Path, side: int, workers: list[int], repeats: int) -> dict[str, object]:
    """Seconds by number of workers, and the medians of their ratios to the run without."""
    scene, mask = sample_scene(folder, side, side), folder / "workers.tif"
    seconds: dict[int, list[float]] = {count: [] for count in (ALONE, *workers)}
    digests = set()
    for _ in range(repeats):
        for count in seconds:
            began = time.perf_counter()
            subprocess.run(command(scene, mask, model, count), check=True, capture_output=True)
            seconds[count].append(time.perf_counter() - began)
            digests.add(hashlib.sha256(mask.read_bytes()).hexdigest())
    ratios = {
        count: round(statistics.median(a / b for a, b in zip(seconds[count], seconds[ALONE], strict=True)), 3)
        for count in workers
    }
    medians = {count or "alone": round(statistics.median(found), 1) for count, found in seconds.items()}
    return {"side": side, "seconds": medians, "ratio_to_alone": ratios, "sha256": sorted(digests)}


def peaks(folder: Path, model: Path, side: int, workers: int, budget: str) -> dict[str, object]:
    """Peak of the largest worker on a small and on the large scene."""
    found = {}
    for rows in (512, side):
        scene, began = sample_scene(folder, rows, rows), time.perf_counter()
        call = [*command(scene, folder / "workers.tif", model, workers), "--memory", budget]
        found[rows] = largest_worker(call)
        seconds = time.perf_counter() - began
    above = (found[side] - found[512]) / MIB
    return {
        "side": side,
        "workers": workers,
        "memory": budget,
        "small_mib": round(found[512] / MIB),
        "peak_mib": round(found[side] / MIB),
        "above_small_mib": round(above),
        "seconds": round(seconds, 1),
    }


def command(scene: Path, mask: Path, model: Path, workers: int) -> list[str]:
    """`pipeline run` with so many workers."""
    paths = ["--input", scene, "--output", mask, "--model", model]
    program = str(Path(sys.executable).parent / "pipeline")
    call = [program, "run", *map(str, paths), "--overwrite", "--restart", "--no-prefect"]
    return [*call, "--quiet", *(["--workers", str(workers)] if workers else [])]


def largest_worker(call: list[str]) -> int:
    """Bytes at the peak of the largest process that a command starts."""
    peak, running = 0, psutil.Popen(call, stdout=subprocess.DEVNULL)
    while running.poll() is None:
        for child in running.children(recursive=True):
            with suppress(psutil.Error, OSError, StopIteration):
                peak = max(peak, _high_water(child.pid))
        time.sleep(_LOOK)
    if running.returncode:
        raise SystemExit(f"{' '.join(call)}: exit code {running.returncode}")
    return peak


def _high_water(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
