"""Workers with another working folder find what a run needs, or say what they lack."""

from __future__ import annotations

import shutil

import pytest

from pipeline.errors import RequestError
from pipeline.jobs.job import Job, Resources
from pipeline.runs.execute import Task, sweep_task
from pipeline.runs.prepare import prepare
from pipeline.runs.shared_paths import check_seen, needed_paths, with_absolute_paths
from pipeline.runs.view_sweep import sweeps_of
from tests.support.inputs import pixels, put_scene


@pytest.fixture
def here(models, tmp_path, monkeypatch):
    """A folder with a scene and models, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(models, tmp_path / "models")
    put_scene(tmp_path / "scene.tif", pixels((2, 40, 24)))
    return tmp_path


@pytest.mark.parametrize("name", ["scene.tif", "mosaic:*.tif", "stack:a=scene.tif"])
def test_relative_paths_become_absolute(here, name):
    prepared = prepare(Job(name, here.relative_to(here) / "out.tif", "models/scene", bands=(1, 2)), Resources())
    sent = with_absolute_paths(prepared)
    assert str(here) in sent.job.input
    assert str(here) in sent.input.text
    assert (sent.output, sent.members[0].model) == (here / "out.tif", str(here / "models/scene"))
    assert sent.fingerprint() | {"input": 0} == prepared.fingerprint() | {"input": 0}
    assert with_absolute_paths(sent).job == sent.job


def test_a_packaged_model_keeps_its_name(here):
    put_scene(here / "rgb.tif", pixels((3, 40, 24)))
    (here / "landcover").mkdir()
    assert with_absolute_paths(prepare(Job("rgb.tif", here / "out.tif"), Resources())).members[0].model == "landcover"


def test_a_worker_that_does_not_see_a_folder_says_so(here, tmp_path):
    prepared = with_absolute_paths(prepare(Job("scene.tif", here / "out.tif", "models/scene"), Resources()))
    assert set(needed_paths(prepared)) == {here / "scene.tif", here / "models/scene"}
    check_seen(needed_paths(prepared))
    (sweep,) = sweeps_of(prepared)
    task = Task(sweep, sweep.slabs(Resources()), 1, (*needed_paths(prepared), here / "out.tif.partial"))
    with pytest.raises(RequestError, match=r"out\.tif\.partial: is not there on the worker .* shared disk"):
        sweep_task(task)
