"""One scene by the workers of a SLURM cluster, one of which is killed: whether the mask is that of a single process.

    python -m benchmarks.slurm FOLDER [--workers 2] [--rows 6144]

Starts munged, slurmctld and slurmd of one node, with everything they write in FOLDER, and runs `pipeline run` with
`--scheduler cluster.toml`, whose workers are SLURM jobs. Once the first part of the scene is done, one of the jobs is
killed. Prints both SHA-256 and the states of the jobs as JSON.

Needs the packages `slurm-wlm` and `munge` of Debian, and `dask-jobqueue` of PyPI; run it as root.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmarks import random_model
from pipeline.demo import scene_grid
from pipeline.files.atomic import remove
from pipeline.io.raster import write_scene
from tests.support.ports import free_port

PATIENCE = 600
_CONF = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=batch Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
_CLUSTER = """
cluster = "dask_jobqueue:SLURMCluster"
workers = {workers}

[options]
queue = "batch"
cores = 1
processes = 1
memory = "2GB"
walltime = "01:00:00"
python = "{python}"
log_directory = "{folder}/jobs"
local_directory = "{folder}/jobs"
job_script_prologue = ["export PYTHONPATH={path}", "export OMP_NUM_THREADS=1"]
scheduler_options = {{host = "127.0.0.1", dashboard_address = "127.0.0.1:0"}}
"""


def main(folder: Path, workers: int, rows: int) -> None:
    """Compare both masks."""
    folder = folder.absolute()
    command = prepare(folder, rows)
    alone, many = folder / "alone.tif", folder / "slurm.tif"
    subprocess.run([*command, "--output", str(alone)], check=True, stdout=subprocess.DEVNULL)
    with slurm(folder / "slurm", workers) as env:
        spec = folder / "cluster.toml"
        path = os.pathsep.join(sys.path)
        spec.write_text(_CLUSTER.format(workers=workers, python=sys.executable, folder=folder / "slurm", path=path))
        began = time.monotonic()
        run = subprocess.Popen([*command, "--output", str(many), "--scheduler", str(spec)], env=env)
        wait_until(lambda: any(folder.glob("slurm.tif.partial/done/*")) or run.poll() is not None)
        killed = kill_a_job(env)
        code, took = run.wait(), time.monotonic() - began
        told = subprocess.run(
            ["scontrol", "--oneliner", "show", "jobs"], env=env, check=True, capture_output=True, text=True
        )
    states = [word.partition("=")[2] for word in told.stdout.split() if word.startswith("JobState=")]
    same = digest(alone) == digest(many)
    print(json.dumps({"exit code": code, "seconds": round(took, 1), "killed job": killed, "jobs": states, "same": same,
                      "alone": digest(alone), "slurm": digest(many)}, indent=1))  # fmt: skip


def prepare(folder: Path, rows: int) -> list[str]:
    """Make a scene and a model, and return the command without its output."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("alone.tif", "slurm.tif", "alone.tif.partial", "slurm.tif.partial"):
        remove(folder / name)
    values = np.random.default_rng(0).integers(0, 255, (3, rows, 256), np.uint8)
    write_scene(folder / "scene.tif", scene_grid((rows, 256)), iter([values]), 3, np.dtype(np.uint8))
    random_model.write(folder / "model", patch=64, overlap=16)
    words = [
        "run",
        "--input",
        folder / "scene.tif",
        "--model",
        folder / "model",
        "--no-prefect",
        "--overwrite",
        "--quiet",
    ]
    return [sys.executable, "-m", "pipeline.cli", *map(str, words)]


@contextmanager
def slurm(folder: Path, cpus: int) -> Iterator[dict[str, str]]:
    """Yield the environment of the commands of a cluster of one node, which ends with the block."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("munge", "state", "spool", "jobs"):
        (folder / name).mkdir(parents=True)
    conf, host = folder / "slurm.conf", socket.gethostname().partition(".")[0]
    ports = {"controller": free_port(), "node": free_port()}
    conf.write_text(_CONF.format(folder=folder, host=host, cpus=cpus, memory=2500 * cpus, **ports))
    env = {**os.environ, "SLURM_CONF": str(conf)}
    with ExitStack() as stack:
        for words in (
            munge(folder / "munge"),
            ["slurmctld", "-D", "-i", "-f", str(conf)],
            ["slurmd", "-D", "-f", str(conf)],
        ):
            stack.enter_context(daemon(words, env, folder / f"{words[0]}.out"))
        wait_until(lambda: b"idle" in subprocess.run(["sinfo", "-h"], env=env, capture_output=True, check=False).stdout)
        yield env
        subprocess.run(["scancel", "--user", "root"], env=env, check=False)


def munge(folder: Path) -> list[str]:
    """Make a key, and return the command of the daemon that signs with it."""
    key = folder / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    places = {
        "key": key,
        "socket": folder / "socket",
        "pid": folder / "pid",
        "log": folder / "log",
        "seed": folder / "seed",
    }
    options = {"socket": "--socket", **{name: f"--{name}-file" for name in ("key", "pid", "log", "seed")}}
    return ["munged", "--foreground", "--force", *(f"{options[name]}={path}" for name, path in places.items())]


@contextmanager
def daemon(words: list[str], env: dict[str, str], log: Path) -> Iterator[None]:
    """Run a program until the block ends."""
    with log.open("wb") as file:
        running = subprocess.Popen(words, env=env, stdout=file, stderr=file)
        try:
            yield
        finally:
            running.terminate()
            running.wait()


def kill_a_job(env: dict[str, str]) -> str:
    """Kill the first job that runs, as if its machine vanished."""
    asked = ["squeue", "--noheader", "--states=RUNNING", "--format=%i"]
    (first, *_) = subprocess.run(asked, env=env, check=True, capture_output=True, text=True).stdout.split() or ["none"]
    if first != "none":
        subprocess.run(["scancel", "--signal=KILL", "--full", first], env=env, check=True)
    return first


def wait_until(there: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not there():
        if time.monotonic() > end:
            raise SystemExit("it took too long; look into the logs in FOLDER/slurm")
        time.sleep(0.2)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return sha256(path.read_bytes()).hexdigest() if path.exists() else "none"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in {"workers": 2, "rows": 6144}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    main(**vars(parser.parse_args()))
