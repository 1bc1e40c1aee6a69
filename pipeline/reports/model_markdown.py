"""The page of a model as Markdown, between two marks: what is written around them is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from pipeline.files.visible import visible
from pipeline.reports.model import FigureTable, ModelPage, RecordedEvaluation, Shown
from pipeline.reports.values import Facts

BEGIN, END = "<!-- made by pipeline models -->", "<!-- end -->"
_MADE = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
_SIGNS = re.compile(r"([\\`*_{}\[\]<>|#])")
Place = Callable[[str], str]
"""From the name of a chart to its address in the page."""


def is_generated(text: str) -> bool:
    """Return whether a page has a part that was generated."""
    return _MADE.search(text) is not None


def markdown(page: ModelPage, place: Place, address: Callable[[Shown], str], before: str | None = None) -> str:
    """Return the page; if there was one `before`, with its generated part replaced.

    Args:
        page: What it says.
        place: Address of a chart by its name.
        address: Address of a picture.
        before: Text of the page that is replaced.

    """
    made = "\n".join([BEGIN, *_body(page, place, address), END])
    if before is not None and is_generated(before):
        return _MADE.sub(lambda _: made, before, count=1)
    return f"# {_text(page.title)}\n\n{_text(page.summary)}\n\n{made}\n"


def _body(page: ModelPage, place: Place, address: Callable[[Shown], str]) -> Iterator[str]:
    yield from _facts(page.facts)
    yield from chain.from_iterable((f"> {note}", "") for note in page.notes)
    yield from _section("Trained on", _facts(page.trained) if page.trained else ())
    yield from chain.from_iterable(_evaluation(one, place) for one in page.evaluations)
    yield from _section("Other figures", _facts(page.others) if page.others else ())
    yield from _section("Items", _images(page.pictures, address))
    told = "Image, truth, prediction and differences (red), where most cells are wrong, worst first."
    yield from _section("Where it errs", [told, "", *_images(page.failures, address)] if page.failures else ())
    yield from _section("Known limits", [*(f"- {_text(limit)}" for limit in page.limits), ""] if page.limits else ())
    yield from _section("How it is measured", ["```", *page.commands, "```", ""])


def _evaluation(one: RecordedEvaluation, place: Place) -> Iterator[str]:
    yield from (f"## Figures: {_text(one.name)}", "", _text(one.told), "")
    yield from _table("", one.table)
    yield from _facts(one.facts)
    for chart in one.charts:
        yield from (f"![{_text(chart.alt)}]({place(chart.name)})", "")
    if one.resolutions is not None:
        yield from ("IoU of the same scenes with pixels of other sizes:", "")
        yield from _table("pixels", one.resolutions)


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield a title and lines, if there are any."""
    told = list(lines)
    if told:
        yield from (f"## {title}", "", *told)


def _facts(facts: Facts) -> list[str]:
    rows = [f"| {_text(name)} | {_text(value)} |" for name, value in facts]
    return ["| | |", "|---|---|", *rows, ""]


def _table(first: str, table: FigureTable) -> list[str]:
    heads = (first, *table.titles)
    rows = [heads, *table.rows]
    lines = ["| " + " | ".join(map(_text, row)) + " |" for row in rows]
    return [lines[0], "|---" * len(heads) + "|", *lines[1:], ""]


def _images(pictures: Sequence[Shown], address: Callable[[Shown], str]) -> list[str]:
    return [line for shown in pictures for line in (f"![{_text(shown.alt)}]({address(shown)})", "")]


def _text(words: str) -> str:
    """Return text without a meaning in Markdown, in one line."""
    return _SIGNS.sub(r"\\\1", visible(words))
