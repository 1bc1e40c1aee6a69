"""Measured costs of the sweep, played through for 1 to 256 workers: where reading, network or writing is the limit.

    python -m benchmarks.simulator measure FOLDER [--side 2048] [--backbone resnet18]
    python -m benchmarks.simulator replay FOLDER/costs.json [--side 100000] [--read-mbps 1000] [--write-mbps 1000]
        [--gpu-speedup 1] [--strip COLUMNS] [--cost NAME=VALUE ...] [--json] [--check SIDE]

`measure` sweeps scenes made in FOLDER on the CPU and writes costs.json. `replay` shares a square scene out as `pipeline
run --workers` does, and plays each number of workers through: a worker computes on one thread, or on a GPU that is so
many times faster; bandwidths are of all workers together; `--cost` replaces what was measured. The columns after the
speed-up (over one worker with one run) are the shares of the wall time in which each stage is busy, for the busiest
worker, reader or writer. `--check`
measures the wall time of a small scene with 1 and 2 workers of this machine, and prints what is simulated beside it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

from benchmarks.simulator.costs import Costs
from benchmarks.simulator.replay import Outcome, Storage, compare
from pipeline.models.spec import Backbone

WORKERS = tuple(2**power for power in range(9))


def main() -> None:
    """Do what is asked."""
    asked = _parsed()
    if asked.verb == "measure":
        from benchmarks.simulator.measure import measure  # torch, Zarr and Dask, which a replay does without

        asked.folder.mkdir(parents=True, exist_ok=True)
        measure(asked.folder, asked.side, asked.backbone).save(asked.folder / "costs.json")
        return
    _replay(asked)


def _replay(asked: argparse.Namespace) -> None:
    costs = replace(Costs.load(asked.costs), **dict(asked.cost))
    storage = Storage(asked.read_mbps, asked.write_mbps)
    alone, outcomes = compare(costs.on_gpu(asked.gpu_speedup), asked.side, storage, WORKERS, asked.strip)
    rows = [_row(outcome, alone) for outcome in outcomes]
    checks = _checks(costs, asked) if asked.check else []
    if asked.json:
        told = {"costs": asdict(costs), "alone": asdict(alone), "workers": rows, "checked": checks}
        print(json.dumps(told, indent=1))
        return
    for table in filter(None, (rows, checks)):
        print(_table(table))


def _row(outcome: Outcome, alone: Outcome) -> dict[str, Any]:
    speedup = alone.wall_s / outcome.wall_s
    figures = asdict(outcome)
    shares = {name: figures.pop(name) for name in ("network", "reading", "writing", "publish")}
    return {
        **figures,
        "speedup": speedup,
        "efficiency": speedup / outcome.workers,
        **shares,
        "busiest": outcome.busiest,
    }


def _checks(costs: Costs, asked: argparse.Namespace) -> list[dict[str, Any]]:
    from benchmarks.simulator.check import check

    return [asdict(checked) for checked in check(costs, asked.costs.parent, asked.check, (1, 2))]


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.rjust, line, widths)) for line in lines)


def _cell(value: float | str) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _cost(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.simulator", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    measuring = verbs.add_parser("measure")
    measuring.add_argument("folder", type=Path)
    measuring.add_argument("--side", type=int, default=2048)
    measuring.add_argument("--backbone", choices=get_args(Backbone), default="resnet18")
    replaying = verbs.add_parser("replay")
    replaying.add_argument("costs", type=Path)
    replaying.add_argument("--side", type=int, default=100_000)
    replaying.add_argument("--read-mbps", type=float, default=1000)
    replaying.add_argument("--write-mbps", type=float, default=1000)
    replaying.add_argument("--gpu-speedup", type=float, default=1)
    replaying.add_argument("--strip", type=int)
    replaying.add_argument("--cost", type=_cost, action="append", default=[], metavar="NAME=VALUE")
    replaying.add_argument("--json", action="store_true")
    replaying.add_argument("--check", type=int, metavar="SIDE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
