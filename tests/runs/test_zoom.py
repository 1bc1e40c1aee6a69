"""A card's zoom: the model sees cells of any size enlarged, as it would by a spacing on cells of a known one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine

from pipeline.archive.recipe import recipe_of
from pipeline.jobs.job import Job, Resources
from pipeline.models.store import save_model
from pipeline.runs.plan import plan
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from tests.support.inputs import SCENE_CARD, labels_of, pixels, put_scene, undecided
from tests.support.model_cases import network_of

CPU = Resources(device="cpu", precision="float32", runtime="torch")
CARD = replace(SCENE_CARD, name="enlarging", patch=(64, 64), overlap=(16, 16))
TWICE = {"zoom": 2.0}
METERS = {"spacing": (0.5, 0.5)}
"""This enlarges a scene of pixels of a meter as much."""


@pytest.fixture(scope="module")
def put(tmp_path_factory):
    """Write a model of the same weights with other entries in its card."""
    folder, network = tmp_path_factory.mktemp("models"), undecided(network_of(CARD.network))

    def write(name, **entries):
        save_model(folder / name, replace(CARD, **entries), network)
        return str(folder / name)

    return write


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    place = Affine(1, 0, 500_000, 0, -1, 5_000_000)
    return str(put_scene(path, pixels((2, 150, 96), 3), crs=None, transform=place))


@pytest.mark.parametrize("features", ["patch", "shared"])
def test_it_makes_the_mask_of_a_spacing_that_enlarges_as_much(features, scene, put, tmp_path):
    for name, entries in (("twice", TWICE), ("spacing", METERS), ("plain", {})):
        segment(Job(scene, tmp_path / f"{name}.tif", put(name, **entries), features=features), CPU)
    zoomed, spaced, plain = (labels_of(tmp_path / f"{name}.tif") for name in ("twice", "spacing", "plain"))
    assert len(np.unique(zoomed)) > 1
    np.testing.assert_array_equal(zoomed, spaced)
    assert not np.array_equal(zoomed, plain)


def test_a_patch_covers_fewer_cells(scene, put):
    assert plan(Job(scene, model=put("twice", **TWICE)), CPU, probe=False).patch == (32, 32)


def test_it_decides_the_mask(scene, put, tmp_path):
    """So unfinished work of another zoom is not gone on with, and none of older versions is lost."""
    found = {}
    for name, entries in (("plain", {}), ("one", {"zoom": 1.0}), ("twice", TWICE)):
        job = Job(scene, tmp_path / "m.tif", put(name, **entries))
        found[name] = prepare(job, CPU).fingerprint(), recipe_of(job)
    assert found["plain"] == found["one"]
    assert "zoom" not in str(found["plain"])
    for plain, zoomed in zip(found["plain"], found["twice"], strict=True):
        assert zoomed != plain
