"""Two runs over one archive at once, one of which is killed: whether every item is made once, and what they say.

    python -m benchmarks.archive_pairs FOLDER [--pairs 20] [--items 60] [--seed 0] [--postgres]

Two commands segment the same small scenes into the same folder. At any moment after the first mask is there, one
of them is killed. The other has to end with exit code 0 and all masks, each made once, but for the item that it was
working on; then the same command has nothing left to do. Prints what was found otherwise, as JSON. With --postgres,
the ledger is in a PostgreSQL server that is started for it, where runs know each other by their heartbeats alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np

from benchmarks import random_model
from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger
from pipeline.archive.place import VARIABLE, Place, place_of
from pipeline.demo import scene_grid
from pipeline.files.atomic import remove
from pipeline.io.raster import write_scene
from tests.support import postgres as servers

SIDE = 64


def main(folder: Path, pairs: int, items: int, seed: int, postgres: bool) -> None:
    """Run the pairs with a ledger of that kind, and print what went wrong."""
    with servers.server() if postgres else nullcontext() as server:
        run_pairs(folder, pairs, items, seed, server)


def run_pairs(folder: Path, pairs: int, items: int, seed: int, server: servers.Server | None) -> None:
    """Run the pairs, and print what went wrong."""
    command, masks = prepare(folder, items), folder / "masks"
    clear(masks, server)
    alone = start(command)
    longest = time_from_first_mask(alone, masks)
    dice, found = random.Random(seed), Counter[str]()
    for _ in range(pairs):
        place = clear(masks, server)
        killed, left = runs = [start(command), start(command)]
        wait_for_mask(runs, masks)
        time.sleep(dice.uniform(0, longest / 2))
        killed.kill()
        killed.communicate()
        found.update(look(left, place, masks, items, over=killed.returncode == 0))
        found["the same command again has something to do"] += not has_nothing_to_do(command, items)
    told = {"pairs": pairs, "items": items, "seconds from the first mask, alone": round(longest, 1)}
    print(
        json.dumps(told | {name: found[name] for name in FAULTS} | {"items taken over": found["taken over"]}, indent=1)
    )


FAULTS = (
    "killed too late",
    "exit codes other than 0",
    "items that failed",
    "items that are not done",
    "items made twice",
    "files left over",
    "the same command again has something to do",
)


def prepare(folder: Path, items: int) -> list[str]:
    """Make the scenes and the model, and return the command."""
    scenes, model = folder / "scenes", folder / "model"
    grid, rng = scene_grid((SIDE, SIDE)), np.random.default_rng(0)
    for number in range(items):
        values = rng.integers(0, 255, (3, SIDE, SIDE), np.uint8)
        write_scene(scenes / f"{number:03d}.tif", grid, iter([values]), 3, np.dtype(np.uint8))
    random_model.write(model, patch=SIDE, overlap=SIDE // 4)
    words = ["run", "--input", scenes, "--output", f"{folder / 'masks'}/", "--model", model, "--no-prefect", "--json"]
    return [sys.executable, "-m", "pipeline.cli", *map(str, words)]


def clear(masks: Path, server: servers.Server | None) -> Place:
    """Remove the masks, and return where the ledger of the next ones will be."""
    remove(masks)
    if server is None:
        return masks / LEDGER_NAME
    os.environ[VARIABLE] = server.database()
    return place_of(os.environ[VARIABLE])


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start a run."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_mask(runs: list[subprocess.Popen[str]], masks: Path) -> None:
    """Wait until there is a mask."""
    while not any(masks.glob("*.tif")):
        if all(run.poll() is not None for run in runs):
            raise SystemExit(f"no run made a mask: {runs[0].communicate()[1]}")
        time.sleep(0.01)


def time_from_first_mask(run: subprocess.Popen[str], masks: Path) -> float:
    """Return how long a run takes from its first mask to its end."""
    wait_for_mask([run], masks)
    began = time.monotonic()
    run.communicate()
    return time.monotonic() - began


def look(left: subprocess.Popen[str], place: Place, masks: Path, items: int, *, over: bool) -> Counter[str]:
    """Wait for the run that is left, and count what is not as it should be."""
    told = json.loads(left.communicate()[0])["items"]
    with closing(ArchiveLedger(place, create=False)) as ledger:
        rows = ledger.rows().values()
    again = sum(row.tries - 1 for row in rows if row.tries > 1)
    own = {LEDGER_NAME, "archive.json"} if isinstance(place, Path) else set()
    expected = {*own, *(f"{number:03d}_mask.tif" for number in range(items))}
    names = {path.name for path in masks.iterdir() if not path.name.endswith(".aux.xml")}
    return Counter(
        {
            "killed too late": int(over),
            "exit codes other than 0": int(left.returncode != 0),
            "items that failed": sum(item["status"] == "failed" for item in told),
            "items that are not done": items - sum(row.state == "done" for row in rows),
            "items made twice": max(0, again - 1),
            "files left over": len(names ^ expected),
            "taken over": again,
        }
    )


def has_nothing_to_do(command: list[str], items: int) -> bool:
    """Return whether the same command skips all items."""
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    skipped = [item for item in json.loads(ended.stdout)["items"] if item["status"] == "skipped"]
    return ended.returncode == 0 and len(skipped) == items


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in {"pairs": 20, "items": 60, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--postgres", action="store_true")
    main(**vars(parser.parse_args()))
