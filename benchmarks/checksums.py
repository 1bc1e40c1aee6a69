"""What checksums of unfinished work cost: time of runs of two checkouts of the project, in turns.

    git worktree add ../before COMMIT
    python -m benchmarks.checksums FOLDER --before ../before [--rows 4096] [--pairs 5] [--suffix .tif]

A scene of 1024 columns is segmented by a small network, which makes the share of everything else large. Each pair is
one run of either checkout, the first and the second in turns; `cpu` and `wall` are the medians over all pairs of how
much more the one of now takes, of the CPU and by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks import random_model
from benchmarks.scenes import sample_scene
from pipeline.files.atomic import remove

HERE = Path(__file__).parents[1]


def main(folder: Path, before: Path, rows: int, pairs: int, suffix: str) -> None:
    """Run both once to warm up and then `pairs` times, and print the medians."""
    folder.mkdir(parents=True, exist_ok=True)
    scene, model = sample_scene(folder, rows, 1024), folder / "small"
    random_model.write(model, patch=128, overlap=32)
    words = ["run", "-i", str(scene), "-o", str(folder / f"mask{suffix}"), "-m", str(model), "--no-prefect", "--quiet"]
    words += ["--precision", "float32", "--runtime", "torch"]
    times: dict[str, list[tuple[float, float]]] = {"before": [], "now": []}
    trees = [("before", before), ("now", HERE)]
    for number in range(pairs + 1):
        for name, tree in trees if number % 2 else reversed(trees):
            remove(folder / f"mask{suffix}")
            taken = seconds(tree, words)
            if number:
                times[name].append(taken)
    found: dict[str, object] = {"suffix": suffix, "rows": rows, "pairs": pairs}
    for at, what in enumerate(("cpu", "wall")):
        found |= {f"{what}_s": {name: round(statistics.median(each[at] for each in times[name]), 2) for name in times}}
        ratios = [now[at] / old[at] - 1 for old, now in zip(times["before"], times["now"], strict=True)]
        found |= {what: round(statistics.median(ratios), 4), f"{what}_of_pairs": [round(one, 3) for one in ratios]}
    print(json.dumps(found))


def seconds(tree: Path, words: list[str]) -> tuple[float, float]:
    """Time of the CPU and of the wall clock that a command of a checkout takes."""
    began, used = time.monotonic(), _used()
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve())}
    call = [sys.executable, "-m", "pipeline.cli", *words]
    subprocess.run(call, check=True, env=environment, cwd=tree, stdout=subprocess.DEVNULL)
    return _used() - used, time.monotonic() - began


def _used() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--before", type=Path, required=True)
    for name, default in {"rows": 4096, "pairs": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--suffix", choices=[".tif", ".zarr"], default=".tif")
    main(**vars(parser.parse_args()))
