"""Names of objects: what is one, what it consists of, and what is refused."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import RequestError
from pipeline.files.object_path import ObjectPath, is_object, output_path
from pipeline.jobs.job import Job


@pytest.mark.parametrize(
    ("text", "key", "name"),
    [
        ("s3://b/masks/a.tif", "masks/a.tif", "a.tif"),
        ("gs://b/masks/", "masks", "masks"),
        ("az://b", "", ""),
        ("s3://b/a b/ü%20#1?.nii.gz", "a b/ü%20#1?.nii.gz", "ü%20#1?.nii.gz"),
    ],
)
def test_a_name_is_taken_as_it_is(text, key, name):
    place = output_path(text)
    assert isinstance(place, ObjectPath)
    assert (place.key, place.name) == (key, name)
    assert ObjectPath.parse(str(place)) == place
    assert pickle.loads(pickle.dumps(place.begun())) == place


@pytest.mark.parametrize("text", ["masks/a.tif", "https://host/a.tif", "/vsis3/b/a.tif", "s3:/b/a.tif", "x://b/a"])
def test_other_names_are_of_files(text):
    assert not is_object(text)
    assert output_path(text) == Path(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("s3:///a.tif", "is no name of an object"),
        ("s3://b/a\nb.tif", "control character '\\\\n'"),
        ("s3://b/a\x1b[2J.tif", "control character '\\\\x1b'"),
        ("s3://b/../a.tif", r"a part \. or \.\."),
        ("s3://b/./a.tif", r"a part \. or \.\."),
        ("s3://b/a//b.tif", "two slashes in a row"),
        ("s3://user:password@b/a.tif", "a user or a password"),
    ],
)
def test_names_that_no_object_can_have_are_refused(text, why):
    with pytest.raises(RequestError, match=why) as error:
        output_path(text)
    assert "\n" not in str(error.value)
    assert "password@" not in str(error.value)


@pytest.mark.parametrize("given", ["s3://b/x/a.tif", Path("s3://b/x/a.tif"), ObjectPath("s3", "b", "x/a.tif")])
def test_a_job_takes_an_address_in_any_form(given):
    assert Job("scene.tif", given).output == ObjectPath("s3", "b", "x/a.tif")
    assert Job("scene.tif", Path("x/a.tif")).output == Path("x/a.tif")


def test_places_relate_as_those_of_folders_do():
    bucket, place = ObjectPath("s3", "b", ""), ObjectPath("s3", "b", "x/y/z.tif")
    assert (bucket / "x" / Path("y/z.tif"), place.with_name("w.tif").key) == (place, "x/y/w.tif")
    assert [parent.key for parent in place.parents] == ["x/y", "x", ""]
    assert place.is_relative_to(place.parent)
    assert place.is_relative_to(bucket)
    assert not ObjectPath("s3", "b", "x/yy/z.tif").is_relative_to(place.parent)
    assert not place.is_relative_to(ObjectPath("s3", "c", "x"))


def test_the_folder_of_a_process_goes_with_it_and_that_of_a_killed_one_with_the_next(tmp_path):
    code = "import os, sys; from pipeline.files.scratch import scratch; print(scratch(), flush=True); {}"
    env = {**os.environ, "TMPDIR": str(tmp_path)}

    def left(end):
        words = [sys.executable, "-c", code.format(end)]
        told = subprocess.run(words, env=env, capture_output=True, text=True, check=False).stdout.strip()
        return Path(told), list(tmp_path.iterdir())

    killed, there = left("os._exit(1)")
    assert there == [killed]
    ended, there = left("pass")
    assert there == []
    assert ended.parent == tmp_path


def test_a_temporary_folder_that_cannot_be_written_is_told(tmp_path):
    code = "from pipeline.files.scratch import _made; import tempfile; tempfile.tempdir = '/proc/none'; _made(1)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "set TMPDIR to a folder" in ended.stderr
