"""Damage to chunks of finished slabs, case by case: whether each is noticed, and whether the mask has the same bytes.

    python -m benchmarks.chunk_faults FOLDER [--cases 300] [--rows 8192] [--suffix .tif] [--seed 0]

A run is stopped when all of its slabs are finished and nothing is written yet. For each case its work folder is put
back, one chunk is flipped in a bit, cut, emptied, deleted, replaced by another one or swapped with it, and the run is
given again. A case is noticed if the run says that a finished slab is computed again.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks import random_model
from benchmarks.kills import digest
from benchmarks.scenes import sample_scene
from pipeline.errors import Interrupted
from pipeline.files.atomic import remove
from pipeline.jobs.job import Job, Resources
from pipeline.runs.observer import Observer
from pipeline.runs.segment import segment

PLAIN = Resources(precision="float32", runtime="torch")
Damage = Callable[[Path, list[Path], random.Random], None]


class StopsBeforeWriting(Observer):
    """Stops a run when all slabs are finished."""

    def phase(self, name: str) -> None:
        """Stop before the output is written."""
        if name == "writing":
            raise Interrupted


class Notes(Observer):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        """Keep a line."""
        self.lines.append(line)


def flip(chunk: Path, others: list[Path], dice: random.Random) -> None:
    """Flip one bit."""
    content = bytearray(chunk.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    chunk.write_bytes(content)


def cut(chunk: Path, others: list[Path], dice: random.Random) -> None:
    """Cut the chunk anywhere, its last byte included."""
    content = chunk.read_bytes()
    chunk.write_bytes(content[: dice.randrange(len(content))])


def empty(chunk: Path, others: list[Path], dice: random.Random) -> None:
    """Leave nothing of it."""
    chunk.write_bytes(b"")


def delete(chunk: Path, others: list[Path], dice: random.Random) -> None:
    """Delete it, as if all were nodata."""
    chunk.unlink()


def replace(chunk: Path, others: list[Path], dice: random.Random) -> None:
    """Put a copy of another one in its place."""
    shutil.copy(dice.choice(others), chunk)


def swap(chunk: Path, others: list[Path], dice: random.Random) -> None:
    """Swap it with another one."""
    other = dice.choice(others)
    kept = chunk.read_bytes()
    shutil.copy(other, chunk)
    other.write_bytes(kept)


DAMAGES: tuple[Damage, ...] = (flip, cut, empty, delete, replace, swap)


def main(folder: Path, cases: int, rows: int, suffix: str, seed: int) -> None:
    """Damage `cases` chunks, and print the results."""
    job, expected = prepared(folder, rows, suffix)
    output = job.output
    assert output is not None
    work, kept = output.with_name(output.name + ".partial"), folder / "kept"
    dice, began = random.Random(seed), time.monotonic()
    made: Counter[str] = Counter()
    noticed: Counter[str] = Counter()
    same = 0
    for number in range(cases):
        damage = DAMAGES[number % len(DAMAGES)]
        for path in (work, output):
            remove(path)
        shutil.copytree(kept, work)
        chunks = sorted(path for path in (work / "mask.zarr/mask/c").rglob("*") if path.is_file())
        chunk = dice.choice(chunks)
        damage(chunk, [other for other in chunks if other.read_bytes() != chunk.read_bytes()], dice)
        notes = Notes()
        segment(job, PLAIN, notes)
        made[damage.__name__] += 1
        noticed[damage.__name__] += any("computed again" in line for line in notes.lines)
        same += digest(output) == expected
    found = {"cases": cases, "noticed": noticed.total(), "the_same_bytes": same, "suffix": suffix}
    kinds = {name: f"{noticed[name]} of {count}" for name, count in made.items()}
    print(json.dumps(found | {"by_kind": kinds, "seconds": round(time.monotonic() - began)}))


def prepared(folder: Path, rows: int, suffix: str) -> tuple[Job, str]:
    """Return a job whose work folder is kept in `folder / "kept"`, and the digest of its mask."""
    folder.mkdir(parents=True, exist_ok=True)
    scene, model = sample_scene(folder, rows, 96), folder / "small"
    random_model.write(model, patch=128, overlap=32)
    output, kept = folder / f"mask{suffix}", folder / "kept"
    work = output.with_name(output.name + ".partial")
    for path in (output, kept, work):
        remove(path)
    job = Job(str(scene), output, str(model))
    segment(job, PLAIN)
    expected = digest(output)
    remove(output)
    try:
        segment(job, PLAIN, StopsBeforeWriting())
    except Interrupted:
        shutil.copytree(work, kept)
    return job, expected


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in {"cases": 300, "rows": 8192, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--suffix", choices=[".tif", ".zarr"], default=".tif")
    main(**vars(parser.parse_args()))
