"""An input that changes while it is read: no mask of two versions, and the same command starts over."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import CHANGED, UNREACHABLE, InputError
from pipeline.jobs.job import Job, Resources
from pipeline.runs.segment import segment
from tests.support.inputs import contents, listing, pixels, put_scene, put_volume
from tests.support.observers import Callbacks
from tests.support.remote import served

pytestmark = pytest.mark.slow

PLAIN = Resources(precision="float32", runtime="torch")


@pytest.fixture
def job(models, tmp_path):
    (tmp_path / "in").mkdir()
    path = put_scene(tmp_path / "in/scene.tif", pixels((2, 2100, 24)))
    return Job(str(path), tmp_path / "out/mask.tif", str(models / "scene"))


def once(function):
    """A callback that does something the first time that it is called."""
    left = [function]
    return lambda *_: left.pop()() if left else None


def test_a_scene_that_is_written_again_is_refused_and_then_started_over(job, tmp_path):
    def rewrite():
        put_scene(tmp_path / "in/scene.tif", pixels((2, 2100, 24), seed=1))

    with pytest.raises(InputError, match=r"scene\.tif: changed while it was read: .* no mask is written") as error:
        segment(job, PLAIN, Callbacks(slab_done=once(rewrite)))
    assert error.value.code == CHANGED
    assert listing(tmp_path / "out") == set(), "nothing is published, and nothing of two versions is kept"
    assert segment(job, PLAIN).status == "done"
    again = replace(job, output=tmp_path / "again/mask.tif")
    segment(again, PLAIN)
    assert contents(job.output) == contents(again.output)


def test_a_scene_that_is_cut_while_it_is_read_is_not_called_damaged(job, tmp_path):
    path = tmp_path / "in/scene.tif"

    def cut():
        path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(InputError) as error:
        segment(job, PLAIN, Callbacks(phase=once(cut)))
    assert error.value.code == CHANGED


def test_a_scene_that_is_moved_away_and_back_is_gone_on_with(job, tmp_path):
    path = tmp_path / "in/scene.tif"
    with pytest.raises(InputError, match="put it back") as error:
        segment(job, PLAIN, Callbacks(slab_done=once(lambda: path.rename(tmp_path / "away"))))
    assert error.value.code == UNREACHABLE
    (tmp_path / "away").rename(path)
    done = []
    assert segment(job, PLAIN, Callbacks(started=lambda _, cells: done.append(cells))).status == "done"
    assert done[0] > 0, "it was gone on with"


def test_a_volume_that_changes_after_it_was_staged_is_refused(models, tmp_path):
    path = put_volume(tmp_path / "scan.nii.gz", pixels((20, 30, 40)).T.astype(np.int16), np.eye(4))
    job = Job(str(path), tmp_path / "out/mask.nii", str(models / "volume"), view="coronal")
    other = put_volume(tmp_path / "other.nii.gz", pixels((20, 30, 40), 1).T.astype(np.int16), np.eye(4))
    with pytest.raises(InputError, match="changed while it was read"):
        segment(job, PLAIN, Callbacks(slab_done=once(lambda: shutil.copy(other, path))))
    assert listing(tmp_path / "out") == set()


def test_another_version_at_an_address_is_refused(job, tmp_path):
    with served(tmp_path / "in") as server:
        remote = replace(job, input=f"{server.address}/scene.tif")

        def rewrite():
            put_scene(tmp_path / "in/scene.tif", pixels((2, 2100, 24), seed=1))

        with pytest.raises(InputError, match=r"was served with etag .* start over"):
            segment(remote, PLAIN, Callbacks(slab_done=once(rewrite)))
        assert listing(tmp_path / "out") == set()
        assert segment(remote, PLAIN).status == "done"


def test_an_archive_tries_an_item_that_changed_again(job, models, tmp_path, monkeypatch):
    from pipeline.runs import execute

    path, sweep = tmp_path / "in/scene.tif", execute.sweep_remaining

    def rewrites(*words):
        found = sweep(*words)
        put_scene(path, pixels((2, 2100, 24), seed=1))
        return found

    put_scene(tmp_path / "in/other.tif", pixels((2, 40, 24)))
    words = ["run", "-i", str(tmp_path / "in"), "-o", f"{tmp_path / 'out'}/", "-m", job.model, "--no-prefect", "--json"]
    with monkeypatch.context() as patch:
        patch.setattr(execute, "sweep_remaining", rewrites)
        ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 1
    items = {item["input"].rpartition("/")[2]: item for item in json.loads(ended.stdout)["items"]}
    assert (items["scene.tif"]["status"], items["scene.tif"]["code"]) == ("failed", CHANGED)
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tif")) == ["other_mask.tif", "scene_mask.tif"]
