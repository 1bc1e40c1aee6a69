"""Several runs work on one archive: each item is made once, and what is missing in the end is told."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.archive import database, tables
from pipeline.archive.holder import Holder
from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger, Entry
from pipeline.archive.recipe import key_of, recipe_of
from pipeline.archive.status import status_of
from pipeline.cli import app
from pipeline.errors import Interrupted, OutputError
from pipeline.files.process import this_process
from pipeline.runs.lock import output_lock
from tests.support.archives import ITEMS, Folder, statuses
from tests.support.inputs import pixels, put_scene
from tests.support.observers import Callbacks


@pytest.fixture
def folder(tmp_path, models):
    return Folder(tmp_path, models / "scene")


def finish_elsewhere(folder, number):
    """As another run does."""
    ledger, job = ArchiveLedger(folder.root / "out" / LEDGER_NAME), folder.jobs[number]
    job.output.write_bytes(b"theirs")
    ledger.settle(Entry(key_of(job), str(job.output), "done", recipe=ledger.recipe(recipe_of(job))))
    ledger.close()


@settings(max_examples=10, deadline=None)
@given(during=st.integers(0, ITEMS - 1), fails=st.sets(st.integers(0, ITEMS - 1)))
def test_a_run_in_the_midst_of_another_makes_what_is_left(models, during, fails):
    with tempfile.TemporaryDirectory() as root:
        folder = Folder(Path(root), models / "scene")
        folder.fails = fails
        inner = []
        outer = folder.run(during=lambda at: inner.extend(folder.run()) if at == during and not inner else None)
        assert folder.made == Counter({at: 1 for at in range(ITEMS) if at not in fails})
        assert folder.states() == {at: "quarantined" if at in fails else "done" for at in range(ITEMS)}
        assert [report.missing for report in outer] == [at in fails for at in range(ITEMS)]
        assert [report.missing for report in inner] == [at in fails or at == during for at in range(ITEMS)]
        assert inner[during].status == "skipped"
        assert inner[during].code == "held"
        assert f"is being made by another run, process {os.getpid()} on " in inner[during].reason


def test_what_failed_here_and_was_finished_elsewhere_is_done(folder):
    folder.fails = {1}
    reports = folder.run(during=lambda at: finish_elsewhere(folder, 1) if at == 1 else None)
    assert folder.states()[1] == "done"
    assert statuses(reports) == ["done", "skipped", "done", "done"]
    assert not any(report.missing for report in reports)


def test_the_items_of_a_new_run_do_not_become_pending_again(folder):
    archive = folder.archive()
    folder.run()
    archive._ledger.add([Entry(key_of(job), None, "pending") for job in folder.jobs])
    assert set(folder.states().values()) == {"done"}
    archive.close()


@contextmanager
def held(folder, number, process=None):
    """As if another run were making an item."""
    ledger, job = ArchiveLedger(folder.root / "out" / LEDGER_NAME), folder.jobs[number]
    holder = Holder(process or this_process(), "another")
    ledger.enter([Entry(key_of(job), str(job.output), "running", holder=str(holder))])
    ledger.close()
    yield holder


def ended_process():
    return replace(this_process(), started=this_process().started - 1000)


def test_an_item_of_a_run_that_has_died_is_taken_over(folder):
    with held(folder, 2, ended_process()):
        assert statuses(folder.run()) == ["done"] * ITEMS


def test_an_item_is_waited_for_until_its_run_ends(folder):
    notes = []
    with held(folder, 2):
        Timer(0.5, finish_elsewhere, (folder, 2)).start()
        reports = folder.run(
            folder.archive(wait=30), observer=Callbacks(remark=lambda report: notes.append(report.reason))
        )
    assert statuses(reports) == ["done", "done", "skipped", "done"]
    assert not any(report.missing for report in reports)
    assert folder.made[2] == 0
    assert "waiting for 1 item of other runs" in notes[0]


def test_an_item_is_made_once_the_run_that_held_its_output_has_died(folder):
    """That of a single run, which the ledger knows nothing of."""
    held = output_lock(folder.root / "work", folder.jobs[2].output)
    held.__enter__()
    Timer(0.5, lambda: held.__exit__(None, None, None)).start()
    assert statuses(folder.run(folder.archive(wait=30))) == ["done"] * ITEMS


def test_what_is_held_to_the_end_is_missing_and_pending(folder):
    with output_lock(folder.root / "work", folder.jobs[2].output):
        reports = folder.run(folder.archive(wait=0.3))
    assert [report.missing for report in reports] == [False, False, True, False]
    assert "is being written by process" in reports[2].reason
    assert folder.states()[2] == "pending"


def test_a_wait_can_be_stopped(folder):
    observer = Callbacks(remark=lambda _: observer._stop.set())
    with held(folder, 2), pytest.raises(Interrupted):
        folder.run(folder.archive(wait=60), observer=observer)
    assert [at for at, state in folder.states().items() if state == "done"] == [0, 1, 3]


def test_an_error_that_ends_the_run_leaves_no_item_running(folder):
    def fail(at):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        folder.run(during=fail)
    assert set(folder.states().values()) == {"pending"}


def test_status_sees_that_a_run_has_died(folder):
    with held(folder, 1), held(folder, 2, ended_process()):
        ledger = ArchiveLedger(folder.root / "out" / LEDGER_NAME)
        told = status_of(ledger)
        ledger.close()
    assert (told.states["running"], told.states["pending"]) == (1, 1)
    assert [(reason.code, reason.state, reason.items) for reason in told.reasons] == [("interrupted", "pending", 1)]
    assert "s2.tif: process" in told.reasons[0].example
    assert "ended before it was done; run the same command again" in told.reasons[0].example


@pytest.mark.slow
def test_the_exit_code_tells_that_an_item_is_missing(tmp_path, models):
    (tmp_path / "in").mkdir()
    for number in range(2):
        put_scene(tmp_path / f"in/s{number}.tif", pixels((2, 60, 50), number))
    words = ["run", "--input", tmp_path / "in", "--output", f"{tmp_path}/out/", "--model", models / "scene"]
    words = [*map(str, words), "--json", "--no-prefect", "--wait", "0"]
    output = tmp_path / "out/s1_mask.tif"
    with output_lock(tmp_path / "out/s1_mask.tif.partial", output):
        ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 1
    assert [(item["status"], item["code"]) for item in json.loads(ended.stdout)["items"]] == [
        ("done", None),
        ("skipped", "held"),
    ]
    assert CliRunner().invoke(app, words).exit_code == 0


LOCKS = """
import sqlite3, sys, time
base = sqlite3.connect(sys.argv[1], isolation_level=None)
base.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""


@contextmanager
def locked(path, seconds):
    """Another process that holds a ledger for a while."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOCKS, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_a_locked_ledger_is_waited_for(tmp_path, monkeypatch, capsys):
    path = tmp_path / LEDGER_NAME
    ArchiveLedger(path).close()
    monkeypatch.setattr(database, "_NOTICE", 0.0)
    monkeypatch.setattr(database, "_TURN", 0.05)
    with locked(path, 0.5) as other:
        ledger = ArchiveLedger(path)
        ledger.enter([Entry("a", None, "done")])
        assert list(ledger.rows()) == ["a"]
        ledger.close()
    assert f"{path}: is locked by process {other.pid} on " in capsys.readouterr().err


def test_a_ledger_that_stays_locked_is_named_and_not_to_be_moved(tmp_path, monkeypatch):
    path = tmp_path / LEDGER_NAME
    open_before = ArchiveLedger(path)
    monkeypatch.setattr(database, "_WAIT", 0.1)
    monkeypatch.setattr(database, "_TURN", 0.05)
    with locked(path, 60) as other:
        words = rf"the ledger is locked by process {other.pid} on .*; wait for it or stop it"
        with pytest.raises(OutputError, match=words) as refused:
            ArchiveLedger(path)
        assert "move" not in str(refused.value)
        with pytest.raises(OutputError, match=words):
            open_before.rows()
    open_before.close()


def test_a_full_disk_is_told_as_that(tmp_path):
    ledger = ArchiveLedger(tmp_path / LEDGER_NAME)
    (pages,) = ledger._base.query("PRAGMA page_count")[0]
    ledger._base.query(f"PRAGMA max_page_count = {pages}")
    many = [Entry(f"{number:0500}", None, "pending") for number in range(100)]
    with pytest.raises(OutputError, match=r"archive\.sqlite: .* its disk is full; free some space"):
        ledger.enter(many)
    assert ledger.rows() == {}, "all or none"
    ledger.close()


def test_a_folder_in_which_no_ledger_may_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="the ledger cannot be written"):
        ArchiveLedger(tmp_path / "file" / LEDGER_NAME)


def test_a_damaged_ledger_is_told_as_that(tmp_path):
    path = tmp_path / LEDGER_NAME
    ledger = ArchiveLedger(path)
    ledger.enter([Entry(f"{number:0500}", None, "pending") for number in range(100)])
    ledger.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(OutputError, match="cannot be used as a ledger"):
        ArchiveLedger(path).rows()


def test_a_ledger_of_version_1_is_extended(tmp_path):
    path = tmp_path / LEDGER_NAME
    base = sqlite3.connect(path)
    base.executescript(tables.ITEMS)
    base.execute("INSERT INTO kept VALUES ('format', '1')")
    base.execute("INSERT INTO items (input, state, tries) VALUES ('a', 'done', 3)")
    base.execute("INSERT INTO items (input, state) VALUES ('b', 'running')")
    base.commit()
    base.close()
    for _ in range(2):
        ledger = ArchiveLedger(path)
        assert [(row.state, row.tries, row.holder) for row in ledger.rows().values()] == [
            ("done", 3, None),
            ("running", 0, None),
        ]
        assert ledger.outputs() == {}
        ledger.close()
    base = sqlite3.connect(path)
    assert base.execute("SELECT value FROM kept WHERE name = 'format'").fetchall() == [("2",)]
    base.close()
