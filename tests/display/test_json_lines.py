"""Progress for another program: every line on stderr is a JSON object."""

from __future__ import annotations

import json
import time

from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.cli.screen import Screen
from pipeline.display.board import Board
from pipeline.display.json_lines import state_record
from pipeline.jobs.job import Job
from pipeline.runs.report import Report


def run(*words, verb="run"):
    ended = CliRunner().invoke(app, [verb, *map(str, words), "--progress", "json"])
    assert ended.exit_code == 0, ended.output
    return ended


def records(printed):
    return [json.loads(line) for line in printed.splitlines()]


def test_a_state_has_the_run_and_each_item_in_flight():
    now = 0.0
    board = Board(lambda: now, lambda: 3 << 30)
    item = board.item("scène 1.tif", 1, 4)
    item.phase("segmenting")
    item.started(1000, 250)
    now = 10.0
    item.advanced(500)
    assert state_record(board.state()) == {
        "event": "progress",
        "count": 4,
        "ended": 0,
        "failed": 0,
        "share": 0.75 / 4,
        "cells_per_second": 50.0,
        "seconds_left": board.state().seconds_left,
        "memory_bytes": 3 << 30,
        "items": [
            {
                "name": "scène 1.tif",
                "number": 1,
                "phase": "segmenting",
                "share": 0.75,
                "cells_per_second": 50.0,
                "seconds": 10.0,
                "seconds_left": 5.0,
            }
        ],
    }


def test_states_come_every_so_often_and_messages_between(capsys):
    with Screen(quiet=False, stop_on_signals=False, as_json=True, every=0.02) as screen:
        job = Job("a\nb é.tif")
        line = screen.item(job, 1, 2)
        line.started(1000, 0)
        line.note("a [word]\nof two lines")
        time.sleep(0.1)
        screen.finished(Report(job.name, None, "failed", "broken", 0.0, 0))
    out, err = capsys.readouterr()
    found = records(err)
    states = [record for record in found if record["event"] == "progress"]
    assert out == ""
    assert [record["text"] for record in found if record["event"] == "message"] == [
        "1/2 a\nb é.tif: a [word]\nof two lines",
        "failed: broken",
    ]
    assert len(states) >= 2
    assert states[0]["items"][0]["name"] == "a\nb é.tif"
    assert found[-1]["event"] == "progress", "the last line is the state at the end"
    assert (found[-1]["ended"], found[-1]["failed"], found[-1]["items"]) == (1, 1, [])


def test_a_run_prints_them_beside_its_document(scene, models, tmp_path):
    ended = run("-i", scene, "-o", tmp_path / "mask.tif", "-m", models / "scene", "--json")
    assert json.loads(ended.stdout)["items"][0]["status"] == "done"
    assert records(ended.stderr)[-1]["share"] == 1.0


def test_an_evaluation_prints_them_too(mask):
    ended = run(mask, "--truth", mask, "--json", "--bootstrap", 0, verb="evaluate")
    assert json.loads(ended.stdout)["overall"]["figures"]["accuracy"]["value"] == 1.0
    assert records(ended.stderr)[-1]["event"] == "progress"


def test_quiet_is_quiet(scene, models, tmp_path):
    assert run("-i", scene, "-o", tmp_path / "mask.tif", "-m", models / "scene", "--quiet").stderr == ""
