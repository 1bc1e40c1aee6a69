"""What a version leaves behind, packed: `PYTHONPATH=OLD_TREE:TREE/tests python -m golden.make_old OUT.tar.gz`.

A scene whose run was killed between two slabs, with its work folder; and an archive with items that are done, failed,
quarantined and pending. Made by the command line of version 876feba, and not to be made again: later versions have to
take up what that one left. Times of change are those in the archive.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import chdir
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .decode import cells
from .inputs import put_model, put_scene, still
from .record import ALONE, SCENE

RESUMED = ("run", "--input", "tall.tif", "--output", "out/mask.tif", *SCENE, *ALONE)
ARCHIVE = ("run", "--input", "many/*.tif", "--output", "masks/", *SCENE, *ALONE)
ENOUGH = 3
"""Slabs of the scene that are done when its run is killed."""
HERE = "/HERE/"
"""Stands in the ledger for the folder in which the archive lies, as it holds absolute paths."""


def command(words: tuple[str, ...]) -> list[str]:
    """A call of the command line as a process."""
    return [sys.executable, "-m", "pipeline.cli", *words]


def kill_midway(words: tuple[str, ...], done: Path, enough: int) -> None:
    """Begin a run, and kill it as soon as so many marks are in the folder `done`."""
    process = subprocess.Popen(command(words), stdout=subprocess.DEVNULL)
    while not done.is_dir() or len(list(done.iterdir())) < enough:
        if process.poll() is not None:
            raise RuntimeError("the run ended before it could be killed")
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def relocate(ledger: Path, before: str, after: str) -> None:
    """Put one folder for another in the paths that a ledger holds."""
    base = sqlite3.connect(ledger)
    with base:
        for table, column in (("items", "input"), ("items", "output"), ("items", "reason"), ("structures", "input")):
            base.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (before, after))
    base.execute("PRAGMA journal_mode = DELETE")
    base.execute("VACUUM")
    base.close()


def make() -> None:
    """Make all in the folder that one is in, which is empty."""
    put_model(Path("models/scene"), "scene")
    put_scene(Path("tall.tif"), _plain(9216, 40), compress="deflate")
    subprocess.run(command(RESUMED), check=True, stdout=subprocess.DEVNULL)
    expected = {"mask": cells(Path("out/mask.tif"))}
    shutil.rmtree("out")
    work = Path("out/mask.tif.partial")
    kill_midway(RESUMED, work / "done", ENOUGH)
    expected["done"] = sorted(mark.name for mark in (work / "done").iterdir())
    _make_archive()
    expected["masks"] = {path.name: cells(path) for path in sorted(Path("masks").glob("*_mask.tif"))}
    base = sqlite3.connect("masks/archive.sqlite")
    expected["items"] = {Path(name).stem: state for name, state in base.execute("SELECT input, state FROM items")}
    base.close()
    relocate(Path("masks/archive.sqlite"), f"{Path.cwd()}/", HERE)
    Path("expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


def _make_archive() -> None:
    """Two items that are done, one whose output could not be written, one that is no image, and two not yet begun."""
    for number, name in enumerate(("done1", "done2", "failed", "pending1", "pending2")):
        put_scene(Path(f"many/{name}.tif"), _plain(100, 90, number), compress="deflate")
    Path("many/broken.tif").write_bytes(b"II*\0 no image")
    still(Path("many"))
    Path("masks/failed_mask.tif").mkdir(parents=True)
    process = subprocess.Popen(command(ARCHIVE), stdout=subprocess.DEVNULL)
    ledger = Path("masks/archive.sqlite")
    while process.poll() is None and "failed" not in _states(ledger):
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    Path("masks/failed_mask.tif").rmdir()


def _states(ledger: Path) -> set[str]:
    if not ledger.exists():
        return set()
    base = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        return {state for (state,) in base.execute("SELECT state FROM items WHERE input LIKE '%/failed.tif'")}
    except sqlite3.OperationalError:
        return set()
    finally:
        base.close()


def _plain(rows: int, columns: int, seed: int = 0) -> NDArray[np.uint8]:
    """Two channels of blots without noise, which pack well."""
    side = 32
    blots = np.random.default_rng(seed).integers(1, 200, (2, -(-rows // side), -(-columns // side)), np.uint8)
    return blots.repeat(side, 1).repeat(side, 2)[:, :rows, :columns]


def main(output: Path) -> None:
    """Make and pack."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        make()
        with tarfile.open(output, "w:gz") as packed:
            packed.add(".")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
