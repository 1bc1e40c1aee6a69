"""What the verbs of archives print, and what they refuse."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger, Entry
from pipeline.cli import app, tables
from pipeline.cli.screen import print_reports
from pipeline.runs.report import HELD, Report


def report(number, status, reason=None, code=None):
    return Report(f"in/s{number}.tif", f"out/s{number}_mask.tif", status, reason, 0.0, 9, "scene", code)


def printed(reports, capsys):
    print_reports(reports, as_json=False)
    return capsys.readouterr()


def test_skipped_items_of_an_archive_take_one_line(capsys):
    known = [report(number, "skipped", "already made by this very job") for number in range(40)]
    said = printed(known, capsys)
    assert said.out == "40 items skipped: already made by this very job\n"
    assert said.err == ""
    said = printed([report(40, "done"), *known, report(41, "failed", "broken", "unreadable")], capsys)
    assert [line.split()[:1] for line in said.out.splitlines()] == [["input"], ["in/s40.tif"], ["in/s41.tif"], ["40"]]
    assert said.err == ""


def test_an_item_that_another_run_makes_is_named_with_its_reason(capsys):
    said = printed([report(1, "done"), report(2, "skipped", "is being made by another run", HELD)], capsys)
    assert "in/s2.tif" in said.out
    assert said.err == "out/s2_mask.tif: is being made by another run\n"


def test_one_item_that_is_skipped_has_its_line_and_its_reason(capsys):
    said = printed([report(1, "skipped", "already made by this very job")], capsys)
    assert "in/s1.tif" in said.out
    assert said.err == "out/s1_mask.tif: already made by this very job\n"


def test_lines_for_a_program_end_with_their_text(capsys):
    table = tables.table_of("reason", "for example")
    table.add_row("unreadable", "x" * 560)
    table.add_row("y", "z")
    tables.print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines] == lines
    assert lines[2] == "y           z"
    assert len(lines) == 3, "nothing is folded"


@pytest.fixture
def ledger(tmp_path):
    found = ArchiveLedger(tmp_path / LEDGER_NAME)
    found.enter([Entry("a", None, "failed", "memory", "a: x"), Entry("b", None, "done")])
    found.close()
    return tmp_path


def retry(ledger, *words):
    return CliRunner().invoke(app, ["retry", str(ledger), *words])


def test_an_unknown_reason_is_refused_with_those_that_are_known(ledger):
    ended = retry(ledger, "--reason", "memroy")
    assert ended.exit_code == 2
    assert '--reason memroy: is not a reason (did you mean "memory"?); items here failed with memory' in ended.stderr
    found = ArchiveLedger(ledger / LEDGER_NAME)
    assert list(found.rows(("failed",))) == ["a"]
    found.close()


def test_a_reason_that_no_item_has_is_no_fault(ledger):
    assert retry(ledger, "--reason", "unreadable").stdout == "pending: 0 of 2 items; run the same command again\n"
    assert retry(ledger, "--reason", "memory").stdout == "pending: 1 of 2 items; run the same command again\n"
    ended = retry(ledger, "--reason", "nonsense")
    assert (ended.exit_code, ended.stderr[-32:]) == (2, "reason; no item here has failed\n"[-32:])
