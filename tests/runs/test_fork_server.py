"""Worker processes are forked from a server that has imported what they need, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from multiprocessing import forkserver

import psutil
import pytest

from pipeline.jobs.job import Job, Resources
from pipeline.runs.cluster import map_distributed
from pipeline.runs.fork_server import METHOD, expect_workers

pytestmark = pytest.mark.skipif(METHOD != "forkserver", reason="processes are not forked here")

_SLEEPING = """
import sys, time
from pathlib import Path
from pipeline.runs.cluster import map_distributed
if __name__ == "__main__":
    tasks = {"a": 600.0, "b": 600.0}
    map_distributed(time.sleep, lambda _: tasks, workers=2, tick=lambda: print("tick", flush=True))
"""


def runs(pid: int) -> bool:
    """Whether there is such a process, and not only its exit code, which nobody asks for."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def found(name: str) -> object:
    """What a worker has when its first task begins."""
    torch = sys.modules.get("torch")
    return {
        "threads": torch and torch.get_num_threads(),
        "environment": os.environ.get(name),
        "blocked": signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []),
    }


def test_a_worker_begins_with_the_network_imported_on_one_thread_and_deaf_to_interrupts():
    forkserver._forkserver._stop()  # one that other tests have started
    before = dict(os.environ)
    (there,) = map_distributed(found, lambda _: {"found": "OMP_NUM_THREADS"}, workers=1, tick=lambda: None)
    assert there == {"threads": 1, "environment": before.get("OMP_NUM_THREADS", "1"), "blocked": True}
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize(
    ("resources", "output", "server"),
    [
        (Resources(workers=2), "new.tif", True),
        (Resources(workers=2), None, True),
        (Resources(workers=2), "old.tif", False),
        (Resources(workers=2, overwrite=True), "old.tif", True),
        (Resources(), "new.tif", False),
        (Resources(scheduler="tcp://localhost:1"), "new.tif", False),
    ],
)
def test_the_server_is_started_only_for_masks_that_workers_will_make(resources, output, server, tmp_path, monkeypatch):
    began: list[bool] = []
    monkeypatch.setattr("pipeline.runs.fork_server.start_fork_server", lambda: began.append(True))
    (tmp_path / "old.tif").touch()
    expect_workers([Job("in.tif", output and tmp_path / output)], resources)
    assert began == [True] * server


@pytest.mark.slow
def test_nothing_runs_on_after_the_command_was_killed(tmp_path):
    script = tmp_path / "sleeping.py"
    script.write_text(_SLEEPING)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, start_new_session=True) as command:
        assert command.stdout.readline() == b"tick\n"
        below = psutil.Process(command.pid).children(recursive=True)
        assert len(below) >= 4, "a server, what counts its semaphores, and two workers"
        command.kill()
    _, alive = psutil.wait_procs(below, timeout=20)
    assert alive == []


def test_the_environment_of_the_command_stays_as_it_was_and_the_server_ends_with_it():
    code = """
import os, psutil
os.environ["OMP_NUM_THREADS"] = "3"
before = dict(os.environ)
from pipeline.runs.fork_server import start_fork_server
start_fork_server()
(server,) = [one.pid for one in psutil.Process().children() if "forkserver" in one.cmdline()[-1]]
print(dict(os.environ) == before, server)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        same, server = command.stdout.readline().split()
        assert command.wait() == 0
        assert not runs(int(server))
    assert same == "True"
