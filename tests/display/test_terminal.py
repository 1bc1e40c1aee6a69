"""Progress on a terminal of 80 columns, as an emulator draws it."""

from __future__ import annotations

import contextlib
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pipeline.cli import app
from pipeline.cli.screen import Screen
from pipeline.display.board import Board
from pipeline.display.progress import Progress
from pipeline.display.terminal import Frame, fit, needs_rows, rows_of
from pipeline.jobs.job import Job
from pipeline.runs.report import Report
from tests.support.inputs import pixels, put_scene
from tests.support.terminal import Terminal

GIB = 2**30
SHORT = "archive/2024/ct-017.nii.gz"
LONG = f"/data/archive/2024/{'scan-of-somebody-' * 3}T1w.nii.gz"


def wait_for(what):
    end = time.monotonic() + 20
    while not what() and time.monotonic() < end:
        time.sleep(0.005)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def board(clock):
    return Board(clock, lambda: 3 * GIB // 2)


@pytest.fixture
def terminal(monkeypatch):
    shown = Terminal()
    for name, value in (("COLUMNS", "80"), ("LINES", "24"), ("TERM", "xterm-256color")):
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return shown


def plain(rows):
    return [row.plain for row in rows]


def test_one_scene_has_its_name_phase_share_time_left_rate_and_memory(board, clock):
    item = board.item("scenes/north.tif")
    item.phase("segmenting")
    item.started(100_000_000, 20_000_000)
    clock.now = 10.0
    item.advanced(42_000_000)
    name, bar = plain(rows_of(board.state(), Frame(80, 24)))
    assert name == "scenes/north.tif"
    assert bar.startswith("segmenting ━")
    assert bar.split("─ ")[1].split() == ["62%", "9", "s", "left", "memory", "1.5", "GiB", "4.20", "Mpx/s"]
    assert len(bar) == 80


def test_an_archive_has_a_row_for_all_and_one_for_each_item_in_flight(board, clock):
    items = [board.item(f"archive/2024/ct-0{number}.nii.gz", number, 12) for number in range(1, 5)]
    for item in items:
        item.phase("segmenting")
        item.started(1000, 0)
    board.end(items[0])
    board.end(items[1], "failed")
    items[2].advanced(500)
    clock.now = 60.0
    head, facts, *rows = plain(rows_of(board.state(), Frame(80, 24)))
    assert head.startswith("2/12 items ━")
    assert head.endswith("20%   6 min left"), "1.5 items took a minute, and a failure took no time"
    assert facts.split("  ")[0] == "1 failed"
    assert facts.split() == ["1", "failed", "memory", "1.5", "GiB", "0.00", "Mpx/s"]
    assert rows[:2] == ["", ""], "places of items that have ended"
    assert rows[2].startswith("archive/2024/ct-03.nii.gz ")
    assert rows[2].endswith(" 50%    60 s left")
    assert rows[3].startswith("archive/2024/ct-04.nii.gz ")
    board.item("next.nii.gz", 5, 12)
    assert plain(rows_of(board.state(), Frame(80, 24)))[2].startswith("next.nii.gz "), "it takes the first free place"
    assert plain(rows_of(board.state(), Frame(80, 24)))[4] == rows[2], "and the others stay in theirs"


def test_more_items_than_rows_are_counted(board):
    for number in range(1, 65):
        board.item(f"s{number}.tif", number, 64)
    rows = plain(rows_of(board.state(), Frame(80, 24)))
    assert len(rows) <= 24 - 3
    assert rows[-1] == "and 46 more"


def test_a_phase_after_all_cells_are_done_shows_how_long_it_takes(board, clock):
    item = board.item("a.tif")
    item.started(100, 100)
    item.phase("writing")
    clock.now = 7.0
    _, bar = plain(rows_of(board.state(), Frame(80, 24)))
    assert "100%" in bar
    assert "7 s" in bar
    assert "left" not in bar


def test_what_an_earlier_run_did_took_no_time(board, clock):
    item = board.item("a.tif", 1, 2)
    item.started(100, 90)
    clock.now = 10.0
    item.advanced(10)
    board.end(item)
    assert board.state().seconds_left == pytest.approx(100.0), "a tenth of an item took 10 s"


def test_a_rate_is_that_of_the_last_half_minute(board, clock):
    item = board.item("a.tif")
    item.started(10**9, 0)
    for _ in range(100):
        clock.now += 1
        item.advanced(1000)
    for _ in range(40):
        clock.now += 1
        item.advanced(10)
    assert board.state().rate == pytest.approx(10, rel=0.5)


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=120)


@given(NAMES, st.integers(1, 3), st.integers(24, 200), st.booleans(), st.sampled_from(["", "segmenting", "a" * 30]))
def test_every_row_fits(name, count, width, started, phase):
    board = Board(lambda: 1e6, lambda: 10**12)
    for number in range(1, count + 1):
        item = board.item(name, number, count)
        item.phase(phase)
        if started:
            item.started(10**15, 10**14)
    run, frame = board.state(), Frame(width, 24)
    for stacked in (False, True):
        rows = rows_of(run, frame, stacked=stacked or needs_rows(run, frame))
        assert all(row.cell_len <= width for row in rows)
        assert "Cc" not in {unicodedata.category(letter) for row in rows for letter in row.plain}


@given(NAMES, st.integers(2, 100))
def test_a_name_that_is_too_long_keeps_its_end(name, columns):
    shown = fit(name, columns)
    assert cell_len(shown) <= columns
    assert name == shown or (shown[0] == "…" and name.endswith(shown[1:]))


@pytest.mark.parametrize("name", [SHORT, LONG, "/data" * 30 + "/" + "x" * 50 + ".tif"])
def test_the_last_part_of_a_name_is_there_whole(name, board):
    for number in (1, 2):
        board.item(name, number, 2)
    run, frame = board.state(), Frame(80, 24)
    rows = plain(rows_of(run, frame, stacked=needs_rows(run, frame)))
    assert sum(name.rpartition("/")[2] in row for row in rows) == 2


def test_a_terminal_shows_a_run_and_is_clean_afterwards(terminal, monkeypatch):
    monkeypatch.setattr("pipeline.display.terminal._PER_SECOND", 100.0)
    names = [SHORT, LONG, "b.tif"]
    with contextlib.redirect_stderr(terminal), Screen(quiet=False, stop_on_signals=False) as screen:
        for number, name in enumerate(names, 1):
            line = screen.item(Job(name), number, len(names))
            line.phase("segmenting")
            line.started(2_000_000, 500_000)
            line.advanced(500_000.0)
            line.note("a note of many words " * 8)
            screen.finished(
                Report(name, None, "failed", f"{name}: is damaged, in so many words; fetch it again", 0.0, 0)
            )
        line = screen.item(Job(SHORT), 3, 3)
        line.started(100, 50)
        screen.surface._live.refresh()
        shown = terminal.rows
    assert terminal.wide() == []
    assert any("3/3 items ━" in row for row in shown)
    assert any(row.startswith("3 failed") and "memory" in row for row in shown)
    for name in names:
        assert any(name.rpartition("/")[2] in row for frame in terminal.frames for row in frame)
    said = " ".join(terminal.rows)
    assert "items ━" not in said, "the bars are gone"
    assert said.count("failed: ") == 3
    assert said.count("a note of many words") == 24, "no word is cut"


def test_the_only_item_needs_no_name(terminal):
    with contextlib.redirect_stderr(terminal), Progress() as progress:
        progress.phase("segmenting")
        progress.started(100, 25)
        progress.advanced(25)
        progress.surface._live.refresh()
        (row,) = terminal.rows
    assert row.startswith("segmenting ━")
    assert " 50%" in row
    assert terminal.rows == []


def test_a_dumb_terminal_gets_lines(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with contextlib.redirect_stderr(terminal), Progress(every=0.01) as progress:
        progress.started(100, 25)
        wait_for(lambda: terminal.written)
    assert "\x1b" not in "".join(terminal.written)
    assert "25%" in "".join(terminal.written)


@pytest.mark.parametrize("workers", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_of_an_archive_is_shown(terminal, monkeypatch, models, tmp_path, workers):
    """Phases, items, failures and memory of a real run, and nothing of it is left on the screen at the end."""
    monkeypatch.setattr("pipeline.display.terminal._PER_SECOND", 50.0)
    names = ["b-scene-with-a-name-of-some-length.tif", "c.tif", "a-broken.tif"]
    for name in names[:2]:
        (tmp_path / "in").mkdir(exist_ok=True)
        put_scene(tmp_path / "in" / name, pixels((2, 300, 200)))
    (tmp_path / "in" / names[2]).write_bytes(b"II*\0 no scene")
    words = [
        "run",
        "--input",
        str(tmp_path / "in"),
        "--output",
        str(tmp_path / "out"),
        "--model",
        str(models / "scene"),
    ]
    words += [] if workers is None else ["--workers", str(workers)]
    with contextlib.redirect_stderr(terminal), contextlib.redirect_stdout(terminal), pytest.raises(SystemExit) as ended:
        app([*words, "--no-prefect"])
    assert ended.value.code == 1
    assert terminal.wide() == []
    drawn = [row for frame in terminal.frames for row in frame]
    for name in names:
        assert any(name in row for row in drawn)
    for fact in ("/3 items ", "1 failed", "memory ", "preparing", "segmenting"):
        assert any(fact in row for row in drawn), fact
    assert not any("items \u2501" in row or "memory" in row for row in terminal.rows)
