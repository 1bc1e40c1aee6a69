"""One run holds an object; who dies is followed, who is followed stops."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from pipeline.errors import HeldError
from pipeline.io.objects import ObjectLock, check_lock, is_locked
from pipeline.io.objects import lock as room
from tests.support.stores import on_each

pytestmark = on_each


@pytest.fixture
def output(store):
    return store.place / "masks" / "a.tif"


@pytest.fixture
def as_elsewhere(store, monkeypatch):
    """Has the store say that the holder is on another machine."""

    def change(**told):
        (key,) = (key for key in store.all() if key.endswith(".lock"))
        there = {**json.loads(store.all()[key]), "machine": "far", "kernel": "other"}
        store.put(key, json.dumps(there | told).encode())

    return change


def test_a_second_run_learns_who_holds_it(output):
    held = ObjectLock(output.begun())
    assert is_locked(output)
    with pytest.raises(HeldError, match=r"masks/a\.tif: is being written by process \d+ on \S+ since .* sign of life"):
        ObjectLock(output.begun())
    held.release()
    assert not is_locked(output)
    ObjectLock(output.begun()).release()


def test_nothing_stays_of_it(store, output):
    ObjectLock(output.begun()).release()
    assert store.all() == {}


def test_that_of_a_process_which_was_killed_is_taken_over_at_once(store, output):
    code = f"""
import os
from pipeline.files.object_path import ObjectPath
from pipeline.io.objects import ObjectLock
ObjectLock(ObjectPath.parse("{output}").begun())
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert [*store.all()] == ["masks/.a.tif.lock"]
    assert not is_locked(output)
    ObjectLock(output.begun()).release()


def test_that_of_a_silent_holder_elsewhere_is_taken_over_and_the_holder_stops(store, output, as_elsewhere, monkeypatch):
    first = ObjectLock(output.begun())
    as_elsewhere()
    with pytest.raises(HeldError, match="on far since"):
        ObjectLock(output.begun())
    monkeypatch.setattr(room, "PATIENCE", -1.0)
    second = ObjectLock(output.begun())
    with pytest.raises(HeldError, match=r"a\.tif: this run lost its lock \(it was taken over by process"):
        first.confirm()
    with pytest.raises(HeldError):
        first.check()
    first.release()
    second.confirm()
    second.release()
    assert store.all() == {}


def test_a_lock_that_was_removed_stops_its_holder(store, output):
    held = ObjectLock(output.begun())
    store.delete("masks/.a.tif.lock")
    with pytest.raises(HeldError, match="it was removed"):
        held.confirm()
    held.release()


def test_a_holder_gives_signs_of_life_and_notices_by_itself(store, output, as_elsewhere, monkeypatch):
    monkeypatch.setattr(room, "BEAT", 0.05)
    held, tags = ObjectLock(output.begun()), set()
    while len(tags) < 3:
        tags.add(held._edition)
        time.sleep(0.02)
    as_elsewhere(run="other")
    end = time.monotonic() + 20
    while held._lost is None and time.monotonic() < end:
        time.sleep(0.02)
    with pytest.raises(HeldError, match="taken over"):
        held.check()
    held.release()
    assert store.all(), "it is the other's"


def test_an_answer_that_is_lost_makes_nobody_lose_the_lock(store, output):
    """Tried again, the request is refused, since its first try had been carried out."""
    store.proxy.inject(lambda request: "late" if request.number == 0 else None)
    held = ObjectLock(output.begun())
    store.proxy.inject(lambda request: "late" if request.number == 0 else None)
    held.confirm()
    held.confirm()
    held.release()
    assert store.all() == {}


def test_workers_write_only_while_their_run_holds_it(output):
    mine = output.begun()
    held = ObjectLock(mine)
    check_lock(mine.apart())
    with pytest.raises(HeldError, match="the run of this worker has ended or lost its lock to process"):
        check_lock(output.begun().apart())
    held.release()
    with pytest.raises(HeldError, match="to nobody"):
        check_lock(mine.apart())


def test_a_lock_that_says_something_else_is_taken_over_once_it_is_old(store, output, monkeypatch):
    store.put("masks/.a.tif.lock", b"something else")
    with pytest.raises(HeldError, match="by another run"):
        ObjectLock(output.begun())
    monkeypatch.setattr(room, "PATIENCE", -1.0)
    ObjectLock(output.begun()).release()
