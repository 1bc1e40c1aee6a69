from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import RequestError
from pipeline.jobs.job import Job
from pipeline.jobs.job_file import check, read_request
from pipeline.jobs.request import Request

WHOLE = """
input = ["scenes/*.tif", "/data/x.tif", "s3://bucket/y.tif"]
output = "masks/"
model = "landcover"
bands = [4, 3, 2]
patch = 512
overlap = [128, 64]
window = "hann"
view = ["axial", "coronal"]
tta = ["flips", 0.75]
"""


def read(tmp_path, text):
    path = tmp_path / "job.toml"
    path.write_text(text)
    return read_request(path)


def test_every_key_is_read_and_paths_are_beside_the_file(tmp_path):
    assert read(tmp_path, WHOLE) == Request(
        (f"{tmp_path}/scenes/*.tif", "/data/x.tif", "s3://bucket/y.tif"),
        f"{tmp_path}/masks/",
        "landcover",
        bands=(4, 3, 2),
        patch=(512, 512),
        overlap=(128, 64),
        window="hann",
        view=("axial", "coronal"),
        tta=("flips", 0.75),
    )


@pytest.mark.parametrize(
    ("said", "output"),
    [
        ("masks/", "{}/masks/"),
        ("masks/a.tif", "{}/masks/a.tif"),
        ("/data/masks/", "/data/masks/"),
        ("s3://bucket/masks/", "s3://bucket/masks/"),
        ("s3://bucket/", "s3://bucket/"),
        ("s3://bucket/a.tif", "s3://bucket/a.tif"),
    ],
)
def test_an_output_keeps_the_slash_of_a_folder(tmp_path, said, output):
    assert read(tmp_path, f'output = "{said}"').output == output.format(tmp_path)


def test_a_list_may_be_a_text(tmp_path):
    assert read(tmp_path, 'tta = "turns,1.5"').tta == ("turns", "1.5")
    assert read(tmp_path, 'bands = "4, red,nir08"').bands == (4, "red", "nir08")
    assert read(tmp_path, 'bands = [4, "red"]').bands == (4, "red")
    assert read(tmp_path, 'view = "axial,coronal"').view == ("axial", "coronal")


def test_a_request_says_all_that_a_job_does_and_where_inputs_are_found():
    asked, done = ({field.name for field in fields(kind)} for kind in (Request, Job))
    assert asked - done == {"asset", "search", "bids"}
    assert done - asked == {"catalog"}


def test_an_empty_file_says_nothing(tmp_path):
    assert read(tmp_path, "") == Request()
    assert read(tmp_path, 'input = "a.tif"').input == (f"{tmp_path}/a.tif",)
    assert read(tmp_path, 'model = "models/mine"').model == f"{tmp_path}/models/mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ouput = 'x'", r"unknown key ouput \(did you mean \"output\"\?\); known are input, output"),
        ("zzz = 1", "unknown key zzz; known are input"),
        ("workers = 2", "unknown key workers.*known are"),
        ("input = 3", "input = 3 must be a text or a list of texts"),
        ("input = ['a', 3]", "input = .* must be a text or a list of texts"),
        ("model = 3", "model = 3 must be a text or a list of texts"),
        ("model = ['a', 3]", "model = .* must be a text or a list of texts"),
        ("bands = 3", "bands = 3 must be a text or a list of whole numbers and names"),
        ("bands = [1.0]", "bands = .* must be a text or a list of whole numbers and names"),
        ("bands = [true]", "bands = .* must be a text or a list of whole numbers and names"),
        ("bands = 'red,'", "bands = 'red,' must be a text or a list of whole numbers and names"),
        ("patch = '512'", r"patch = '512' must be a whole number, or \[height, width\]"),
        ("patch = [1, 2, 3]", "patch = .* must be"),
        ("patch = true", "patch = True must be"),
        ("overlap = 1.5", "overlap = 1.5 must be"),
        ("window = 1", "window = 1 must be a text"),
        ("view = ['axial', 3]", "view = .* must be a text or a list of texts"),
        ("tta = 2", "tta = 2 must be a text or a list of words and numbers"),
        ("tta = [true]", "tta = .* must be a text or a list of words"),
        ("input = ", "is not TOML"),
        ("[input]\na = 1", "input = {'a': 1} must be a text or a list of texts"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    with pytest.raises(RequestError, match=said) as error:
        read(tmp_path, text)
    assert str(tmp_path / "job.toml") in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RequestError, match=r"none.toml: the job file cannot be read \(No such file"):
        read_request(tmp_path / "none.toml")
    (tmp_path / "job.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RequestError, match="is not TOML"):
        read_request(tmp_path / "job.toml")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"input": ()}, "no input given"),
        ({"window": "han"}, r"unknown window 'han' \(did you mean \"hann\"\?\); choose one of constant, linear, hann"),
        ({"view": ("top",)}, "unknown view 'top'; choose one of axial, coronal, sagittal"),
        ({"view": ("axial", "corona")}, r"unknown view 'corona' \(did you mean \"coronal\"\?\); choose one of axial"),
        ({"view": ("axial", "axial")}, "view axial,axial: each can be given once"),
        ({"tta": ("flip",)}, r"unknown tta 'flip' \(did you mean \"flips\"\?\); give flips or turns"),
        ({"overlap": (16, 64)}, r"overlap \(16, 64\) must be at least 0 and smaller than the patch \(64, 64\)"),
        ({"overlap": (-1, 0), "patch": None}, r"overlap \(-1, 0\) must be at least 0"),
        ({"patch": (0, 64)}, r"patch \(0, 64\) must be at least 1"),
    ],
)
def test_what_cannot_hold_is_refused(wrong, said):
    good = Request(("a.tif",), window="hann", view=("coronal", "axial"), patch=(64, 64), overlap=(16, 63))
    check(good)
    with pytest.raises(RequestError, match=said):
        check(replace(good, **wrong))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40))
def test_any_text_is_a_request_or_refused(tmp_path, text):
    (tmp_path / "job.toml").write_text(text, encoding="utf-8", errors="surrogatepass")
    with suppress(RequestError):
        read_request(tmp_path / "job.toml")
