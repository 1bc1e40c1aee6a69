"""The spacing of a model is meters on the ground, whatever the units and the scale of a scene's CRS."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from rasterio.control import GroundControlPoint

from pipeline.errors import InputError
from pipeline.jobs.job import Job
from pipeline.models.store import save_model
from pipeline.runs.plan import plan
from pipeline.runs.segment import segment
from tests.io.raster.test_placement import SYSTEMS, geodesic, scene_at
from tests.support.inputs import SCENE_CARD, labels_of, pixels, put_scene, undecided
from tests.support.model_cases import network_of

CARD = replace(SCENE_CARD, spacing=(0.5, 0.5), patch=(64, 64), overlap=(16, 16))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "half-meter"
    save_model(folder, replace(CARD, name="half-meter"), undecided(network_of(CARD.network)))
    return str(folder)


def planned(path, model, **how):
    return plan(Job(str(path), model=model, **how), probe=False)


@pytest.mark.parametrize("system", SYSTEMS)
def test_patches_cover_the_same_ground_in_every_system(system, model, tmp_path):
    crs, place, size = SYSTEMS[system]
    grid = scene_at(crs, place, size / 4)
    path = put_scene(tmp_path / "s.tif", pixels((2, *grid.shape)), crs=crs, transform=Affine(*transform(grid)))
    found = planned(path, model)
    expected = [64 * 0.5 / side for side in geodesic(grid)]
    assert found.patch == pytest.approx(expected, rel=0.01, abs=0.6)
    assert found.overlap == pytest.approx([side / 4 for side in expected], rel=0.01, abs=0.6)


def transform(grid):
    return grid.reference["gdal"]["transform"]


METER = Affine(1, 0, 500_000, 0, -1, 5_000_000)
SAME = {
    "US feet": {"crs": "EPSG:2263", "transform": Affine(3937 / 1200, 0, 980_000, 0, -3937 / 1200, 200_000)},
    "kilometers": {"crs": "+proj=utm +zone=33 +datum=WGS84 +units=km", "transform": METER @ Affine.scale(0.001)},
    "Web Mercator at 60 N": {"crs": "EPSG:3857", "transform": Affine(2, 0, 2_783_000, 0, -2, 8_399_800)},
    "ground control points": {
        "crs": "EPSG:32633",
        "transform": None,
        "gcps": [GroundControlPoint(r, c, 500_000 + c, 5_000_000 - r) for r in (0, 90) for c in (0, 80)],
    },
    "a site": {"crs": 'LOCAL_CS["site grid",UNIT["metre",1]]', "transform": METER},
    "no system, in meters": {"crs": None, "transform": METER},
}


@pytest.fixture(scope="module")
def expected(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("meters")
    segment(Job(str(put_scene(folder / "s.tif", pixels((2, 90, 80)), transform=METER)), folder / "m.tif", model))
    return labels_of(folder / "m.tif")


@pytest.mark.parametrize("place", SAME)
def test_a_scene_of_pixels_of_a_meter_gets_the_same_mask_in_every_system(place, model, expected, tmp_path):
    path = put_scene(tmp_path / "s.tif", pixels((2, 90, 80)), **SAME[place])
    report = segment(Job(str(path), tmp_path / "m.tif", model))
    agreeing = np.mean(labels_of(tmp_path / "m.tif") == expected)
    assert agreeing > 0.97 if "Mercator" in place else agreeing == 1
    assert [remark.rule for remark in report.warnings] == ["unknown-units"] * (SAME[place]["crs"] is None)


@pytest.mark.parametrize("crs", [None, "EPSG:32633"])
def test_a_scene_without_a_transform_is_refused_with_the_way_out(crs, model, tmp_path):
    path = put_scene(tmp_path / "s.tif", pixels((2, 90, 80)), crs=crs, transform=None)
    with pytest.raises(
        InputError, match=r"s\.tif: the model half-meter works at pixels of 0\.5 m, .* `gdal_edit\.py -a_s"
    ):
        planned(path, model)


ABSURD = {
    "degrees without a system": ({"crs": None, "transform": Affine(1.4e-7, 0, 10, 0, -1.4e-7, 50)}, {}),
    "micrometers": ({"transform": Affine(1e-6, 0, 500_000, 0, -1e-6, 5_000_000)}, {}),
    "asked for": ({"transform": METER}, {"patch": (3_561_600, 1_785_600)}),
}


@pytest.mark.parametrize("case", ABSURD)
def test_an_absurd_patch_is_refused_before_it_is_allocated(case, model, tmp_path):
    place, how = ABSURD[case]
    path = put_scene(tmp_path / "s.tif", pixels((2, 90, 80)), **place)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"s\.tif: a patch would have [\d,]+ x [\d,]+ cells and need [\d,.]+ GiB"):
        segment(Job(str(path), tmp_path / "m.tif", model, **how))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20
    assert [file.name for file in tmp_path.iterdir()] == ["s.tif"]


def test_a_model_without_a_domain_tells_pixels_that_it_would_enlarge_far(model, tmp_path):
    path = put_scene(tmp_path / "s.tif", pixels((2, 9, 8)), transform=METER @ Affine.scale(10))
    (remark,) = planned(path, model).warnings
    assert remark.rule == "ground-resolution"
    assert remark.message.startswith("pixels are 10 m on the ground, and the model half-meter was made for 0.5 m; ")
