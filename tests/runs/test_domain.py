"""An input far from what its model was trained on is told by a named rule, or refused; one that is near is not."""

from __future__ import annotations

import json
from dataclasses import replace
from threading import Event

import numpy as np
import pytest
from affine import Affine
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.engine import Pixels
from pipeline.errors import InputError, Interrupted
from pipeline.jobs.job import Job
from pipeline.models.card import Domain
from pipeline.models.catalogue import load_card
from pipeline.models.inference.unlikeness import appearance_of
from pipeline.models.store import load_model, save_model
from pipeline.runs.domain import UNLIKE
from pipeline.runs.plan import plan
from pipeline.runs.segment import segment
from pipeline.sources.appearance import looks_of
from tests.support.inputs import SCENE_CARD, VOLUME_CARD, contents, pixels, put_scene, put_volume, undecided
from tests.support.model_cases import network_of
from tests.support.observers import Callbacks

TRAINED = Domain(values=((0.0, 255.0), (0.0, 255.0)), ground_resolution=(0.3, 1.0))
CROPS = Domain(spacing=((1.0, 1.0),) * 3, field_of_view=((31.0, 43.0), (40.0, 59.0), (24.0, 47.0)))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, card in (("scene", replace(SCENE_CARD, domain=TRAINED)), ("volume", replace(VOLUME_CARD, domain=CROPS))):
        save_model(folder / name, replace(card, name=name), undecided(network_of(card.network)))
    return folder


def scene_at(path, side, values=None, **place):
    where = {"transform": Affine(side, 0, 500_000, 0, -side, 5_000_000), "crs": "EPSG:32633"} | place
    return put_scene(path, pixels((2, 64, 64)) if values is None else values, **where)


def rules(models, path, name="scene", **how) -> list[str]:
    return [remark.rule for remark in plan(Job(str(path), model=str(models / name), **how), probe=False).warnings]


@pytest.mark.parametrize(
    ("side", "place", "told"),
    [
        *((side, {}, False) for side in (0.25, 0.3, 0.5, 1.0, 1.2)),
        *((side, {}, True) for side in (0.07, 0.2, 1.5, 5.0, 30.0)),
        (1.0, {"crs": "EPSG:2263", "transform": Affine(1, 0, 980_000, 0, -1, 200_000)}, False),  # feet
        (5.0, {"crs": "EPSG:2263", "transform": Affine(5, 0, 980_000, 0, -5, 200_000)}, True),
        (0.5, {"crs": "EPSG:4326", "transform": Affine(5e-6, 0, 10, 0, -5e-6, 50)}, False),
        (0.5, {"crs": "EPSG:4326", "transform": Affine(5e-5, 0, 10, 0, -5e-5, 50)}, True),
        (0.5, {"crs": None}, False),
    ],
)
def test_pixels_of_another_size_on_the_ground_are_told(models, side, place, told, tmp_path):
    path = scene_at(tmp_path / "s.tif", side, **place)
    assert rules(models, path) == ["ground-resolution"] * told


def test_resampled_pixels_are_those_that_count(models, tmp_path):
    path = scene_at(tmp_path / "s.tif", 0.07, pixels((2, 200, 200)))
    assert rules(models, path) == ["ground-resolution"]
    assert rules(models, path, resolution=(0.35, 0.35)) == []


def test_the_resolution_that_is_advised_is_in_units_of_the_system(models, tmp_path):
    place = {"crs": "EPSG:4326", "transform": Affine(6e-7, 0, 10, 0, -6e-7, 60)}
    path = scene_at(tmp_path / "s.tif", 0, pixels((2, 200, 200)), **place)
    (remark,) = plan(Job(str(path), model=str(models / "scene")), probe=False).warnings
    height, width = map(float, remark.message.rpartition(" ")[2].split(","))
    assert (height, width) == pytest.approx((0.3 / 111_412, 0.3 / 55_800), rel=2e-3)
    assert rules(models, path, resolution=(height, width)) == []


def reflectances(low, high, dtype):
    return np.random.default_rng(0).uniform(low, high, (2, 64, 64)).astype(dtype)


REFUSED = {
    "16 bits": reflectances(1000, 4000, np.uint16),
    "11 bits": reflectances(200, 2000, np.uint16),
    "0 to 1": reflectances(0, 1, np.float32),
    "below 0": reflectances(-30, -5, np.float32),
    "large": reflectances(0, 1e9, np.float32),
    "most of it nothing": np.where(reflectances(0, 1, float) < 0.2, 2000, 0).astype(np.uint16),
}
TOLD = {
    "a few high": np.where(reflectances(0, 1, float) < 0.2, 900, 100).astype(np.uint16),
    "dark": pixels((2, 64, 64)) // 25,
}
FINE = {
    "8 bits": pixels((2, 64, 64)),
    "8 of 16 bits": pixels((2, 64, 64)).astype(np.uint16),
    "real": pixels((2, 64, 64)).astype(np.float32) * 0.9,
    "nothing": np.zeros((2, 64, 64), np.uint16),
    "specks": np.where(reflectances(0, 1, float) < 0.01, 60_000, 100).astype(np.uint16),
}


@pytest.mark.parametrize("case", REFUSED)
def test_values_that_the_model_cannot_take_are_refused_before_anything_is_written(models, case, tmp_path):
    path = scene_at(tmp_path / "s.tif", 0.5, REFUSED[case])
    job = Job(str(path), tmp_path / "m.tif", str(models / "scene"))
    for call in (lambda: plan(job, probe=False), lambda: segment(job)):
        with pytest.raises(
            InputError, match=r"s\.tif: values of a are about .* trained on 0 to 255; bring .*--scale"
        ) as e:
            call()
        assert e.value.code == "unsuitable"
    assert [file.name for file in tmp_path.iterdir()] == ["s.tif"]


@pytest.mark.parametrize(("cases", "told"), [(TOLD, ["value-range"]), (FINE, [])])
def test_values_that_may_be_meant_are_told_and_others_are_not(models, cases, told, tmp_path):
    for case, values in cases.items():
        assert rules(models, scene_at(tmp_path / f"{case}.tif", 0.5, values)) == told, case


def test_a_scale_brings_values_to_the_range_and_says_that_they_are_meant(models, tmp_path):
    path = scene_at(tmp_path / "s.tif", 0.5, REFUSED["16 bits"])
    assert rules(models, path, scale=(0.06,)) == []
    assert rules(models, path, scale=(1.0,)) == ["value-range"]


def test_what_is_outside_of_the_area_of_interest_does_not_count(models, tmp_path):
    values = np.full((2, 600, 600), 3000, np.uint16)
    values[:, :64, :64] = pixels((2, 64, 64))
    path = scene_at(tmp_path / "s.tif", 0.5, values)
    inside = "500000,4999968,500032,5000000,EPSG:32633"
    assert rules(models, path, aoi=inside) == []


@pytest.mark.parametrize(
    ("shape", "sides", "told"),
    [
        ((36, 50, 35), (1, 1, 1), []),
        ((60, 60, 60), (1, 1, 1), []),
        ((180, 220, 170), (1, 1, 1), ["field-of-view"]),
        ((8, 10, 8), (1, 1, 1), ["field-of-view"]),
        ((36, 50, 7), (1, 1, 5), ["voxel-spacing"]),
        ((36, 50, 14), (1, 1, 2.5), []),
        ((90, 110, 70), (3.5, 3.5, 3.5), ["field-of-view", "voxel-spacing"]),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_volumes_of_another_size_are_told_however_they_are_stored(models, shape, sides, told, turned, tmp_path):
    affine = np.diag([*sides, 1.0])
    if turned:
        shape, affine = (shape[2], shape[0], shape[1]), affine[:, [2, 0, 1, 3]] * [-1, 1, -1, 1]
    path = put_volume(tmp_path / "v.nii", np.zeros(shape, np.uint8), affine)
    assert rules(models, path, "volume") == told


def test_remarks_are_notes_and_in_the_documents_of_plan_and_run(models, tmp_path):
    path = scene_at(tmp_path / "s.tif", 5.0)
    lines = []
    observer = Callbacks(note=lines.append)
    report = segment(Job(str(path), tmp_path / "m.tif", str(models / "scene")), observer=observer)
    (remark,) = report.warnings
    assert remark.message.startswith("pixels are 5 m on the ground, and the model scene was made for 0.3 to 1 m; ")
    assert f"{remark}" in lines
    words = ["--input", str(path), "--output", str(tmp_path / "n.tif"), "--model", str(models / "scene"), "--json"]
    for verb in (["plan", "--no-probe"], ["run", "--no-prefect"]):
        ended = CliRunner().invoke(app, [*verb, *words])
        assert ended.exit_code == 0, ended.output
        (item,) = json.loads(ended.stdout)["items"]
        assert item["warnings"] == [{"rule": "ground-resolution", "message": remark.message}]
    shown = CliRunner().invoke(app, ["plan", "--no-probe", *words[:-1]]).stdout
    assert f"{remark.message} (ground-resolution)" in " ".join(shown.split())


def test_a_run_that_was_begun_goes_on_whatever_its_values(models, tmp_path):
    path = scene_at(tmp_path / "s.tif", 0.5, REFUSED["16 bits"])
    job = Job(str(path), tmp_path / "m.tif", str(models / "scene"))
    card = models / "scene" / "card.json"
    words, stop = card.read_text(), Event()
    card.write_text(replace(load_card(card), domain=None).to_json())
    try:
        with pytest.raises(Interrupted):
            segment(job, observer=Callbacks(stop, phase=lambda name: stop.set() if name == "segmenting" else None))
    finally:
        card.write_text(words)
    assert (tmp_path / "m.tif.partial").exists()
    assert [remark.rule for remark in segment(job).warnings] == ["value-range"]


@pytest.fixture(scope="module")
def knowing(tmp_path_factory):
    """A model that knows what the values of `pixels` look like."""
    known = appearance_of(
        [looks_of([Pixels(pixels((2, 64, 64), seed), None)]) for seed in range(8)], SCENE_CARD.normalization
    )
    folder = tmp_path_factory.mktemp("knowing")
    card = replace(SCENE_CARD, name="knowing", domain=Domain(appearance=known))
    save_model(folder / "model", card, undecided(network_of(card.network)))
    return str(folder / "model")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (pixels((2, 64, 64), 50), False),
        (np.random.default_rng(0).integers(100, 104, (2, 64, 64)).astype(np.uint8), True),
        (np.zeros((2, 64, 64), np.uint8), False),
    ],
    ids=["alike", "unlike", "nothing"],
)
def test_values_that_look_unlike_the_training_are_told_with_a_figure(knowing, values, told, tmp_path):
    path = scene_at(tmp_path / "s.tif", 0.5, values)
    job, lines = Job(str(path), tmp_path / "m.tif", knowing), []
    remarks = plan(job, probe=False).warnings
    assert [remark.rule for remark in remarks] == ["appearance"] * told
    if not values.any():
        return
    report = segment(job, observer=Callbacks(note=lines.append))
    assert report.warnings == remarks
    assert (report.distance > UNLIKE) == told
    assert [line for line in lines if "(appearance)" in line] == [str(remark) for remark in remarks]


def test_how_values_look_changes_no_byte(knowing, tmp_path):
    path = scene_at(tmp_path / "s.tif", 0.5)
    segment(Job(str(path), tmp_path / "a" / "m.tif", knowing))
    card = load_card(knowing)
    plain = load_model(knowing)
    save_model(tmp_path / "plain", replace(card, domain=None), plain.network)
    report = segment(Job(str(path), tmp_path / "b" / "m.tif", str(tmp_path / "plain")))
    assert contents(tmp_path / "a" / "m.tif") == contents(tmp_path / "b" / "m.tif")
    assert report.distance is None


@pytest.mark.parametrize(("name", "said"), [("landcover", (0.15, 1.0)), ("hippocampus", None)])
def test_the_packaged_models_know_what_they_were_trained_on(name, said):
    domain = load_card(name).domain
    assert domain.ground_resolution == said
    assert bool(domain.values) == bool(said)
    assert bool(domain.field_of_view) == (said is None)
