"""The truth beside what was simulated, on a small scene with workers of this machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scenes import sample_scene
from benchmarks.simulator.costs import Costs
from benchmarks.simulator.measure import command
from benchmarks.simulator.replay import Scene, Storage, simulate

HERE = Storage(float("inf"), float("inf"))
"""The disk of this machine: its files are in memory, and waits for it are in the costs of writing."""
_SPIN = """
import time
end = time.perf_counter() + 3
while time.perf_counter() < end: pass
print(time.process_time() / 3)
"""


@dataclass(frozen=True)
class Checked:
    """Seconds of a whole `pipeline run`, measured and simulated."""

    workers: int
    share: float
    """Of a core, for each of as many busy processes: the mean of before and after. Costs are divided by it."""
    measured_s: float
    simulated_s: float


def check(costs: Costs, folder: Path, side: int, workers: Sequence[int]) -> Iterator[Checked]:
    """Run a scene of `side` pixels with the model that `measure` left in `folder`, by numbers of workers."""
    path, scene = sample_scene(folder, side, side), Scene.of(costs, side)
    for number in workers:
        before = _share(number)
        began = time.perf_counter()
        call = command(path, folder / "check.tif", folder / costs.backbone, number)
        subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
        measured_s = time.perf_counter() - began
        share = (before + _share(number)) / 2
        runs = scene.runs(number)
        yield Checked(number, share, measured_s, simulate(costs.at_share(share), scene, HERE, number, runs).wall_s)


def _share(processes: int) -> float:
    """The part of a core that each of so many busy processes gets here, beside whatever else runs."""
    spins = [subprocess.Popen([sys.executable, "-c", _SPIN], stdout=subprocess.PIPE) for _ in range(processes)]
    return sum(float(spin.communicate()[0]) for spin in spins) / processes
