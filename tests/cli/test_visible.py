"""Nothing that others name is obeyed by a screen."""

from __future__ import annotations

import logging
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.cli import app, mask_tables, model_tables, tables
from pipeline.cli.screen import Notes, Screen, print_failure, print_reports
from pipeline.display.terminal import Frame, rows_of
from pipeline.display.words import lines_of
from pipeline.files.visible import VisibleFormatter, visible, visible_lines
from pipeline.io.formats import look
from pipeline.jobs.job import Job
from pipeline.masks.areas import Area
from pipeline.masks.check import Difference
from pipeline.models.catalogue import load_card
from pipeline.runs.report import Report

ODD = "a\x1b[2J\x1b]0;x\x07\r\n\b\x7f\u202egpj\u2066\u200b\u2028\udcff[red]b[/]"
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def hidden(text: str) -> list[str]:
    return [letter for letter in text if unicodedata.category(letter) in HIDDEN and letter != "\n"]


@given(st.text(st.characters()))
def test_no_text_hides_anything(text):
    shown = visible(text)
    assert not hidden(shown)
    assert "\n" not in shown
    assert (shown == text) == (not hidden(text) and "\n" not in text)
    assert visible(shown) == shown
    assert visible_lines(text).count("\n") == text.count("\n")


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "M"])))
def test_names_in_any_script_are_left_alone(text):
    assert visible(text) == text


REPORT = Report(ODD, ODD, "failed", ODD, 1.0, 5, ODD)
DOORS = {
    "results": lambda: print_reports([REPORT, replace(REPORT, status="skipped", seam_index=0.1)], as_json=False),
    "failure": lambda: print_failure(REPORT),
    "note": lambda: Notes().note(ODD),
    "areas": lambda: mask_tables.print_areas([Area(ODD, 1, ODD, 5, 5.0, 1.0)], as_json=False),
    "differences": lambda: mask_tables.print_differences(
        ODD, ODD, [Difference(what=ODD, mask=ODD, input=ODD, apart=1.0)], as_json=False
    ),
    "records": lambda: tables.print_records(
        [{"input": ODD, "crs": f'X["{ODD}"]', "classes": [{"value": 1, "name": ODD, "colour": (1, 2, 3)}]}],
        as_json=False,
    ),
    "made": lambda: tables.print_records([{"made": {ODD: ODD}, "told": [ODD], "channels": [ODD]}], as_json=False),
}


@pytest.mark.parametrize("door", DOORS)
def test_no_door_shows_what_a_screen_obeys(door, capsys):
    DOORS[door]()
    told = "".join(capsys.readouterr())
    assert not hidden(told)
    assert "[red]b[/]" in told, "and nothing is markup"
    assert r"a\x1b[2J" in told


def test_cards_are_shown_as_they_are(capsys):
    card = load_card("landcover")
    odd = replace(card, name=ODD, limits=(ODD,), license=ODD, credits=ODD, training={"x": ODD})
    model_tables.print_cards([odd], as_json=False)
    model_tables.print_models([odd], as_json=False)
    assert not hidden(capsys.readouterr().out)


def test_progress_is_shown_as_it_is(capsys):
    screen = Screen(quiet=False, stop_on_signals=False)
    with screen:
        line = screen.item(Job(ODD), 1, 2)
        line.phase(ODD)
        line.note(ODD)
        state = screen.board.state()
        assert not hidden("".join(lines_of(state)))
        assert not hidden("".join(row.plain for row in rows_of(state, Frame(80, 24))))
    assert not hidden("".join(capsys.readouterr()))


@pytest.mark.parametrize("verb", ["info", "run", "plan"])
def test_an_error_is_one_line(tmp_path, verb):
    name = f"{tmp_path}/a\x1b[2J\n\u202e.tif"
    Path(name).write_bytes(b"no raster")
    ended = CliRunner().invoke(app, [verb, *(["-i"] if verb != "info" else []), name])
    assert ended.exit_code in (1, 2)
    assert not hidden(ended.output)
    assert r"a\x1b[2J\n\u202e.tif" in ended.output
    assert look(name).path.exists()


def test_logs_are_shown_as_they_are():
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "%s: bad", (ODD,), None)
    assert not hidden(VisibleFormatter().format(record))
    assert "\n" not in VisibleFormatter().format(record)
