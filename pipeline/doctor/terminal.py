"""The terminal and the locale; and what is not shown of either."""

from __future__ import annotations

import locale
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.doctor.finding import Finding, ok, remark


def check_terminal() -> Iterator[Finding]:
    """Look at the encodings of names and of what is printed."""
    names, printed = sys.getfilesystemencoding(), getattr(sys.stdout, "encoding", None) or "unknown"
    columns = shutil.get_terminal_size().columns
    where = f"a terminal of {columns} columns" if sys.stdout.isatty() else "not a terminal"
    told = f"{where}, {printed}, names of files in {names}, locale {locale.setlocale(locale.LC_CTYPE)}"
    facts = {"terminal": sys.stdout.isatty(), "columns": columns, "stdout": printed, "names": names}
    if {_plain(names), _plain(printed)} - {"utf8"}:
        yield remark("terminal", told, "export LC_ALL=C.UTF-8, so that every name can be shown", **facts)
    else:
        yield ok("terminal", told, **facts)


def _plain(encoding: str) -> str:
    return encoding.lower().replace("-", "")


def home_hidden(finding: Finding) -> Finding:
    """Return a finding that can be shown to others: with `~` for the home folder, which names a person."""
    facts = {name: _hidden(fact) for name, fact in finding.facts.items()}
    return replace(finding, text=hidden(finding.text), advice=hidden(finding.advice), facts=facts)


def hidden(text: str) -> str:
    """Return a text with `~` for the home folder."""
    home = os.path.expanduser("~")  # noqa: PTH111  (Path.home raises where there is none)
    return text.replace(home, "~") if len(Path(home).parts) > 1 else text


def _hidden(value: object) -> object:
    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, dict):
        return {key: _hidden(each) for key, each in value.items()}
    return [_hidden(each) for each in value] if isinstance(value, (list, tuple)) else value
