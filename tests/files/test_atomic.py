"""A name stands for a whole file or folder, or for what was there before."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import OutputError
from pipeline.files.atomic import (
    atomic_folder,
    atomic_write,
    remove,
    remove_stale_temporaries,
    temporary_name,
    write_together,
)
from pipeline.files.digest import sha256_of


class Stop(Exception):  # noqa: N818  (not a fault of the code)
    """Something went wrong on the way."""


@given(before=st.none() | st.binary(max_size=9), after=st.binary(max_size=9))
def test_a_file_is_the_old_one_or_the_new_one(tmp_path_factory, before, after):
    path = tmp_path_factory.mktemp("f") / "a" / "x.bin"
    if before is not None:
        path.parent.mkdir()
        path.write_bytes(before)
    with suppress(Stop), atomic_write(path) as draft:
        draft.write_bytes(after)
        raise Stop
    assert (path.read_bytes() if path.exists() else None) == before
    with atomic_write(path) as draft:
        draft.write_bytes(after)
        assert (path.read_bytes() if path.exists() else None) == before
    assert path.read_bytes() == after
    assert list(path.parent.iterdir()) == [path]


def test_what_has_to_be_there_before_is_there_before(tmp_path):
    path, seen = tmp_path / "x", []
    with atomic_write(path, lambda: seen.append(path.exists())) as draft:
        draft.write_bytes(b"1")
    assert seen == [False]


def test_a_folder_takes_the_place_of_what_is_there(tmp_path):
    path = tmp_path / "f"
    for name in ("one", "two"):
        with atomic_folder(path) as draft:
            draft.mkdir()
            (draft / name).write_text(name)
        assert [file.name for file in path.iterdir()] == [name]
    with suppress(Stop), atomic_folder(path) as draft:
        draft.mkdir()
        raise Stop
    assert [file.name for file in path.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [path]


def test_files_written_together_get_their_names_in_order(tmp_path):
    write_together(tmp_path, {"weights": b"1", "card": b"1"})
    (tmp_path / "weights").unlink()
    (tmp_path / "weights").mkdir()  # a file cannot take its name
    with pytest.raises(OutputError, match="weights: cannot be written"):
        write_together(tmp_path, {"weights": b"2", "card": b"2"})
    assert (tmp_path / "card").read_bytes() == b"1"
    assert {file.name for file in tmp_path.iterdir()} == {"weights", "card"}


@pytest.mark.parametrize("writing", [atomic_write, atomic_folder])
def test_an_error_of_the_system_names_the_file(tmp_path, writing):
    with (
        pytest.raises(OutputError, match=r"x: cannot be written \(No such file or directory\)"),
        writing(tmp_path / "x"),
    ):
        pass  # nothing was written that could get the name


def test_only_what_ended_processes_left_is_removed(tmp_path):
    code = "import os; print(os.getpid())"
    ended = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    ours = temporary_name(tmp_path / "x.tif")
    stale = ours.with_name(ours.name.replace(str(os.getpid()), str(ended)))
    for path in (ours, stale, tmp_path / "x.tif"):
        path.write_text("")
    remove_stale_temporaries(tmp_path)
    assert set(tmp_path.iterdir()) == {ours, tmp_path / "x.tif"}


def test_remove_takes_files_folders_and_nothing(tmp_path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "f").write_text("")
    for name in ("d", "f", "g"):
        remove(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_digest_is_that_of_sha256sum(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_of(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
