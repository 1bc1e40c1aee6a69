"""One scene by Dask workers that share no path, over S3: whether the mask is that of one process on a disk.

    python -m benchmarks.apart FOLDER [--rows 6144] [--server weed|moto] [--rounds plain worker ...]

Starts a server of S3, a Dask scheduler, two Dask workers and the command. Each of these but the server is as if on a
machine of its own: it has its own process numbers and host name, another user, and sees all disks read-only, except
for an empty folder, its home. The command alone has the model; scene and mask are objects. Rounds:

plain       nothing happens
worker      one of two workers vanishes in mid run, and none comes in its place
workers     both vanish, and later two others come
nanny       the process of a worker is killed, which Dask replaces
scheduler   the scheduler vanishes with its workers; others are started at the same address, and the command again
command     the command vanishes; it is given again on another machine, until the lock of the first one is old

Prints for each how the command ended, what it said, and whether the mask has the SHA-256 of that on the disk. Run it as
root, on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import psutil

from benchmarks import random_model
from benchmarks.object_server import KINDS, Server, object_server
from pipeline.demo import scene_grid
from pipeline.files.atomic import remove
from pipeline.files.object_path import ObjectPath
from pipeline.io.objects import bucket_of
from pipeline.io.raster import write_scene
from tests.support.ports import free_port

PATIENCE = 600.0
FIRST_USER = 65_100
_MACHINE = r"""
set -e
hostname "$NAME"
mount -t tmpfs -o mode=755,uid=$USER_ID tmpfs "$HOME"
for given in $GIVEN; do cp -r "$given" "$HOME/"; done
mount -t tmpfs -o ro tmpfs "$HIDDEN"
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -o remount,bind,ro /
mkdir "$HOME/tmp"
chown -R "$USER_ID" "$HOME"
cd "$HOME"
exec setpriv --reuid="$USER_ID" --regid="$USER_ID" --clear-groups \
    --inh-caps=+dac_read_search --ambient-caps=+dac_read_search "$@"
"""
"""In a namespace of its own: all disks read-only, but a home in memory; what the others have is hidden. The user may
read everything, as the Python that runs this may be root's, and write nothing of others."""


@dataclass
class Machine:
    """A process that runs as if on a machine of its own."""

    name: str
    running: subprocess.Popen[str]
    log: Path

    def vanish(self) -> None:
        """Kill its first process, and with it the kernel kills all others of its namespace."""
        for process in self.below()[:1]:
            process.kill()
        self.running.wait()

    def below(self) -> list[psutil.Process]:
        """Its processes."""
        return psutil.Process(self.running.pid).children(recursive=True)


@dataclass
class Place:
    """Where everything is: `own` is the home of each machine, and `hidden` has what none of them sees."""

    own: Path
    hidden: Path
    env: dict[str, str]
    machines: list[Machine] = field(default_factory=list)

    def start(self, name: str, words: list[str], given: tuple[Path, ...] = ()) -> Machine:
        """Start a process on a machine that has nothing but what is given to it."""
        said = {"NAME": name, "HOME": str(self.own), "TMPDIR": f"{self.own}/tmp", "HIDDEN": str(self.hidden)}
        said |= {"USER_ID": str(FIRST_USER + len(self.machines)), "GIVEN": " ".join(map(str, given))}
        said |= {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        apart = ["unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc"]
        log = self.hidden / f"{len(self.machines):02d}-{name}.log"
        with log.open("w") as file:
            running = subprocess.Popen(
                [*apart, "sh", "-c", _MACHINE, "sh", *words], env=said | self.env, stdout=file, stderr=file, text=True
            )
        self.machines.append(Machine(name, running, log))
        return self.machines[-1]

    def end(self) -> None:
        """Kill what runs."""
        for machine in self.machines:
            if machine.running.poll() is None:
                machine.vanish()


@dataclass
class Cluster:
    """A scheduler and its workers, and the command whose mask they make."""

    place: Place
    server: Server
    bucket: ObjectPath
    model: Path
    words: list[str]
    name: str
    port: int = field(default_factory=free_port)

    @property
    def address(self) -> str:
        """Where the scheduler is."""
        return f"tcp://127.0.0.1:{self.port}"

    def scheduler(self) -> Machine:
        """Start a scheduler."""
        words = ["scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        return self.place.start("scheduler", [sys.executable, "-m", "dask", *words])

    def worker(self, number: int) -> Machine:
        """Start a worker, with the process that looks after it."""
        words = ["worker", self.address, "--nthreads", "1", "--no-dashboard", "--local-directory", "dask"]
        return self.place.start(f"worker-{number}", [sys.executable, "-m", "dask", *words])

    def command(self) -> Machine:
        """Give the command."""
        words = [*self.words, "--output", f"{self.bucket / 'masks' / self.name}.tif", "--scheduler", self.address]
        return self.place.start("client", words, (self.model,))

    def marks(self) -> int:
        """Slabs that are done."""
        return sum("/done/" in key for key in self.server.keys(self.bucket / "masks" / f"{self.name}.tif.partial"))

    def wait_for_marks(self, command: Machine, count: int = 1) -> None:
        """Wait until `count` slabs are done, or the command has ended."""
        wait_until(lambda: self.marks() >= count or command.running.poll() is not None)


def plain(cluster: Cluster) -> list[Machine]:
    """Leave it alone."""
    _begin(cluster)
    return [_ended(cluster.command())]


def worker(cluster: Cluster) -> list[Machine]:
    """Kill one of two workers."""
    first, _ = _begin(cluster)
    command = cluster.command()
    cluster.wait_for_marks(command)
    first.vanish()
    return [_ended(command)]


def workers(cluster: Cluster) -> list[Machine]:
    """Kill both workers, and start others."""
    gone = _begin(cluster)
    command = cluster.command()
    cluster.wait_for_marks(command)
    for one in gone:
        one.vanish()
    time.sleep(5)
    for number in (3, 4):
        cluster.worker(number)
    return [_ended(command)]


def nanny(cluster: Cluster) -> list[Machine]:
    """Kill the process of a worker, not the one that looks after it."""
    first, _ = _begin(cluster)
    command = cluster.command()
    cluster.wait_for_marks(command)
    computing = max(first.below(), key=lambda process: sum(process.cpu_times()[:2]))
    computing.kill()
    return [_ended(command)]


def scheduler(cluster: Cluster) -> list[Machine]:
    """Kill the scheduler, then start another with other workers, and give the command again."""
    there = cluster.scheduler()
    gone = [cluster.worker(number) for number in (1, 2)]
    command = cluster.command()
    cluster.wait_for_marks(command)
    there.vanish()
    _ended(command)
    for one in gone:
        _ended(one)
    _begin(cluster)
    return [command, _ended(cluster.command())]


def command(cluster: Cluster) -> list[Machine]:
    """Kill the command, and give it again on another machine, at once and until it is let in."""
    _begin(cluster)
    tries = [cluster.command()]
    cluster.wait_for_marks(tries[0])
    tries[0].vanish()
    end = time.monotonic() + PATIENCE
    while tries[-1].running.returncode != 0 and time.monotonic() < end:
        tries.append(_ended(cluster.command()))
        time.sleep(5 if tries[-1].running.returncode else 0)
    return tries


ROUNDS: dict[str, Callable[[Cluster], list[Machine]]] = {
    each.__name__: each for each in (plain, worker, workers, nanny, scheduler, command)
}


def main(folder: Path, rows: int, server: str | None, rounds: list[str]) -> None:
    """Play the rounds, and print how each ended."""
    folder = folder.absolute()
    own, hidden = folder / "own", folder / "hidden"
    for path in (own, hidden):
        remove(path)
        path.mkdir(parents=True)
    words, scene, model = prepare(hidden, rows)
    with object_server(hidden / "store", server) as running, ExitStack() as stack:
        bucket = running.make_bucket()
        os.environ |= running.environment
        bucket_of(bucket).put("scenes/scene.tif", scene)
        address, alone = f"{bucket}scenes/scene.tif", hidden / "alone.tif"
        once = [*words, "--input", address, "--model", str(model), "--output", str(alone)]
        subprocess.run(once, check=True, stdout=subprocess.DEVNULL)
        place = Place(own, hidden, running.environment)
        stack.callback(place.end)
        command = [*words, "--input", address, "--model", f"{own}/model"]
        for name in rounds:
            told = play(name, Cluster(place, running, bucket, model, command, name), digest(alone.read_bytes()))
            print(json.dumps({"server": running.kind} | told), flush=True)
            place.end()


def play(name: str, cluster: Cluster, expected: str) -> dict[str, object]:
    """Play a round, and return how it ended."""
    began = time.monotonic()
    tries = ROUNDS[name](cluster)
    made = digest(cluster.server.read(cluster.bucket / "masks" / f"{name}.tif"))
    own = (f"masks/{name}.tif", f"masks/{name}.tif.aux.xml", f"masks/.{name}.tif.record.json")
    left = [key for key in cluster.server.keys(cluster.bucket) if f"{name}.tif" in key and key not in own]
    said = [[line for line in each.log.read_text().splitlines() if not line.startswith("unshare: ")] for each in tries]
    codes = [each.running.returncode for each in tries]
    return {
        "round": name, "same": made == expected, "sha256": made, "exit codes": codes,
        "said": [lines[-1:] for lines in said[:2]], "left over": left, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def prepare(folder: Path, rows: int) -> tuple[list[str], Path, Path]:
    """Make a scene and a model; return the command without its places, and both."""
    values = np.random.default_rng(0).integers(0, 255, (3, rows, 256), np.uint8)
    scene, model = folder / "scene.tif", folder / "model"
    write_scene(scene, scene_grid((rows, 256)), iter([values]), 3, np.dtype(np.uint8))
    random_model.write_light(model, patch=64, overlap=16)
    return [sys.executable, "-m", "pipeline.cli", "run", "--no-prefect", "--quiet"], scene, model


def wait_until(there: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not there():
        if time.monotonic() > end:
            raise SystemExit("it took too long; look into the logs in FOLDER/hidden")
        time.sleep(0.2)


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file."""
    return sha256(content).hexdigest()


def _begin(cluster: Cluster) -> list[Machine]:
    cluster.scheduler()
    return [cluster.worker(number) for number in (1, 2)]


def _ended(machine: Machine) -> Machine:
    """Wait until a machine has ended by itself."""
    with suppress(subprocess.TimeoutExpired):
        machine.running.wait(PATIENCE)
    return machine


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started ends, too
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=6144)
    parser.add_argument("--server", choices=KINDS)
    parser.add_argument("--rounds", nargs="+", choices=ROUNDS, default=list(ROUNDS))
    main(**vars(parser.parse_args()))
