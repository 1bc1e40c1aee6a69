"""Benchmarks, and the scripts that make pictures and reference pages, follow the names of the package."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Those of `benchmarks/peers` need other projects.
SCRIPTS = (
    *(script for script in sorted((ROOT / "benchmarks").rglob("*.py")) if script.parent.name != "peers"),
    *sorted((ROOT / "docs/pictures").glob("*.py")),
    ROOT / "docs/reference/make.py",
)


MODULES = [".".join(script.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for script in SCRIPTS]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_every_script_can_be_imported(name):
    assert len(MODULES) > 20
    importlib.import_module(name)


NAMED = re.findall(r"`(tests/[^`]+)`", (ROOT / "benchmarks/faults.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMED)
def test_the_tests_that_the_page_of_faults_names_exist(name):
    file, _, function = name.partition("::")
    assert len(NAMED) > 90
    assert not function or f"def {function}(" in (ROOT / file).read_text(encoding="utf-8")
