"""An archive that is done, run again: how long until that is known; and a ledger of many items, by itself.

    python -m benchmarks.archive FOLDER [ITEMS]
    python -m benchmarks.archive FOLDER --ledgers [ITEMS]

Makes ITEMS small scenes (1000 unless told), segments them with random weights,
and times the same command again as a process of its own: wall time, and time of the ledger alone.

With --ledgers, ledgers of ITEMS volumes (100,000 unless told) are filled without making a mask, in SQLite and in a
PostgreSQL server that is started for it. Prints, for each, time and peak memory of `pipeline status` as a process of
its own; with --choose, also of what a run does before its first item: to choose what is left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.archive.archive import Archive, version_of
from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger, Entry
from pipeline.archive.place import VARIABLE, Place, place_of
from pipeline.archive.recipe import key_of, recipe_of
from pipeline.demo import scene_grid
from pipeline.io.raster import write_scene
from pipeline.jobs.inputs import jobs_of
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.request import Request
from tests.support import postgres

SIDE = 64
_STATUS = """
import contextlib, sys
from pipeline.cli import main
sys.argv = ["pipeline", "status"]
with contextlib.suppress(SystemExit):
    main()
"""
_CHOOSE = "import sys; from benchmarks.archive import Path, choose; choose(Path(sys.argv[1]), int(sys.argv[2]))"
_PEAK = """
from pathlib import Path
print(*(int(line.split()[1]) // 1024 for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line))
"""
"""Prints the peak memory of this process only; the figure that its parent gets includes the parent's memory."""


def main(folder: Path, items: int) -> None:
    """Make the archive if it is not there, and time it."""
    from benchmarks import random_model  # imports torch, which would count as memory of a ledger

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


def time_ledgers(folder: Path, items: int, *, choosing: bool) -> None:
    """Fill both kinds of ledgers, and time them."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = folder / "scene.tif"
    write_scene(scene, scene_grid((SIDE, SIDE)), iter([np.zeros((3, SIDE, SIDE), np.uint8)]), 3, np.dtype(np.uint8))
    with postgres.server() as server:
        file = folder / f"ledger-{items}.sqlite"
        file.unlink(missing_ok=True)
        for name, place in {"SQLite": str(file), "PostgreSQL": server.database()}.items():
            fill(place_of(place), folder, items)
            for what in ("status", "choose") if choosing else ("status",):
                found = timed(place, [what, str(folder), str(items)])
                print(json.dumps({"ledger": name, "items": items, "what": what, **found}), flush=True)


def fill(place: Place, folder: Path, items: int) -> None:
    """Enter items as done, one in fifty as failed; with two structures each."""
    jobs = links(folder, items)
    with closing(ArchiveLedger(place)) as ledger:
        recipe, (stamp, content) = ledger.recipe(recipe_of(jobs[0])), version_of(jobs[0].input)
        done = Entry("", None, "done", None, None, stamp, content, recipe, "landcover", cells=10**7, seconds=12.5)
        failed = replace(done, state="failed", code="memory", reason="too little memory")
        ledger.add(
            [
                replace(failed if number % 50 == 0 else done, input=key_of(job), output=str(folder / "scene.tif"))
                for number, job in enumerate(jobs)
            ]
        )
        with ledger._base.transaction() as base:
            base.executemany(
                "INSERT INTO structures VALUES (?, ?, ?)",
                [(key_of(job), name, 1000.0 + number % 100) for number, job in enumerate(jobs) for name in ("a", "b")],
            )


def links(folder: Path, items: int) -> list[Job]:
    """Return jobs whose inputs are all the same file, under names of their own."""
    inputs = folder / "inputs"
    inputs.mkdir(exist_ok=True)
    paths = [inputs / f"{number:06d}.tif" for number in range(items)]
    for path in paths:
        if not path.exists():
            path.symlink_to("../scene.tif")
    return [Job(str(path), folder / "masks" / path.name) for path in paths]


def timed(place: str, words: list[str]) -> dict[str, float]:
    """Return seconds, and the peak of memory, of a process that does one thing with a ledger."""
    code = _STATUS if words[0] == "status" else _CHOOSE
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code + _PEAK, *words[1:]], env={**os.environ, VARIABLE: place}, stdout=subprocess.PIPE
    )
    told = process.stdout.read()
    _, _, used = os.wait4(process.pid, 0)
    took, cpu = time.perf_counter() - began, used.ru_utime + used.ru_stime
    return {"wall, s": round(took, 2), "CPU, s": round(cpu, 2), "peak memory, MiB": int(told.split()[-1])}


def choose(folder: Path, items: int) -> None:
    """Do what a run does with its ledger before the first item."""
    jobs = links(folder, items)
    with closing(Archive(ArchiveLedger(place_of(os.environ[VARIABLE])))) as archive:
        archive.choose(jobs, Resources())


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    if "--ledgers" in sys.argv:
        time_ledgers(Path(words[0]), int(words[1]) if len(words) > 1 else 100_000, choosing="--choose" in sys.argv)
    else:
        main(Path(words[0]), int(words[1]) if len(words) > 1 else 1000)
