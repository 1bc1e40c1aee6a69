"""Tables of the reference, made from the code: `python docs/reference/make.py` writes them into the pages.

A table stands between `<!-- made: NAME -->` and `<!-- end -->`. Its name is that of a verb, such as `pipeline run`, or
one of `TABLES`. What stands around the tables is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import is_dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, get_type_hints

import typer.main

from pipeline.cli import app
from pipeline.decoding import Key, keys_of
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.request import Request, Search
from pipeline.models.card import ClassEntry
from pipeline.training.config import Training

FOLDER = Path(__file__).parent
PAGES = ("cli.md", "job-file.md", "python.md", "training.md")
MADE = re.compile(r"(<!-- made: ([^\n]*) -->\n).*?(<!-- end -->\n)", re.DOTALL)
Row = tuple[str, ...]
Parameter = Any
"""An argument or an option, as typer has it."""


def remade(page: str) -> str:
    """Return the text of a page with its tables generated from the code."""
    return MADE.sub(lambda found: found[1] + made(found[2]) + found[3], page)


def tables_of(name: str) -> list[str]:
    """The names of the tables in a page."""
    return [found[1] for found in MADE.findall((FOLDER / name).read_text(encoding="utf-8"))]


def made(name: str) -> str:
    """The table of that name, as Markdown."""
    return verb(name.removeprefix("pipeline ")) if name.startswith("pipeline ") else TABLES[name]()


def verb(name: str) -> str:
    """The arguments and options of a verb; a table for each panel of its help."""
    shown = [one for one in typer.main.get_command(app).commands[name].params if not getattr(one, "hidden", False)]
    panels = groupby(sorted(shown, key=_own), key=_panel)
    return "\n".join(
        (f"*{panel}*\n\n" if panel else "") + _table(("option", "meaning", "default"), map(_option, parameters))
        for panel, parameters in panels
    )


def _own(parameter: Parameter) -> tuple[bool, bool]:
    """Sorts arguments first, and options without a panel last."""
    return parameter.param_type_name != "argument", _panel(parameter) is None


def _panel(parameter: Parameter) -> str | None:
    return getattr(parameter, "rich_help_panel", None)


def _option(parameter: Parameter) -> Row:
    names = [*parameter.opts, *parameter.secondary_opts]
    if parameter.param_type_name == "argument":
        names = [re.sub(r"\W|\.", "", parameter.metavar or parameter.name).upper()]
    meaning, _, unset = parameter.help.partition(" Default: ")
    default = parameter.default if isinstance(parameter.default, (int, float, str)) else None
    own = "" if default is None or isinstance(default, bool) else f"`{default}`"
    return ", ".join(f"`{name}`" for name in names), _plain(meaning), _plain(unset.removesuffix(".")) or own


def job_file(kind: type) -> str:
    """The keys of a table of a job file."""
    rows = ((f"`{key.name}`", _plain(key.reader.expected), _plain(key.meaning.sentence)) for key in _keys(kind))
    return _table(("key", "value", "meaning"), rows)


def training(kind: type) -> str:
    """The keys of a table of a training file."""
    rows = ((f"`{key.name}`", _default(key), _plain(key.meaning.sentence)) for key in _keys(kind))
    return _table(("key", "default", "meaning"), rows)


def python(kind: type) -> str:
    """The fields of a dataclass for Python."""
    rows = ((f"`{key.field.name}`", f"`{_type(key.kind)}`", _plain(key.meaning.sentence)) for key in _keys(kind))
    return _table(("field", "type", "meaning"), rows)


def _keys(kind: type) -> Iterator[Key]:
    return (key for key in keys_of(kind) if key.meaning.help)


def _default(key: Key) -> str:
    """A default as TOML has it; nothing for none, and for tables."""
    value = key.field.default
    if key.required or value is None or is_dataclass(value):
        return ""
    words = list(value) if isinstance(value, tuple) else value
    return f"`{str(words).lower() if isinstance(words, bool) else repr(words)}`".replace("'", '"')


def _type(kind: object) -> str:
    text = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
    return re.sub(r"\b(\w+\.)+", "", text).replace("|", "\\|")


def _table(heads: Row, rows: Iterable[Row]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines).replace("| --- | --- | --- |", "|---|---|---|")


def _plain(text: str) -> str:
    """A text without a meaning in Markdown, but for what it has in backticks."""
    parts = text.split("`")
    return "`".join(re.sub(r"([<>*|_])", r"\\\1", part) if at % 2 == 0 else part for at, part in enumerate(parts))


TABLES: dict[str, Callable[[], str]] = {
    "keys of a job file": lambda: job_file(Request),
    "keys of search": lambda: job_file(Search),
    "fields of Job": lambda: python(Job),
    "fields of Resources": lambda: python(Resources),
    "keys of a training file": lambda: training(Training),
} | {
    f"keys of {name}": lambda kind=kind: training(kind)
    for name, kind in get_type_hints(Training).items()
    if is_dataclass(kind) and kind is not ClassEntry
}

if __name__ == "__main__":
    for name in PAGES:
        page = FOLDER / name
        page.write_text(remade(page.read_text(encoding="utf-8")), encoding="utf-8")
