"""One run at a time writes an output, whatever is deleted meanwhile and whoever crashes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest
from filelock import FileLock

from pipeline.errors import HeldError, OutputError
from pipeline.files.atomic import remove
from pipeline.files.process import Process, this_process
from pipeline.jobs.job import Job
from pipeline.runs import segment as segment_room
from pipeline.runs.lock import is_held, lock_of, output_lock
from pipeline.runs.segment import segment
from tests.support.inputs import contents, listing, pixels, put_scene
from tests.support.observers import Callbacks

HOLDS = """
import sys
from pathlib import Path
from time import sleep
from pipeline.runs.lock import output_lock
output = Path(sys.argv[1])
with output_lock(output.with_name(output.name + ".partial"), output):
    print("held", flush=True)
    sleep(60)
"""


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out/mask.tif"


def lock(output):
    return output_lock(output.with_name("mask.tif.partial"), output)


def test_what_is_held_stays_held_while_its_work_folder_is_deleted(output):
    work = output.with_name("mask.tif.partial")
    with lock(output):
        work.mkdir()
        remove(work)
        assert is_held(output)
        with pytest.raises(HeldError, match=rf"process {os.getpid()} on {socket.gethostname()} since"), lock(output):
            pass
        assert is_held(output), "who was refused lets nothing go"
    assert not is_held(output)
    assert listing(output.parent) == set()


def test_many_take_turns(output):
    inside, most = [], []

    def hold(_):
        while True:
            try:
                with lock(output):
                    inside.append(1)
                    most.append(len(inside))
                    sleep(0.001)
                    inside.pop()
                    return
            except HeldError:
                continue

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hold, range(40)))
    assert most == [1] * 40
    assert listing(output.parent) == set()


def test_a_crash_lets_go(output):
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, str(output)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(HeldError, match=f"process {holder.pid} on "), lock(output):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert lock_of(output).exists(), "as it was left"
    with lock(output):
        assert is_held(output)
    assert listing(output.parent) == set()


def test_a_run_of_an_earlier_version_is_respected(output):
    """It locks a file in its work folder."""
    work = output.with_name("mask.tif.partial")
    work.mkdir(parents=True)
    (work / "holder.json").write_text('{"process": 7, "machine": "other", "since": "2026-11-01T10:00:00+00:00"}')
    with (
        FileLock(work / "lock"),
        pytest.raises(HeldError, match=r"process 7 on other since 2026-11-01T10:00:00\+00:00"),
        lock(output),
    ):
        pass
    with lock(output):
        assert is_held(output)


@pytest.mark.parametrize("told", ["", "[1, 2]", '{"process": 1}', "\0"])
def test_a_lock_that_tells_nothing_names_another_run(output, told):
    with lock(output):
        lock_of(output).write_text(told)
        with pytest.raises(HeldError, match="is being written by another run; wait for it"), lock(output):
            pass


def test_a_folder_that_takes_no_files_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match=r"out.*cannot be created"), lock(tmp_path / "out/mask.tif"):
        pass


@pytest.fixture
def job(models, tmp_path):
    scene = put_scene(tmp_path / "scene.tif", pixels((2, 60, 50)))
    return Job(str(scene), tmp_path / "out/mask.tif", str(models / "scene"))


def test_what_another_run_ended_meanwhile_is_not_made_again(job, monkeypatch):
    """This run looked before the other was done, and held the lock after it."""
    reports, look = [], segment_room.is_done_already

    def late(*words):
        found = look(*words)
        if not reports:
            reports.append(None)
            reports[0] = segment(job)
        return found

    monkeypatch.setattr(segment_room, "is_done_already", late)
    assert segment(job).status == "skipped"
    assert reports[0].status == "done"
    assert listing(job.output.parent) == {"mask.tif", "mask.tif.aux.xml"}


def test_a_run_that_is_going_on_refuses_another_and_leaves_nothing(job):
    refused = []

    def begun(*_):
        with pytest.raises(HeldError, match="is being written by process"):
            segment(job)
        refused.append(1)

    segment(job, observer=Callbacks(advanced=begun))
    assert refused
    before = contents(job.output)
    assert segment(job).status == "skipped"
    assert contents(job.output) == before
    assert listing(job.output.parent) == {"mask.tif", "mask.tif.aux.xml"}


def test_a_lock_that_a_crash_left_beside_a_finished_mask_is_removed(job):
    segment(job)
    lock_of(job.output).write_text("left")
    assert segment(job).status == "skipped"
    assert not lock_of(job.output).exists()


def test_a_process_is_known_by_its_number_machine_and_start():
    ours = this_process()
    assert not ours.has_ended
    assert Process(ours.number, ours.machine, ours.started - 100).has_ended, "another process had the number"
    assert not Process(ours.number, "another machine", 0).has_ended, "nobody here knows"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert Process(ended.pid, ours.machine, ours.started).has_ended
    assert str(Process(7, "node3", 0)) == "process 7 on node3"
