"""The navigation of the site: the lists of docs/README.md, a part for each of its headings.

Nothing here needs Sphinx.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
INDEX = "docs/README.md"
FRONT = "README.md"
"""The page that opens first."""
_SECTION = re.compile(r"^## ([^:\n]+).*?\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^(?:-|\d+\.) \[([^\]]+)\]\(([^)]+\.md)\)", re.MULTILINE)


class Entry(NamedTuple):
    """A page in the navigation."""

    title: str
    page: str
    """Its path from the root of the project."""


def sections() -> dict[str, list[Entry]]:
    """Return the pages that the index lists, by heading, in its order."""
    text = (ROOT / INDEX).read_text(encoding="utf-8")
    return {heading: [_entry(*found) for found in _ENTRY.findall(part)] for heading, part in _SECTION.findall(text)}


def _entry(title: str, target: str) -> Entry:
    path = (ROOT / INDEX).parent / target
    return Entry(title, path.resolve().relative_to(ROOT).as_posix())


def pages() -> list[str]:
    """Return all pages of the site: the front page, the index, and what it lists."""
    return [FRONT, INDEX, *(entry.page for section in sections().values() for entry in section)]


def toctrees() -> str:
    """Return the navigation as directives of Sphinx, which stand unseen at the end of the front page."""
    return _toctree(None, [Entry("All pages", INDEX)]) + "".join(_toctree(*section) for section in sections().items())


def _toctree(caption: str | None, entries: list[Entry]) -> str:
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    lines = [f"{title} </{page.removesuffix('.md')}>" for title, page in entries]
    return "\n".join(["", "```{toctree}", *options, "", *lines, "```", ""])
