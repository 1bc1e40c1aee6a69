"""`pipeline run` into an object store, killed at random moments again and again, against one on a disk that was not.

    python -m benchmarks.object_kills FOLDER [--kills 50] [--rows 3000] [--workers 0] [--suffix .tif] [--faults 0.0]

It starts its own server, on this machine. Each kill is SIGKILL to the whole command, as in `benchmarks.kills`. The
command is given again until it ends by itself; its mask in the store is then compared with that on the disk, byte for
byte. With `--faults`, that share of all requests is refused as overloaded, fails, is dropped before or after it was
carried out, or is delayed. With `--kills 0`, nothing is killed, and `--runs` masks are made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.kills import _prepare, run
from pipeline.files.atomic import remove
from pipeline.runs import object_storage  # noqa: F401  (loaded once for all runs)
from tests.support.objects import Fault, Request, Store, environment, make_bucket, proxied, s3_server

FAULTS: tuple[Fault, ...] = (503, 500, "drop", "late", "slow")


def main(folder: Path, kills: int, runs: int, rows: int, workers: int, suffix: str, faults: float, seed: int) -> None:
    """Kill runs until the number of kills is reached, and print the result."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
    with ProcessPoolExecutor(1) as alone:
        scene, model = alone.submit(_prepare, folder, rows).result()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, faults, seed), daemon=True)
    server.start()
    direct, address = here.recv()
    os.environ.update(environment(address))
    store = Store(make_bucket(direct), direct, None)
    whole = folder / f"whole{suffix}"
    remove(whole)
    run(scene, whole, model, workers, None)
    mask = f"{store.place}masks/whole{suffix}"
    said = folder / "said.txt"
    began = time.monotonic()
    longest = run(scene, mask, model, workers, None, said) or 0.0
    seconds = time.monotonic() - began
    dice, killed, ends = random.Random(seed), 0, 0
    _compare(store, folder, whole, killed)
    while killed < kills or ends < runs:
        most = dice.uniform(0, 1.2 * longest) if killed < kills else None
        while run(scene, mask, model, workers, most, said) is None:
            killed += 1
            most = dice.uniform(0, 1.2 * longest)
        ends += 1
        print(f"{killed} kills, {ends} masks", file=sys.stderr, flush=True)
        _compare(store, folder, whole, killed)
    here.send("end")
    found = {"kills": killed, "masks": ends, "all_the_same": True, "cpu_seconds_of_a_run": round(longest, 1)}
    found |= {"seconds_of_a_run": round(seconds, 1), "faults": dict(here.recv())}
    print(json.dumps(found | {"workers": workers, "suffix": suffix}))


def _compare(store: Store, folder: Path, whole: Path, killed: int) -> None:
    """Compare the mask in the store with that on the disk, see that nothing else is left, and delete it."""
    found = store.all()
    expected = {path.relative_to(folder): path for path in sorted(folder.rglob(f"{whole.name}*")) if path.is_file()}
    expected |= {path.relative_to(folder): path for path in sorted(whole.rglob("*")) if path.is_file()}
    for name, path in expected.items():
        content = found.get(f"masks/{name}", b"")
        if hashlib.sha256(content).digest() != hashlib.sha256(path.read_bytes()).digest():
            raise SystemExit(f"after {killed} kills {name} differs from {path}")
    others = set(found) - {f"masks/{name}" for name in expected} - {f"masks/.{whole.name}.record.json"}
    if others:
        raise SystemExit(f"after {killed} kills {sorted(others)} stay")
    for key in found:
        store.delete(key)


def _serve(to: Connection, faults: float, seed: int) -> None:
    """Print the addresses, serve until a line is read, and print the faults that were made."""
    dice, made = random.Random(seed), Counter[str]()

    def fault(request: Request) -> Fault:
        chosen = dice.choice(FAULTS) if dice.random() < faults else None
        made[str(chosen)] += 1
        return chosen

    with s3_server() as server, proxied(server) as proxy:
        proxy.inject(fault)
        to.send((server, proxy.address))
        to.recv()
        to.send(made)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in {"kills": 50, "runs": 0, "rows": 3000, "workers": 0, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--suffix", choices=[".tif", ".zarr"], default=".tif")
    parser.add_argument("--faults", type=float, default=0.0)
    main(**vars(parser.parse_args()))
