"""Runs whose inputs are on servers: the bytes of the masks of local files, or no mask and a word that says why."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.engine.ledger import differences
from pipeline.errors import CHANGED, InputError
from pipeline.jobs.job import Job, Resources
from pipeline.runs.segment import segment
from tests.support import azure, google
from tests.support.inputs import labels_of, pixels, put_scene, put_volume
from tests.support.objects import SECRET
from tests.support.observers import Callbacks
from tests.support.remote import served
from tests.support.stores import environment_of, on_each, on_others, words_for


@pytest.fixture(scope="module")
def here(models, tmp_path_factory):
    """Two volumes and two scenes, and the masks of one of each."""
    folder = tmp_path_factory.mktemp("here")
    put_volume(folder / "a.nii.gz", pixels((20, 18, 14)), np.eye(4))
    put_volume(folder / "b.nii.gz", pixels((12, 18, 14)), np.eye(4))
    put_scene(folder / "one.tif", pixels((2, 64, 40)))
    put_scene(folder / "two.tif", pixels((2, 40, 64)))
    segment(Job(str(folder / "a.nii.gz"), folder / "out.nii.gz", str(models / "volume")))
    segment(Job(str(folder / "one.tif"), folder / "out.tif", str(models / "scene")))
    return folder


@pytest.fixture
def web(here):
    with served(here) as server:
        yield server


@pytest.fixture
def bucket(here, store):
    """A bucket with the volumes and the scenes."""
    for name in ("a.nii.gz", "b.nii.gz", "one.tif", "two.tif"):
        store.put(f"{'scans/p1' if 'nii' in name else 'scenes'}/{name}", (here / name).read_bytes())
    return store


@pytest.mark.parametrize("workers", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_a_volume_at_an_address_has_the_mask_of_the_file(web, here, models, tmp_path, workers):
    job = Job(f"{web.address}/a.nii.gz", tmp_path / "out.nii.gz", str(models / "volume"))
    report = segment(job, Resources(workers=workers))
    assert report.status == "done"
    assert (tmp_path / "out.nii.gz").read_bytes() == (here / "out.nii.gz").read_bytes()
    made = json.loads((tmp_path / "out.json").read_text())["made"]["input"]
    assert made["name"] == f"{web.address}/a.nii.gz"
    assert made["bytes"] == (here / "a.nii.gz").stat().st_size


@on_each
def test_a_volume_goes_from_store_to_store(bucket, here, models):
    job = Job(f"{bucket.place}scans/p1/a.nii.gz", bucket.place / "masks/out.nii.gz", str(models / "volume"))
    segment(job)
    assert bucket.all()["masks/out.nii.gz"] == (here / "out.nii.gz").read_bytes()
    assert segment(job).status == "skipped"


def run(*words):
    ended = CliRunner().invoke(app, ["run", *map(str, words), "--no-prefect", "--json"])
    assert SECRET not in ended.output
    return ended


@pytest.mark.parametrize("endpoint", ["everybody", "gdal"])
def test_a_bucket_is_an_archive(bucket, here, models, tmp_path, monkeypatch, endpoint):
    if endpoint == "gdal":
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        monkeypatch.setenv("AWS_S3_ENDPOINT", bucket.proxy.address.removeprefix("http://"))
        monkeypatch.setenv("AWS_HTTPS", "NO")
        monkeypatch.setenv("AWS_VIRTUAL_HOSTING", "FALSE")
    words = ["--model", models / "scene", "--output", f"{tmp_path}/out/", "--ledger", tmp_path / "ledger.sqlite"]
    for status in ("done", "skipped"):
        ended = run("--input", f"{bucket.place}scenes/*.tif", *words)
        assert ended.exit_code == 0, ended.output
        items = json.loads(ended.stdout)["items"]
        assert [item["status"] for item in items] == [status] * 2
    assert (labels_of(tmp_path / "out/one_mask.tif") == labels_of(here / "out.tif")).all()


@on_others
@pytest.mark.parametrize("number", range(4))
def test_a_scene_is_read_by_the_words_of_several_programs(bucket, here, models, tmp_path, monkeypatch, number):
    for name in environment_of(bucket.place.scheme, ""):
        monkeypatch.delenv(name)
    for name, value in words_for(bucket.place.scheme, bucket.proxy.address)[number].items():
        monkeypatch.setenv(name, value)
    ended = run("--input", f"{bucket.place}scenes/", "--model", models / "scene", "--output", f"{tmp_path}/out/")
    assert ended.exit_code == 0, ended.output
    assert (labels_of(tmp_path / "out/one_mask.tif") == labels_of(here / "out.tif")).all()


@on_others
def test_a_scene_that_may_not_be_read_is_told_without_secrets(bucket, models, tmp_path, monkeypatch):
    address = bucket.proxy.address
    others = {"gs": google.environment(address, "WRONG-SECRET"), "az": azure.environment(address, "U0VDUkVU")}
    for name, value in others[bucket.place.scheme].items():
        monkeypatch.setenv(name, value)
    ended = run("--input", f"{bucket.place}scenes/one.tif", "--model", models / "scene", "--output", f"{tmp_path}/out/")
    assert ended.exit_code == 1, ended.output
    assert not any(secret in ended.output for secret in ("WRONG-SECRET", "U0VDUkVU"))
    names = {"gs": "GOOGLE_APPLICATION_CREDENTIALS", "az": "AZURE_STORAGE_ACCOUNT_KEY"}
    assert names[bucket.place.scheme] in ended.output


def test_a_prefix_keeps_the_places_of_its_volumes(bucket, here, models, tmp_path):
    ended = run("--input", f"{bucket.place}scans/", "--model", models / "volume", "--output", f"{tmp_path}/out/")
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "out/p1/a_mask.nii.gz").read_bytes() == (here / "out.nii.gz").read_bytes()
    assert (tmp_path / "out/p1/b_mask.nii.gz").exists()


@on_each
@pytest.mark.parametrize("name", ["scans/p1/a.nii.gz", "scenes/one.tif"])
def test_an_object_that_changes_has_no_mask(bucket, here, models, tmp_path, name):
    """It is put again, with the same content but for its last byte, after the run has begun."""
    scene = name.endswith(".tif")
    job = Job(f"{bucket.place}{name}", tmp_path / f"out{'.tif' if scene else '.nii.gz'}", None)
    job = replace(job, model=str(models / ("scene" if scene else "volume")))

    def change(*told):
        bucket.put(name, (here / name.rpartition("/")[2]).read_bytes() + b"?")

    with pytest.raises(InputError, match="changed while it was read") as told:
        segment(job, observer=Callbacks(slab_done=change))
    assert told.value.code == CHANGED
    assert not job.output.exists()


def test_runs_of_earlier_versions_are_those_of_objects_whose_versions_are_known_now():
    before, now = {"input": {"name": "a"}}, {"input": {"name": "a", "bytes": 1, "etag": "x"}}
    assert differences(before, now) == ""
    assert "etag" in differences(now, {"input": {"name": "a", "bytes": 1, "etag": "y"}})
    assert "etag" in differences(now, before)
    parts = {"input": {"name": "s", "parts": [{"name": "a"}]}}
    assert differences(parts, {"input": {"name": "s", "parts": [{"name": "a", "etag": "x"}]}}) == ""
    assert differences(parts, {"input": {"name": "s", "parts": [{"name": "b", "etag": "x"}]}}) != ""
