"""`pipeline run` into an object store, killed at random moments again and again, against one on a disk that was not.

    python -m benchmarks.object_kills FOLDER [--kills 50] [--rows 3000] [--workers 0] [--suffix .tif] [--faults 0.0]
           [--server weed|moto|azurite|gcs] [--every 0.2] [--from-store]

It starts its own server, on this machine. Work is sent EVERY seconds, for these runs are short. Each kill is SIGKILL
to the whole command, as in `benchmarks.kills`. The command is given again until it ends by itself; its mask in the
store is then compared with that on the disk, byte for byte. With `--faults`, that share of all requests is refused as
overloaded, fails, is dropped before or after it was carried out, or is delayed, which takes moto. With `--kills 0`,
nothing is killed, and `--runs` masks are made. With `--from-store` the input is an object, too. With a suffix of NIfTI
it is a volume, of a hundredth as many slices. A script that was stopped goes on counting where it was, with what
FOLDER/kills.json says.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import random_model
from benchmarks.kills import run
from benchmarks.object_server import KINDS, GoogleServer, Server, object_server
from benchmarks.scenes import sample_scene
from pipeline.files.atomic import remove
from pipeline.files.object_path import ObjectPath
from pipeline.runs import object_storage
from tests.support.inputs import pixels, put_models, put_volume
from tests.support.objects import Fault, Request, proxied

FAULTS: tuple[Fault, ...] = (503, 500, "drop", "late", "slow")


def main(
    folder: Path, kills: int, runs: int, rows: int, workers: int, suffix: str, faults: float, seed: int,
    server: str | None, every: float, *, from_store: bool,
) -> None:  # fmt: skip
    """Kill runs until the number of kills is reached, and print the result."""
    object_storage.EVERY = every  # of all runs, which are forked from this process
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
    with ProcessPoolExecutor(1) as alone:
        scene, model = alone.submit(_prepare, folder, rows, volume=suffix.startswith(".nii")).result()
    remove(folder / "store")
    with object_server(folder / "store", server or ("moto" if faults else None)) as running:
        store = Store(running, running.make_bucket("kills"))
        with _faults(running.front if isinstance(running, GoogleServer) else running.address, faults, seed) as (
            address,
            made,
        ):
            os.environ.update(running.environment_at(address))
            whole = folder / "whole" / f"whole{suffix}"
            remove(whole.parent)
            whole.parent.mkdir()
            given = _sent(running, scene) if from_store else scene
            run(given, whole, model, workers, None, folder / "said.txt")
            settings = {"server": running.kind, "rows": rows, "workers": workers, "suffix": suffix, "faults": faults}
            settings |= {"every": every, "from store": from_store}
            loop = Loop(given, model, workers, whole, store, folder / "kills.json", settings, seed)
            found = loop.play(kills, runs)
        print(json.dumps(found | settings | {"requests": running.requests().total(), "faults made": made()}))


def _prepare(folder: Path, rows: int, *, volume: bool) -> tuple[Path, Path]:
    """Write an input and a model that takes little time: most of a run is what can go wrong."""
    if volume:
        put_models(folder / "models")
        scan = put_volume(folder / "scan.nii.gz", pixels((rows // 100, 200, 160)).T.astype(np.int16), np.eye(4))
        return scan, folder / "models" / "volume"
    random_model.write_light(folder / "light", patch=128, overlap=32)
    return sample_scene(folder, rows, 512), folder / "light"


def _sent(server: Server, file: Path) -> str:
    """Put a file into a bucket of its own, and return its address."""
    place = server.make_bucket("inputs") / "scenes" / file.name
    server.write(place, file.read_bytes())
    return f"{place}"


@dataclass(frozen=True)
class Store:
    """The bucket of the masks."""

    server: Server
    bucket: ObjectPath

    def compare(self, folder: Path, whole: Path, killed: int) -> None:
        """Compare the mask in the store with that on the disk, see that nothing else is left, and delete it."""
        keys = self.server.keys(self.bucket)
        expected = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
        for name, path in expected.items():
            content = self.server.read(self.bucket / "masks" / f"{name}")
            if hashlib.sha256(content).digest() != hashlib.sha256(path.read_bytes()).digest():
                raise SystemExit(f"after {killed} kills {name} differs from {path}")
        others = set(keys) - {f"masks/{name}" for name in expected} - {f"masks/.{whole.name}.record.json"}
        if others:
            raise SystemExit(f"after {killed} kills {sorted(others)} stay")
        self.server.delete(self.bucket.bucket, keys)


@dataclass(frozen=True)
class Loop:
    """What is run, compared and counted."""

    scene: Path | str
    model: Path
    workers: int
    whole: Path
    store: Store
    counts: Path
    settings: dict[str, Any]
    seed: int

    def play(self, kills: int, runs: int) -> dict[str, Any]:
        """Kill runs until there are `kills` kills and `runs` masks or more; return the counts and the time of a run."""
        killed, ends = self._known()
        began = time.monotonic()
        longest = self._run(None) or 0.0
        seconds = time.monotonic() - began
        self.store.compare(self.whole.parent, self.whole, killed)
        dice = random.Random(f"{self.seed} {killed}")
        while killed < kills or ends < runs:
            most = dice.uniform(0, 1.2 * longest) if killed < kills else None
            while self._run(most) is None:
                killed += 1
                most = dice.uniform(0, 1.2 * longest)
            ends += 1
            print(f"{killed} kills, {ends} masks", file=sys.stderr, flush=True)
            self.store.compare(self.whole.parent, self.whole, killed)
            self.counts.write_text(json.dumps({"kills": killed, "masks": ends, "settings": self.settings}))
        found = {"kills": killed, "masks": ends, "all_the_same": True, "cpu_seconds_of_a_run": round(longest, 1)}
        return found | {"seconds_of_a_run": round(seconds, 1)}

    def _run(self, most: float | None) -> float | None:
        mask = f"{self.store.bucket / 'masks' / self.whole.name}"
        return run(self.scene, mask, self.model, self.workers, most, self.counts.with_name("said.txt"))

    def _known(self) -> tuple[int, int]:
        """Kills and masks of a script that was stopped."""
        if not self.counts.exists():
            return 0, 0
        known = json.loads(self.counts.read_text())
        return (known["kills"], known["masks"]) if known["settings"] == self.settings else (0, 0)


@contextmanager
def _faults(address: str, share: float, seed: int) -> Iterator[tuple[str, Callable[[], dict[str, int]]]]:
    """Yield the address to use, that of a proxy if it is to make faults, and a function that returns their counts."""
    if not share:
        yield address, dict
        return
    here, there = multiprocessing.Pipe()
    proxy = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, address, share, seed), daemon=True)
    proxy.start()
    yield here.recv(), lambda: here.send("end") or here.recv()
    proxy.join()


def _serve(to: Connection, server: str, faults: float, seed: int) -> None:
    """Send the address of the proxy, serve requests until asked to stop, and send the counts of faults."""
    dice, made = random.Random(seed), Counter[str]()

    def fault(request: Request) -> Fault:
        chosen = dice.choice(FAULTS) if dice.random() < faults else None
        made[str(chosen)] += 1
        return chosen

    with proxied(server.removeprefix("http://")) as proxy:
        proxy.inject(fault)
        to.send(proxy.address)
        to.recv()
        to.send(dict(made))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started ends, too
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in {"kills": 50, "runs": 0, "rows": 3000, "workers": 0, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--suffix", choices=[".tif", ".zarr", ".nii.gz"], default=".tif")
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--server", choices=KINDS)
    parser.add_argument("--every", type=float, default=0.2)
    parser.add_argument("--from-store", action="store_true")
    main(**vars(parser.parse_args()))
