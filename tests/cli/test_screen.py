"""Progress where there is no terminal."""

from __future__ import annotations

import re
import time

from pipeline.cli.screen import Screen
from pipeline.jobs.job import Job
from pipeline.runs.report import Report
from tests.support.output import without_progress


def follow(*, quiet: bool) -> None:
    with Screen(quiet=quiet, stop_on_signals=False, every=0.02) as screen:
        line = screen.item(Job("scene.tif"), 1, 2)
        time.sleep(0.1)
        line.started(1000, 0)
        line.advanced(250)
        line.phase("sweep")
        time.sleep(0.1)


def test_a_line_tells_how_far_it_is_every_so_often(capsys):
    follow(quiet=False)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert any(re.fullmatch(r"1/2 scene\.tif: preparing: \d+ s", line) for line in lines), "before its size is known"
    assert any(line.startswith("1/2 scene.tif: sweep: 25%") for line in lines)
    assert any(re.match(r"0/2 items: \d+%, 0 failed, .*memory [\d.]+ .iB$", line) for line in lines)
    assert not re.search(r"[^\x20-\x7e\n]", err), "no bars and no control codes"
    assert without_progress(err) == ""
    assert len(lines) > 4
    time.sleep(0.06)
    assert capsys.readouterr().err == "", "and none after the end"


def test_the_only_item_has_one_line(capsys):
    with Screen(quiet=False, stop_on_signals=False, every=0.02) as screen:
        screen.item(Job("scene.tif"), 1, 1).started(1000, 250)
        time.sleep(0.1)
    line, *_ = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"scene\.tif: 25%, \d+ s, memory [\d.]+ .iB", line)
    assert without_progress(f"{line}\n") == ""


def test_none_where_quiet_is_asked_for(capsys):
    follow(quiet=True)
    assert capsys.readouterr().err == ""


def test_items_of_one_name_end_one_after_the_other():
    """As the volumes of a 4-D file do, of which several are in flight with workers."""
    jobs = [Job("series.nii.gz", volume=volume) for volume in (0, 1)]
    with Screen(quiet=True, stop_on_signals=False) as screen:
        for number, job in enumerate(jobs, 1):
            screen.item(job, number, len(jobs))
        for job in jobs:
            screen.finished(Report(job.name, None, "done", None, 0.0, 1))
        assert screen.board.state().ended == 2
        assert screen.board.state().items == (None, None)
