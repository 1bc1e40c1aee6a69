"""Examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "pipeline").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
"""Modules with an example."""


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    ended = doctest.testmod(importlib.import_module(name))
    assert ended.attempted
    assert not ended.failed


def test_geometry_has_examples():
    named = {name.removeprefix("pipeline.geometry.") for name in MODULES if name.startswith("pipeline.geometry.")}
    assert named >= {"affine", "box", "grid", "lattice", "orientation", "slabs"}
