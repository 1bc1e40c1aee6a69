"""Links to folders are followed once, and patterns match what `glob` matches."""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files.walk import expand_pattern, walk

NAMES = st.sampled_from(["a", "b", "ab", ".h", "x.tif", "y.tif"])
PARTS = st.sampled_from(["*", "**", "a", "?", "a*", "*.tif", "[ab]", ".*", "x.tif"])


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def found(root):
    return [str((parent / file).relative_to(root)) for parent, _, files in walk(root) for file in files]


def test_linked_folders_are_followed_once_and_after_the_others(tmp_path):
    put(tmp_path, "in/z/1", "in/2", "else/3", "else/deep/4")
    (tmp_path / "in/a").symlink_to(tmp_path / "in/z")
    (tmp_path / "in/m").symlink_to(tmp_path / "else")
    (tmp_path / "in/n").symlink_to(tmp_path / "else")
    assert found(tmp_path / "in") == ["2", "z/1", "m/3", "m/deep/4"]


def test_loops_come_to_an_end(tmp_path):
    put(tmp_path, "in/a/1", "beside/2")
    (tmp_path / "in/a/up").symlink_to("..")
    (tmp_path / "in/a/self").symlink_to(".")
    (tmp_path / "in/out").symlink_to(tmp_path)
    (tmp_path / "in/ring").symlink_to("ring")
    (tmp_path / "in/b").symlink_to(tmp_path / "beside")
    (tmp_path / "beside/back").symlink_to(tmp_path / "in")
    assert found(tmp_path / "in") == ["ring", "a/1", "b/2"]
    assert expand_pattern(f"{tmp_path}/in/**/[12]") == [f"{tmp_path}/in/a/1", f"{tmp_path}/in/b/2"]


def test_two_loops_do_not_multiply(tmp_path):
    """With `glob`, this takes 2 to the 40."""
    put(tmp_path, "in/1")
    for name in ("a", "b", "c"):
        (tmp_path / "in" / name).symlink_to(".")
    assert expand_pattern(f"{tmp_path}/in/**/1") == [f"{tmp_path}/in/1"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=8), st.lists(PARTS, min_size=1, max_size=3))
def test_a_pattern_matches_what_glob_matches(tree, parts):
    with tempfile.TemporaryDirectory() as root:
        for names in tree:
            path = Path(root, *names)
            if not path.exists() and not any(parent.is_file() for parent in path.parents):
                path.mkdir(parents=True) if "." not in names[-1] else put(path.parent, path.name)
        pattern = os.path.join(root, *parts)  # noqa: PTH118  (a pattern)
        expected = {os.path.normpath(path) for path in glob.glob(pattern, recursive=True)}  # noqa: PTH207
        assert set(expand_pattern(pattern)) == expected


def test_a_pattern_may_be_relative(tmp_path, monkeypatch):
    put(tmp_path, "in/a/1", "in/b/1")
    monkeypatch.chdir(tmp_path / "in")
    assert expand_pattern("*/1") == ["a/1", "b/1"]
    assert expand_pattern("../*/b/1") == ["../in/b/1"]
    assert expand_pattern("none/*") == []
