"""Tests of pages wait for what scripts fill in: a page goes on drawing after it was opened."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
_READ_ONCE = re.compile(
    r"^\s*assert\b.*\.(inner_text|all_inner_texts|text_content|input_value|count|bounding_box|is_\w+|screenshot|picture)"
    r"\(",
    re.MULTILINE,
)


def test_nothing_of_a_page_is_read_once_and_compared():
    found = [
        f"{path.relative_to(ROOT)}: {match[0].strip()}"
        for path in ROOT.rglob("test_*.py")
        if "support.visits" in (text := path.read_text("utf-8")) and path != Path(__file__)
        for match in _READ_ONCE.finditer(text)
    ]
    assert found == [], "use `until`, `says` or `counts` of tests/support/visits.py"
