"""An archive of a thousand scenes in an object store, killed on the way, against one on a disk.

    python -m benchmarks.thousand FOLDER [--items 1000] [--sample 300] [--workers 2] [--server weed|moto]

Makes ITEMS scenes of 2,000 x 2,000 in three bands, puts them into a server of S3, and segments them into a prefix of
it. The command is killed as soon as a twentieth, a tenth, a fifth, three tenths and four tenths are done, and given
again. After each part, some of the same scenes are segmented on the disk, and as many scenes and masks are got and put
by plain requests, so that all three meet the same machine. At the end:

- every item is done in the ledger, and there is nothing in the store but masks, their records, and the ledger's copy;
- the masks of the sample have the labels and overviews of those on the disk, and some of them, which are made again on
  the disk from the scenes in the store, the same bytes: a mask says what its input was, which is not the same for both;
- the same command has nothing left to do;
- the table of what an item takes: seconds from one finished item to the next, while as many are under way as can be,
  of the processor, bytes and requests;
- the memory of command and workers in each tenth of the last part.

FOLDER needs about 3 MB for each scene. Scenes and masks on the disk are kept, and not made again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from rasterio.io import MemoryFile

from benchmarks import random_model
from benchmarks.object_server import KINDS, Server, object_server
from pipeline.archive.copied_ledger import ledger_here
from pipeline.archive.ledger import LEDGER_NAME
from pipeline.demo import scene_grid
from pipeline.files.atomic import remove
from pipeline.files.object_path import ObjectPath
from pipeline.io.objects import bucket_of
from pipeline.io.raster import write_scene

SIDE, BLOCK, PIXEL = 2000, 4, 0.5
KILLS = (0.05, 0.1, 0.2, 0.3, 0.4)
_LOOK = 0.2


@dataclass(frozen=True)
class Sample:
    """A look at a run."""

    at: float
    done: int
    used: float
    """Seconds of the processor of the command and its workers."""
    served: float
    """The same of the server."""
    runner: int
    workers: int
    """Resident memory in bytes, of all workers together."""


@dataclass
class Part:
    """What one command did until it ended, or was killed."""

    samples: list[Sample] = field(default_factory=list)
    code: int | None = None
    began: float = 0.0
    others: int = 0
    """Items that were done before."""
    under_way: int = 0
    """Items that are under way at a time."""

    @property
    def steady(self) -> list[Sample]:
        """While as many are under way, at all stages: the first few begin together, and the last have less beside."""
        first = self.others + self.under_way
        last = self.samples[-1].done - (self.under_way if self.code == 0 else 0)
        made = [sample for sample in self.samples if sample.done >= first]
        return [sample for sample in made if sample.done < last] + [
            next(sample for sample in made if sample.done >= last)
        ]

    @property
    def items(self) -> int:
        """Items that were finished in that time."""
        return self.steady[-1].done - self.steady[0].done

    def taken(self, name: str) -> float:
        """How much of something its steady items took together."""
        return float(getattr(self.steady[-1], name) - getattr(self.steady[0], name))

    def each(self, name: str) -> float:
        """How much of something one of its steady items took."""
        return self.taken(name) / max(1, self.items)

    @property
    def start(self) -> float:
        """Seconds until the first item that it finished."""
        return next(sample.at for sample in self.samples if sample.done > self.others) - self.began


@dataclass
class Transfer:
    """Plain requests for as many scenes and masks."""

    seconds: float = 0.0
    items: int = 0
    got: int = 0
    put: int = 0


@dataclass(frozen=True)
class Bench:
    """Where everything is."""

    folder: Path
    items: int
    sample: Sequence[int]
    words: list[str]
    workers: int
    server: Server
    bucket: ObjectPath

    @property
    def masks(self) -> ObjectPath:
        """The prefix of the masks."""
        return self.bucket / "masks"

    @property
    def ledger(self) -> Path:
        """The file of its ledger."""
        return Path(str(ledger_here(self.masks / LEDGER_NAME)))

    def into_store(self) -> list[str]:
        """The command for all scenes in the store."""
        return [*self.words, "--input", f"{self.bucket}scenes/", "--output", f"{self.masks}/"]

    def onto_disk(self, scenes: Sequence[object], masks: str = "masks") -> list[str]:
        """The command for some scenes whose masks are written to the disk."""
        table = self.folder / "some.csv"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([["input"], *[[f"{scene}"] for scene in scenes]])
        return [*self.words, "--input", str(table), "--output", f"{self.folder / masks}/"]


def main(folder: Path, items: int, sample: int, workers: int, server: str | None) -> None:
    """Run all of it, and print what came out."""
    if min(items * KILLS[0], sample / (len(KILLS) + 1)) <= 2 * (workers + 2):
        raise SystemExit("--items and --sample are too few: no part would have a time with as many items under way")
    folder = folder.absolute()
    for name in ("state", "tmp", "store", "masks", "exact"):
        remove(folder / name)
    (folder / "tmp").mkdir(parents=True)
    os.environ |= {"XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
    prepare(folder, items)
    words = [sys.executable, "-m", "pipeline.cli", "run", "--model", str(folder / "model"), "--no-prefect", "--quiet"]
    words += ["--workers", str(workers), "--precision", "float32", "--runtime", "torch"]
    with object_server(folder / "store", server) as running:
        os.environ |= running.environment
        bench = Bench(
            folder, items, range(0, items, max(1, items // sample)), words, workers, running, running.make_bucket()
        )
        with ThreadPoolExecutor(8) as pool:
            put = bucket_of(bench.bucket).put
            list(pool.map(lambda number: put(f"scenes/{number:05d}.tif", scene_of(folder, number)), range(items)))
        print(json.dumps(play(bench), indent=1))


def play(bench: Bench) -> dict[str, Any]:
    """Segment the scenes in parts, and return what came out."""
    before = bench.server.requests(), bench.server.moved()
    stops = [*(int(share * bench.items) for share in KILLS), None]
    parts, alone, transfer = list[Part](), list[Part](), Transfer()
    ours = [0.0, 0.0, 0.0]
    chunks = np.array_split(np.array(bench.sample), len(stops))
    for stop, chunk in zip(stops, chunks, strict=True):
        with _counted(bench, ours):
            parts.append(
                run(bench.into_store(), bench, bench.ledger, lambda done, stop=stop: stop is not None and done >= stop)
            )
        scenes = [scene_of(bench.folder, number) for number in chunk]
        alone.append(run(bench.onto_disk(scenes), bench, bench.folder / "masks" / LEDGER_NAME, lambda done: False))
        _transfer(bench, chunk, transfer)
        _tell(parts[-1], alone[-1], transfer)
    return {
        **_table(bench, parts, alone, transfer, before, ours),
        "memory": _memory(parts[-1]),
        **_checked(bench, parts),
    }


def run(words: list[str], bench: Bench, ledger: Path, enough: Callable[[int], bool]) -> Part:
    """Run a command until it ends, or has done enough and is killed."""
    part, known = Part(began=time.monotonic(), others=done_in(ledger), under_way=bench.workers + 2), dict[int, float]()
    with _running(words, bench.folder / "said.txt") as running:
        while running.poll() is None:
            with suppress(psutil.NoSuchProcess):
                part.samples.append(_look(running.pid, done_in(ledger), bench.server, known))
            if part.samples and enough(part.samples[-1].done):
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()
            time.sleep(_LOOK)
    part.code = running.returncode
    if part.code not in (0, -signal.SIGKILL):
        raise SystemExit((bench.folder / "said.txt").read_text())
    part.samples.append(replace(part.samples[-1], at=time.monotonic(), done=done_in(ledger)))
    return part


@contextmanager
def _running(words: list[str], said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command, which is killed with all below it if the block ends before."""
    with said.open("w") as file:
        running = subprocess.Popen(words, stdout=file, stderr=file, start_new_session=True)
    try:
        yield running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def _look(process: int, done: int, server: Server, known: dict[int, float]) -> Sample:
    runner = psutil.Process(process)
    below = runner.children(recursive=True)
    for one in (runner, *below):
        with suppress(psutil.NoSuchProcess):
            known[one.pid] = sum(one.cpu_times()[:2])
    sizes = [_size(one) for one in below]
    used = sum(known.values())
    return Sample(time.monotonic(), done, used, server.used(), _size(runner), sum(sizes))


def _size(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def done_in(ledger: Path) -> int:
    """Items that a ledger has as done."""
    if not ledger.exists():
        return 0
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as base:
        return int(base.execute("SELECT COUNT(*) FROM items WHERE state = 'done'").fetchone()[0])
    return 0


@contextmanager
def _counted(bench: Bench, ours: list[float]) -> Iterator[None]:
    """Add what the server does meanwhile."""
    before = bench.server.requests().total(), bench.server.moved()
    yield
    after = bench.server.moved()
    ours[0] += bench.server.requests().total() - before[0]
    ours[1] += after["sent"] - before[1]["sent"]
    ours[2] += after["received"] - before[1]["received"]


def _transfer(bench: Bench, numbers: Sequence[int], so_far: Transfer) -> None:
    """Get scenes and put their masks, one after the other."""
    bucket = bucket_of(bench.bucket)
    masks = [mask_of(bench.folder, number).read_bytes() for number in numbers]
    began = time.monotonic()
    for number, mask in zip(numbers, masks, strict=True):
        found = bucket.get(f"scenes/{number:05d}.tif")
        so_far.got += 0 if found is None else len(found[0])
        bucket.put(f"plain/{number:05d}.tif", mask)
        so_far.put += len(mask)
    so_far.seconds += time.monotonic() - began
    so_far.items += len(masks)


def _tell(part: Part, alone: Part, transfer: Transfer) -> None:
    told = [f"{each.each('at'):.3f}" for each in (part, alone)]
    print(f"{part.samples[-1].done} done: {told[0]} s an item, {told[1]} on the disk, "
          f"{transfer.seconds / transfer.items:.3f} to transfer", file=sys.stderr, flush=True)  # fmt: skip


def _table(
    bench: Bench, parts: list[Part], alone: list[Part], transfer: Transfer, before: tuple[Any, Any], ours: list[float]
) -> dict[str, Any]:
    def each(group: list[Part], name: str) -> float:
        return sum(part.taken(name) for part in group) / sum(part.items for part in group)

    seconds, on_disk, plain = each(parts, "at"), each(alone, "at"), transfer.seconds / transfer.items
    requests, sent, received = (count / bench.items for count in ours)
    rows = {
        "object store": {"s": seconds, "CPU s": each(parts, "used"), "CPU s of the server": each(parts, "served"),
                         "requests": requests, "bytes read": sent, "bytes written": received},
        "disk": {"s": on_disk, "CPU s": each(alone, "used")},
        "plain transfer": {"s": plain, "bytes read": transfer.got / transfer.items,
                           "bytes written": transfer.put / transfer.items},
    }  # fmt: skip
    return {
        "server": bench.server.kind,
        "items": bench.items,
        "of an item": {name: {what: round(value, 3) for what, value in row.items()} for name, row in rows.items()},
        "ratio to disk and transfer": round(seconds / (on_disk + plain), 3),
        "the same of each part": [
            round(part.each("at") / (there.each("at") + plain), 3) for part, there in zip(parts, alone, strict=True)
        ],
        "s until the first item of each part": [round(part.start, 1) for part in parts],
        "requests of all by kind": dict(bench.server.requests() - before[0]),
    }


def _memory(part: Part) -> dict[str, list[int]]:
    """Median MiB of each tenth of a part."""
    tenths = np.array_split(np.arange(len(part.steady)), min(10, len(part.steady)))
    return {
        name: [round(median(getattr(part.steady[at], name) for at in tenth) / 2**20) for tenth in tenths]
        for name in ("runner", "workers")
    }


def _checked(bench: Bench, parts: list[Part]) -> dict[str, Any]:
    """Look at the ledger and at what is in the store, and give the command once more."""
    bucket, began = bucket_of(bench.bucket), time.monotonic()
    again = run(bench.into_store(), bench, bench.ledger, lambda done: False)
    took = time.monotonic() - began
    with closing(sqlite3.connect(bench.ledger)) as base:
        states = dict(base.execute("SELECT state, COUNT(*) FROM items GROUP BY state").fetchall())
        tries = base.execute("SELECT SUM(tries - 1) FROM items").fetchone()[0]
    names = {entry.key.removeprefix("masks/") for entry in bucket.list("masks")}
    whole = {f"{number:05d}_mask.tif" for number in range(bench.items)}
    expected = (
        whole | {f".{name}.record.json" for name in whole} | {f"{name}.aux.xml" for name in whole} | {LEDGER_NAME}
    )
    left = sorted(name for name in names ^ expected if not name.startswith(".models/"))
    there = {number: bench.server.read(bench.masks / f"{number:05d}_mask.tif") for number in bench.sample}
    same = [labels(content) == labels(mask_of(bench.folder, number).read_bytes()) for number, content in there.items()]
    some = list(there)[:: max(1, len(there) // 20)]
    scenes = [f"{bench.bucket}scenes/{number:05d}.tif" for number in some]
    subprocess.run(bench.onto_disk(scenes, "exact"), check=True, stdout=subprocess.DEVNULL)
    exact = [(bench.folder / "exact" / f"{number:05d}_mask.tif").read_bytes() == there[number] for number in some]
    return {
        "killed": sum(part.code != 0 for part in parts),
        "states": states,
        "begun again": tries,
        "missing or left over": left[:5],
        "same labels and overviews as on the disk": f"{sum(same)} of {len(same)} compared",
        "same bytes": f"{sum(exact)} of {len(exact)} compared",
        "the same command again, s": round(took, 1),
        "of that left to do": again.samples[-1].done - again.others,
    }


def labels(content: bytes) -> str:
    """Return a digest of the labels of a mask, and of its overviews."""
    whole = sha256()
    with MemoryFile(content) as file:
        with file.open() as mask:
            levels = len(mask.overviews(1))
            whole.update(mask.read().tobytes())
        for level in range(levels):
            with file.open(overview_level=level) as reduced:
                whole.update(reduced.read().tobytes())
    return whole.hexdigest()


def prepare(folder: Path, items: int) -> None:
    """Make the scenes that are not there, and the model."""
    for number in range(items):
        if not scene_of(folder, number).exists():
            _make(folder, number)
    random_model.write_light(folder / "model", patch=64, overlap=8, spacing=8 * PIXEL)


def _make(folder: Path, number: int) -> None:
    """Write a scene of random pixels, unlike all others."""
    small = np.random.default_rng(number).integers(1, 255, (3, SIDE // BLOCK, SIDE // BLOCK), np.uint8)
    values = small.repeat(BLOCK, 1).repeat(BLOCK, 2)
    write_scene(scene_of(folder, number), scene_grid((SIDE, SIDE)), iter([values]), 3, np.dtype(np.uint8))


def scene_of(folder: Path, number: int) -> Path:
    """A scene on the disk."""
    return folder / "scenes" / f"{number:05d}.tif"


def mask_of(folder: Path, number: int) -> Path:
    """Its mask there."""
    return folder / "masks" / f"{number:05d}_mask.tif"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started ends, too
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in {"items": 1000, "sample": 300, "workers": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--server", choices=KINDS)
    main(**vars(parser.parse_args()))
