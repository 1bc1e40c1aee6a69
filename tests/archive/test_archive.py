"""Archives: what is done is left alone, what changed is made anew, what failed is named; the ledger knows it all."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from typer.testing import CliRunner

from pipeline.archive import archive as choice_room
from pipeline.archive.archive import Archive, open_archive
from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger, Entry
from pipeline.archive.run import error_code, segment_all
from pipeline.archive.status import status_of
from pipeline.cli import app
from pipeline.errors import InputError, Interrupted, ModelError, OutputError, RequestError
from pipeline.io.opening import content_of, stamp_of
from pipeline.jobs.inputs import jobs_of
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.outputs import folder_of
from pipeline.jobs.request import Request
from pipeline.runs.lock import output_lock
from pipeline.runs.observer import Observer, RunContext
from tests.support.inputs import contents, listing, pixels, put_scene
from tests.support.observers import Callbacks
from tests.support.processes import start_pipeline

pytestmark = pytest.mark.slow

ITEMS = 5


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Scenes, one of which is none."""
    folder = tmp_path_factory.mktemp("scenes")
    for number in range(ITEMS):
        put_scene(folder / f"s{number}.tif", pixels((2, 60, 50), number))
    (folder / "s3.tif").write_bytes(b"II*\0 no scene")
    return folder


@pytest.fixture
def folder(original, tmp_path):
    shutil.copytree(original, tmp_path / "in")
    return tmp_path


@pytest.fixture
def run(folder, models):
    """The command line over all scenes; what it tells of each, by name."""

    def call(*more, code=1):
        words = ["run", "--input", folder / "in", "--output", f"{folder / 'out'}/", "--model", models / "scene"]
        ended = CliRunner().invoke(app, [*map(str, (*words, *more)), "--json", "--no-prefect"])
        assert ended.exit_code == code, ended.output
        told = json.loads(ended.stdout)["items"] if ended.stdout else ended.stderr
        return {item["input"].rpartition("/")[2][:2]: item for item in told} if ended.stdout else told

    return call


def statuses(items):
    return {name: item["status"] for name, item in items.items()}


DONE = {f"s{number}": "failed" if number == 3 else "done" for number in range(ITEMS)}
KEPT = {name: "failed" if status == "failed" else "skipped" for name, status in DONE.items()}


def states(folder):
    ledger = ArchiveLedger(folder / "out" / LEDGER_NAME)
    try:
        return {row.input.rpartition("/")[2][:2]: (row.state, row.code, row.tries) for row in ledger.rows().values()}
    finally:
        ledger.close()


def test_a_second_run_leaves_alone_what_is_done_and_what_is_broken(run, folder):
    assert statuses(run()) == DONE
    assert states(folder)["s0"] == ("done", None, 1)
    assert states(folder)["s3"] == ("quarantined", "unreadable", 1)
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("*.tif")}
    again = run()
    assert statuses(again) == KEPT
    assert again["s0"]["cells"] == 60 * 50
    assert "quarantined: not retried until the input changes" in again["s3"]["reason"]
    assert before == {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("*.tif")}
    assert states(folder)["s3"] == ("quarantined", "unreadable", 1), "not tried again"
    assert listing(folder / "out") - {f"s{n}_mask.tif{more}" for n in range(ITEMS) for more in ("", ".aux.xml")} == {
        LEDGER_NAME,
        "archive.json",
    }


def test_a_file_that_was_missing_is_taken_up_when_it_comes(run, folder):
    """As content of git-annex is, whose links are there before it."""
    (folder / "in" / "s2.tif").rename(folder / "away.tif")
    (folder / "in" / "s2.tif").symlink_to(folder / "away" / "s2.tif")
    first = run()
    assert first["s2"]["code"] == "unreadable"
    assert "is a link to" in first["s2"]["reason"]
    assert "quarantined: not retried" in run()["s2"]["reason"]
    (folder / "away").mkdir()
    (folder / "away.tif").rename(folder / "away" / "s2.tif")
    assert statuses(run()) == {**KEPT, "s2": "done"}


def test_what_changed_is_made_anew_and_nothing_else(run, folder, models):
    run()
    put_scene(folder / "in/s1.tif", pixels((2, 60, 50), 77))
    os.utime(folder / "in/s2.tif", ns=(10**18, 10**18))
    (folder / "in/s3.tif").unlink()
    put_scene(folder / "in/s3.tif", pixels((2, 60, 50), 3))
    (folder / "out/s4_mask.tif").unlink()
    put_scene(folder / "in/s5.tif", pixels((2, 60, 50), 5))
    assert statuses(run(code=0)) == {
        **dict.fromkeys(("s1", "s3", "s4", "s5"), "done"),
        "s0": "skipped",
        "s2": "skipped",
    }
    assert statuses(run(code=0)) == {f"s{number}": "skipped" for number in range(6)}
    segment_all([Job(str(folder / "in/s1.tif"), folder / "s1_mask.tif", str(models / "scene"))], RunContext())
    assert contents(folder / "out/s1_mask.tif") == contents(folder / "s1_mask.tif")


def test_what_another_run_is_making_is_left_to_it(run, folder):
    with output_lock(folder / "out/s1_mask.tif.partial", folder / "out/s1_mask.tif"):
        told = run("--wait", "1")
        assert statuses(told) == {**DONE, "s1": "skipped"}
        assert f"is being written by process {os.getpid()} on " in told["s1"]["reason"]
    assert statuses(run()) == {**KEPT, "s1": "done"}


def test_several_runs_share_an_archive(folder, models):
    """Each takes what no other is making, and together they make all of it, each once."""
    words = ["run", "--input", folder / "in", "--output", f"{folder / 'out'}/", "--model", models / "scene", "--json"]
    logs = [folder / f"{number}.log" for number in range(2)]
    for run in [start_pipeline(*words, "--no-prefect", out=log, err=folder / "err.log") for log in logs]:
        run.join()
    told = [json.loads(log.read_text())["items"] for log in logs]
    made = Counter(item["input"][-6:-4] for items in told for item in items if item["status"] == "done")
    assert made == {name: 1 for name, status in DONE.items() if status == "done"}
    assert states(folder)["s0"][:2] == ("done", None)


def test_an_input_that_was_broken_for_a_while_gets_its_mask_replaced(run, folder):
    run()
    (folder / "in/s0.tif").write_bytes(b"II*\0 broken")
    assert statuses(run())["s0"] == "failed"
    (folder / "in/s0.tif").unlink()
    put_scene(folder / "in/s0.tif", pixels((2, 60, 50), 99))
    assert statuses(run())["s0"] == "done"
    assert statuses(run())["s0"] == "skipped"


def test_masks_that_were_made_otherwise_are_refused_before_anything_is_done(run, folder):
    run()
    before = states(folder)
    said = run("--window", "hann", code=2)
    assert "archive.sqlite: 4 of 5 items already exist, made with window None (now 'hann'); use --overwrite" in said
    assert states(folder) == before
    assert statuses(run("--window", "hann", "--overwrite")) == DONE
    assert statuses(run("--window", "hann")) == KEPT


def test_a_stopped_archive_goes_on(folder, models):
    jobs = [Job(str(folder / f"in/s{n}.tif"), folder / f"out/s{n}.tif", str(models / "scene")) for n in (0, 1, 2)]
    stop = Event()

    class Stopping(Callbacks):
        def item(self, job, number, count):
            if number == 2:
                stop.set()
            return self

    with pytest.raises(Interrupted), open_archive(folder / "out" / LEDGER_NAME) as archive:
        segment_all(jobs, RunContext(observer=Stopping(stop)), archive)
    assert [states(folder)[name][0] for name in ("s0", "s1", "s2")] == ["done", "pending", "pending"]
    ledger = ArchiveLedger(folder / "out" / LEDGER_NAME)
    (row,) = (row for row in ledger.rows().values() if "s1" in row.input)
    ledger.enter([Entry(row.input, row.output, "running")])  # as a process that is killed leaves it
    reports = segment_all(jobs, RunContext(), Archive(ledger))
    assert [report.status for report in reports] == ["skipped", "done", "done"]
    ledger.close()


def test_a_mask_of_an_older_input_is_replaced_even_after_a_crash(folder, models):
    scene, ledger = folder / "in/s0.tif", ArchiveLedger(folder / "ledger.sqlite")
    jobs = [Job(str(scene), folder / "out/s0.tif", str(models / "scene"))]
    segment_all(jobs, RunContext(), Archive(ledger))
    put_scene(scene, pixels((2, 1100, 50), 9))
    stop = Event()

    with pytest.raises(Interrupted):
        segment_all(jobs, RunContext(observer=Callbacks(stop, advanced=lambda _: stop.set())), Archive(ledger))
    assert [row.state for row in ledger.rows().values()] == ["pending"]
    assert (folder / "out/s0.tif.partial").exists()
    os.utime(scene, ns=(10**18, 10**18))  # and what was begun is of an older input again
    (report,) = segment_all(jobs, RunContext(), Archive(ledger))
    assert report.status == "done"
    ledger.close()


def test_items_that_are_known_as_done_are_not_even_opened(tmp_path, models):
    """None of these could be read."""
    ledger, jobs = ArchiveLedger(tmp_path / LEDGER_NAME), []
    for number in range(200):
        scene, mask = tmp_path / f"{number}.tif", tmp_path / f"{number}_mask.tif"
        scene.write_bytes(b"x")
        mask.write_bytes(b"y")
        jobs.append(Job(str(scene), mask, str(models / "scene")))
    archive = Archive(ledger)
    choices = archive.choose(jobs, Resources())
    assert [choice.report for choice in choices] == [None] * 200
    recipe = archive._recipe(jobs[0])
    made = [
        (str(job.output), "done", None, None, stamp_of(job.input), None, recipe, "scene", False, 9, 1.0) for job in jobs
    ]
    ledger.enter([Entry(job.input, *row) for job, row in zip(jobs, made, strict=True)])
    assert {report.status for report in segment_all(jobs, RunContext(), archive)} == {"skipped"}
    ledger.close()


def test_the_next_input_is_read_while_this_one_is_computed(folder, models, monkeypatch):
    jobs = [Job(str(folder / f"in/s{n}.tif"), folder / f"out/s{n}.tif", str(models / "scene")) for n in (0, 1, 2)]
    began = {job.input: Event() for job in jobs}
    monkeypatch.setattr(choice_room, "content_of", lambda item: began[str(item)].set() or content_of(item))

    class Waiting(Observer):
        def item(self, job, number, count):
            assert number == count or began[jobs[number].input].wait(10)
            return self

    with open_archive(folder / "out" / LEDGER_NAME) as archive:
        reports = segment_all(jobs, RunContext(observer=Waiting()), archive)
    assert [report.status for report in reports] == ["done"] * 3
    ledger = ArchiveLedger(folder / "out" / LEDGER_NAME)
    assert [row.content for row in ledger.rows().values()] == [content_of(job.input) for job in jobs]
    ledger.close()


def test_status_counts_and_retry_selects_by_reason(run, folder):
    put_scene(folder / "in/s2.tif", pixels((1, 60, 50), 2))
    run()
    ended = CliRunner().invoke(app, ["status", str(folder / "out"), "--json"])
    told = json.loads(ended.stdout)
    assert told["states"] == {"pending": 0, "running": 0, "done": 3, "failed": 0, "quarantined": 2, "stale": 0}
    assert [(reason["code"], reason["items"]) for reason in told["reasons"]] == [("unreadable", 1), ("unsuitable", 1)]
    assert "has 1 channel, but the model" in told["reasons"][1]["example"]
    assert told["megapixels"] == pytest.approx(3 * 60 * 50 / 1e6)
    assert told["items_per_hour"] == pytest.approx(3 * 3600 / told["seconds"])
    assert told["seconds_left"] == 0
    shown = CliRunner().invoke(app, ["status", str(folder / "out")]).stdout
    assert "quarantined" in shown
    assert "Mpx/s" in shown
    kept = json.loads((folder / "out/archive.json").read_text())
    assert [row["input"].rpartition("/")[2] for row in kept["failed"]] == ["s2.tif", "s3.tif"]
    assert {key: kept[key] for key in told} == told
    ended = CliRunner().invoke(app, ["retry", str(folder / "out"), "--reason", "unsuitable", "--json"])
    assert json.loads(ended.stdout)["pending"] == 1
    assert states(folder)["s2"][0] == "pending"
    run()
    assert states(folder)["s2"] == ("quarantined", "unsuitable", 2)
    assert states(folder)["s3"] == ("quarantined", "unreadable", 1)
    assert "pending: 2 of " in CliRunner().invoke(app, ["retry", str(folder / "out")]).stdout


def test_many_may_write_into_one_ledger(tmp_path):
    def enter(number):
        ledger = ArchiveLedger(tmp_path / LEDGER_NAME)
        for item in range(20):
            ledger.enter([Entry(f"{number} {item}", None, "running"), Entry(f"{number} {item}", None, "done")])
        ledger.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(enter, range(8)))
    ledger = ArchiveLedger(tmp_path / LEDGER_NAME)
    assert {(row.state, row.tries) for row in ledger.rows().values()} == {("done", 1)}
    assert len(ledger.rows()) == 160
    ledger.close()


def test_what_is_no_ledger_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / LEDGER_NAME).write_bytes(b"something else, and long enough to be taken for a file of SQLite" * 20)
    with pytest.raises(OutputError, match="cannot be used as a ledger"):
        ArchiveLedger(tmp_path / LEDGER_NAME)
    assert (tmp_path / LEDGER_NAME).read_bytes().startswith(b"something else")
    with pytest.raises(RequestError, match="no ledger here"):
        ArchiveLedger(tmp_path / "none.sqlite", create=False)
    newer = ArchiveLedger(tmp_path / "newer.sqlite")
    newer.close()
    base = sqlite3.connect(tmp_path / "newer.sqlite")
    base.execute("UPDATE kept SET value = '99' WHERE name = 'format'")
    base.commit()
    base.close()
    with pytest.raises(RequestError, match="is a ledger of format 99, but this version reads up to 2"):
        ArchiveLedger(tmp_path / "newer.sqlite")


@pytest.mark.parametrize(
    ("inputs", "output", "expected"),
    [
        (("in",), "out/", "out"),
        (("in/p/a.tif", "in/q/b.tif"), "out", "out"),
        (("in",), None, "in"),
        (("in/*/*.tif",), None, "in"),
        (("in/p/a.tif", "in/q/b.tif"), None, "in"),
        (("in/p/a.tif", "in/p"), None, "in/p"),
    ],
)
def test_a_ledger_lies_with_the_masks(tmp_path, monkeypatch, inputs, output, expected):
    monkeypatch.chdir(tmp_path)
    for name in ("in/p/a.tif", "in/q/b.tif"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    request = Request(input=inputs, output=output)
    assert folder_of(request, jobs_of(request)).absolute() == tmp_path / expected


def test_the_content_of_a_store_is_that_of_its_files_and_their_names(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"1")
    assert content_of(str(tmp_path / "a")) == content_of(str(tmp_path / "b"))
    (tmp_path / "b/x").rename(tmp_path / "b/y")
    assert content_of(str(tmp_path / "a")) != content_of(str(tmp_path / "b"))
    assert content_of(str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), "unreadable"),
        (InputError("x", "unsuitable"), "unsuitable"),
        (ModelError("x"), "model"),
        (RequestError("x"), "request"),
        (OutputError("x"), "output"),
        (MemoryError(), "memory"),
        (PermissionError("x"), "system"),
        (ZeroDivisionError(), "error"),
    ],
)
def test_each_error_has_a_code(error, code):
    assert error_code(error) == code


def test_an_empty_ledger_tells_nothing_of_speed(tmp_path):
    ledger = ArchiveLedger(tmp_path / LEDGER_NAME)
    assert status_of(ledger).seconds_left is None
    ledger.close()
    assert "nothing is done yet" in CliRunner().invoke(app, ["status", str(tmp_path)]).stdout
