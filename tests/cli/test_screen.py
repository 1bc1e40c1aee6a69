"""Progress where there is no terminal."""

from __future__ import annotations

import contextlib
import re
import time

from pipeline.cli.screen import Screen, print_reports
from pipeline.jobs.job import Job
from pipeline.runs.report import Report
from tests.support.output import without_progress
from tests.support.terminal import Terminal


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


def reports_of(*outputs):
    return [Report(f"/data/archive/2024/{name}.nii.gz", name, "done", None, 1.0, 10**6) for name in outputs]


def test_results_fit_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"/data/masks/2024/sub-0{number}_ses-baseline_T1w_mask.nii.gz" for number in range(3)]
    failed = Report("/data/archive/2024/broken.nii.gz", None, "failed", "broken", 0.0, 0)
    with contextlib.redirect_stdout(Terminal()) as screen:
        print_reports([*reports_of(*names), failed], as_json=False)
    assert screen.wide() == []
    assert screen.rows[0] == "in /data/"
    assert [row.split()[:2] for row in screen.rows[2:]] == [
        *([name.removeprefix("/data/"), "done"] for name in names),
        ["archive/2024/broken.nii.gz", "failed"],
    ]


def test_results_that_fit_have_inputs_and_outputs(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with contextlib.redirect_stdout(Terminal()) as screen:
        print_reports(reports_of("a.nii.gz"), as_json=False)
    assert screen.rows[0].split()[:2] == ["input", "output"]
