"""Browser libraries are those that their projects published, and stay inside a page without leaving it."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from pipeline.web.parts import libraries, part

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("library", libraries())
def test_files_are_those_that_the_version_names(library):
    lines = re.findall(r"^sha256 (\w{64}) (\S+)$", part(library, "VERSION").read_text("utf-8"), re.MULTILINE)
    sums = {name: digest for digest, name in lines}
    assert {name: hashlib.sha256(part(library, name).read_bytes()).hexdigest() for name in sums} == sums
    there = {path.name for path in (ROOT / "pipeline/web/vendor" / library).iterdir()}
    assert there == {"LICENSE", "VERSION", *sums}


@pytest.mark.parametrize("library", libraries())
def test_a_license_is_shipped_with_each(library):
    assert "Redistribution and use" in part(library, "LICENSE").read_text("utf-8")


def test_scripts_can_be_put_inside_a_page():
    """Nothing ends or hides a script element, and no source map is asked for."""
    for library in libraries():
        for path in (ROOT / "pipeline/web/vendor" / library).glob("*.js"):
            assert not re.search(r"</script|<!--|sourceMappingURL", path.read_text("utf-8"), re.IGNORECASE)


def test_the_wheel_carries_them():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert settings["tool"]["setuptools"]["package-data"]["pipeline.web"] == ["vendor/*/*"]
