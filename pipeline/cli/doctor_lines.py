"""Print what the doctor finds: lines of 80 columns, which can be pasted anywhere, or one JSON document."""

from __future__ import annotations

import sys
from textwrap import wrap

import typer

from pipeline.cli.tables import print_json
from pipeline.doctor.examine import Examination, examine
from pipeline.doctor.finding import Finding
from pipeline.doctor.versions import About, about
from pipeline.errors import counted
from pipeline.files.visible import visible

_WIDTH, _TEXT = 80, 18
"""Columns of a line, and the first of its text."""
_COLORS = {"ok": typer.colors.GREEN, "remark": typer.colors.YELLOW, "broken": typer.colors.RED}


def print_examination(*, as_json: bool) -> Examination:
    """Examine everything and print it; lines as soon as they are known."""
    what = about()
    if as_json:
        found = Examination(what, tuple(examine()))
        print_json(found.to_json())
        return found
    _print_about(what)
    seen: list[Finding] = []
    for finding in examine():
        sys.stdout.write(_lines(finding, "" if seen and seen[-1].topic == finding.topic else finding.topic))
        sys.stdout.flush()
        seen.append(finding)
    found = Examination(what, tuple(seen))
    sys.stdout.write(f"\n{_summary(found)}\n")
    return found


def _print_about(what: About) -> None:
    sys.stdout.write(f"pipeline {what.pipeline}, Python {what.python}, {what.system}\n\n")


def _lines(finding: Finding, topic: str) -> str:
    text = wrap(visible(finding.text), _WIDTH - _TEXT, break_on_hyphens=False)
    way_out = wrap(f"-> {visible(finding.advice)}", _WIDTH - _TEXT, subsequent_indent="   ", break_on_hyphens=False)
    heads = [_styled(finding.state.ljust(8), finding.state) + topic.ljust(_TEXT - 8)]
    rest = text[1:] + (way_out if finding.advice else [])
    return "\n".join([heads[0] + (text or [""])[0], *(" " * _TEXT + line for line in rest)]) + "\n"


def _styled(word: str, state: str) -> str:
    return typer.style(word, fg=_COLORS[state]) if sys.stdout.isatty() else word


def _summary(found: Examination) -> str:
    counts = {state: sum(finding.state == state for finding in found.findings) for state in ("broken", "remark")}
    told = [f"{counts['broken']} broken"] if counts["broken"] else []
    told += [counted(counts["remark"], "remark")] if counts["remark"] else []
    return ", ".join(told) or "all is well"
