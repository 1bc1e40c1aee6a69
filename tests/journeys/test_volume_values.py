"""What a network is shown of a volume: percentiles, windows, and of thick slices the slices alone."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import permutations

import nibabel
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.errors import InputError
from pipeline.jobs.job import Job, Resources
from pipeline.models.card import Normalization
from pipeline.models.store import save_model
from pipeline.runs.prepare import prepare
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.segment import segment
from pipeline.runs.work_folder import STATISTICS, statistics_of
from pipeline.sources.percentiles import stretch
from pipeline.sources.statistics import Histogram, InputStatistics
from pipeline.training.dataset_statistics import collect_statistics, normalization_of, scaling_of
from pipeline.training.items import Item
from tests.support.fakes import ArraySource
from tests.support.inputs import VOLUME_CARD, contents, labels_of, pixels, put_volume, undecided
from tests.support.model_cases import network_of
from tests.support.trainings import VOLUMES

pytestmark = pytest.mark.slow

PLAIN = Resources(device="cpu", precision="float32")
LOW, HIGH = (2.0, 30.0), (98.0, 75.0)
VALUES = pixels((12, 60, 70), seed=5).astype(np.int16) * 13 - 700
VALUES[:, :9] = 0


@cache
def decided(spec):
    """A network of which each class wins somewhere."""
    return undecided(network_of(spec))


def save(folder, network=None, **changes):
    channels = len(changes.get("channels", VOLUME_CARD.channels)) * (2 * VOLUME_CARD.margin + 1)
    card = replace(VOLUME_CARD, network=replace(VOLUME_CARD.network, in_channels=channels), **changes)
    save_model(folder, card, network or decided(card.network))
    return str(folder)


def scan(path, values=VALUES, affine=np.diag([1.0, 1, 1.5, 1])):  # noqa: B008  (never written)
    return put_volume(path, np.ascontiguousarray(values.T), affine)


def segmented(path, model, output, **how):
    segment(Job(str(path), output, model, **how), PLAIN)
    return labels_of(output)


@given(
    values=st.sampled_from(["uint8", "int8", "int16", "uint16"]).flatmap(
        lambda kind: arrays(kind, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))
    ),
    percentile=st.floats(0, 100),
)
def test_percentiles_of_whole_numbers_are_those_of_numpy(values, percentile):
    seen = Histogram(values.dtype)
    for plane in values[::-1]:
        seen.add(plane[None, None])
    there = values[values != 0]
    expected = np.percentile(there.astype(float), percentile) if there.size else 0.0
    assert seen.at(percentile) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("percentile", [0, 0.5, 2, 50, 98, 100])
def test_percentiles_of_real_numbers_are_near_those_of_numpy(percentile):
    values = np.random.default_rng(0).gamma(2, 300, (5, 80, 90)).astype(np.float32)
    values[0], values[1, 0] = 0, np.nan
    seen = Histogram(values.dtype)
    for plane in values:
        seen.add(plane[None])
    expected = np.percentile(values[np.isfinite(values) & (values != 0)], percentile)
    assert seen.at(percentile) == pytest.approx(expected, rel=1 / 128 if percentile in (0, 100) else 2e-3)


@pytest.mark.parametrize("views", [("axial",), ("coronal", "axial")], ids=["streamed", "staged"])
def test_percentiles_are_taken_once_of_what_is_not_zero(tmp_path, views):
    """The mask is that of a window between the values that numpy finds."""
    path = scan(tmp_path / "scan.nii.gz")
    rule = Normalization("percentile", (0.4,), (0.3,), LOW[:1], HIGH[:1])
    model = save(tmp_path / "percentile", normalization=rule, views=views)
    low, high = (float(np.percentile(VALUES[VALUES != 0], one[0])) for one in (LOW, HIGH))
    fixed = Normalization("window", (low + 0.4 * (high - low),), (0.3 * (high - low),), (low,), (high,))
    window = save(tmp_path / "window", normalization=fixed, views=views)
    found = segmented(path, model, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found, segmented(path, window, tmp_path / "b.nii.gz"))
    assert len(np.unique(found)) > 1
    other = save(tmp_path / "other", normalization=replace(rule, low=(40.0,)), views=views)
    assert (segmented(path, other, tmp_path / "c.nii.gz") != found).any()


@pytest.mark.parametrize("views", [("axial",), ("sagittal",)], ids=["streamed", "staged"])
def test_channels_of_one_name_are_windows_on_one_channel(tmp_path, views):
    """The mask is that of a volume that has the same channel twice."""
    how = {
        "channels": ("CT", "CT"),
        "normalization": Normalization("window", (0.0, 0), (90.0, 200), (-200.0, 50), (400.0, 900)),
    }
    model = save(tmp_path / "model", views=views, **how)
    path = scan(tmp_path / "scan.nii.gz")
    found = segmented(path, model, tmp_path / "mask.nii.gz")
    put_channels(tmp_path / "twice.zarr", VALUES, VALUES)
    twice = segmented(tmp_path / "twice.zarr", model, tmp_path / "twice.nii.gz")
    np.testing.assert_array_equal(found, twice)
    assert len(np.unique(found)) > 1
    one = save(tmp_path / "one", views=views, channels=("CT", "MR"), normalization=how["normalization"])
    with pytest.raises(InputError, match=r"has 1 channel, but the model .* takes 2 \(CT, MR\)"):
        prepare(Job(str(path), model=one), PLAIN)


@pytest.mark.parametrize("views", [("axial",), ("coronal", "axial")], ids=["streamed", "staged"])
def test_each_channel_of_a_volume_is_scaled_by_its_own_numbers(tmp_path, views):
    other = pixels(VALUES.shape, seed=9).astype(np.int16) * 3 + 50
    model = save(tmp_path / "model", views=views, channels=("T1", "T2"), normalization=Normalization("zscore", (), ()))
    numbers = [(float(one[one != 0].mean()), float(one[one != 0].std())) for one in (VALUES, other)]
    rule = Normalization("fixed", *(tuple(column) for column in zip(*numbers, strict=True)))
    fixed = save(tmp_path / "fixed", views=views, channels=("T1", "T2"), normalization=rule)
    put_channels(tmp_path / "two.zarr", VALUES, other)
    found = segmented(tmp_path / "two.zarr", model, tmp_path / "a.nii.gz")
    expected = segmented(tmp_path / "two.zarr", fixed, tmp_path / "b.nii.gz")
    assert (found == expected).mean() > 0.999
    assert len(np.unique(found)) > 1


def put_channels(path, *channels):
    scales = [{"type": "scale", "scale": [1.0, 1.5, 1, 1]}]
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "millimeter"} for n in "zyx")]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scales}]}
    group = zarr.create_group(path, attributes={"ome": {"version": "0.5", "multiscales": [image]}})
    group.create_array("0", data=np.stack(channels), chunks=(2, 4, 60, 70))


def test_several_percentiles_are_windows_too(tmp_path):
    rule = Normalization("percentile", (0.5, 0.5), (0.5, 0.5), LOW, HIGH)
    model = save(tmp_path / "model", channels=("MR", "MR"), normalization=rule)
    low, high = (np.percentile(VALUES[VALUES != 0], one) for one in (LOW, HIGH))
    middle, half = tuple((low + high) / 2), tuple((high - low) / 2)
    fixed = Normalization("window", middle, half, tuple(low), tuple(high))
    window = save(tmp_path / "window", channels=("MR", "MR"), normalization=fixed)
    path = scan(tmp_path / "scan.nii.gz")
    found = segmented(path, model, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found, segmented(path, window, tmp_path / "b.nii.gz"))


def test_a_training_scales_volumes_as_a_run_does(tmp_path):
    path, truth = scan(tmp_path / "scan.nii.gz"), tmp_path / "truth.nii.gz"
    put_volume(
        truth, np.ascontiguousarray((VALUES.T % len(VOLUMES.classes)).astype(np.uint8)), np.diag([1.0, 1, 1.5, 1])
    )
    samples = replace(VOLUMES.samples, normalization="percentile", low=LOW, high=HIGH)
    training = replace(VOLUMES, channels=("MR", "MR"), samples=samples)
    (found,) = collect_statistics(training, (Item(str(path), str(truth), "train"),))
    assert found.reading.windows == (0, 0)
    own = stretch(ArraySource(np.stack([VALUES, VALUES]), None, (1, 60, 70)), LOW, HIGH)
    scaling = scaling_of(normalization_of(training, (found,)), found)
    assert scaling.low == own.offset
    assert scaling.high == pytest.approx(np.add(own.offset, own.scale))
    assert own.offset == pytest.approx(np.percentile(VALUES[VALUES != 0], LOW))


def views_of(prepared: PreparedJob) -> list[str | None]:
    return [view.name for view in prepared.views]


@pytest.mark.parametrize("thick", list(permutations((6.0, 1, 1.2))))
def test_of_thick_slices_the_view_that_cut_them_is_taken_alone_unless_told(tmp_path, thick):
    model = save(tmp_path / "model", views=("axial", "coronal", "sagittal"))
    path = scan(tmp_path / "scan.nii.gz", affine=np.diag([*thick, 1.0]))
    expected = ("sagittal", "coronal", "axial")[thick.index(6.0)]
    job = Job(str(path), model=model)
    assert views_of(prepare(job, PLAIN)) == [expected]
    assert views_of(prepare(replace(job, view="coronal,axial"), PLAIN)) == ["coronal", "axial"]
    other = save(tmp_path / "other", views=tuple(v for v in ("axial", "coronal", "sagittal") if v != expected))
    assert len(views_of(prepare(replace(job, model=other), PLAIN))) == 2
    near = scan(tmp_path / "near.nii.gz", affine=np.diag([*(min(side, 2.9) for side in thick), 1.0]))
    assert len(views_of(prepare(replace(job, input=str(near)), PLAIN))) == 3


def test_the_slices_of_a_tilted_volume_are_found(tmp_path):
    turn = nibabel.eulerangles.euler2mat(0.3, 0.2, 0.1) @ np.diag([0.8, 0.8, 5])
    affine = np.eye(4)
    affine[:3, :3] = turn[:, [2, 0, 1]]
    model = save(tmp_path / "model", views=("coronal", "sagittal", "axial"))
    path = scan(tmp_path / "scan.nii.gz", affine=affine)
    assert views_of(prepare(Job(str(path), model=model), PLAIN)) == ["axial"]


def test_weights_of_views_are_in_the_fingerprint_and_only_where_several_are_averaged(tmp_path):
    views = ("axial", "coronal", "sagittal")
    model = save(tmp_path / "model", views=views, view_weights=(2.0, 1, 1))
    path = scan(tmp_path / "scan.nii.gz")
    job = Job(str(path), model=model)
    assert prepare(job, PLAIN).fingerprint()["view"] == ["axial x 2", "coronal", "sagittal"]
    assert prepare(replace(job, view="coronal,axial"), PLAIN).fingerprint()["view"] == ["coronal", "axial x 2"]
    assert prepare(replace(job, view="axial"), PLAIN).fingerprint()["view"] == "axial"
    two = save(tmp_path / "two", views=("axial", "coronal"), view_weights=(2.0, 1))
    told = prepare(replace(job, model=two, view="axial,sagittal"), PLAIN).fingerprint()["view"]
    assert told == ["axial", "sagittal"], "the card has no weight for one of them"
    for weights in ((1.0,), (1.0, 0, 1), (1.0, -1, 1)):
        with pytest.raises(ValueError, match="view_weights: needs a number above 0 for each of 3 views"):
            replace(VOLUME_CARD, views=views, view_weights=weights)


def test_cards_without_weights_are_read_and_make_the_same_archive(tmp_path, models):
    from pipeline.archive.recipe import recipe_of

    text = (models / "volume" / "card.json").read_text()
    card = json.loads(text)
    assert card.pop("view_weights") == []
    save(tmp_path / "model")
    before = recipe_of(Job("a.nii", model=str(tmp_path / "model")))
    assert "view_weights" not in json.dumps(before)
    older = json.loads((tmp_path / "model" / "card.json").read_text())
    older.pop("view_weights")
    (tmp_path / "model" / "card.json").write_text(json.dumps(older))
    segment(Job(str(scan(tmp_path / "s.nii.gz")), tmp_path / "m.nii.gz", str(tmp_path / "model")), PLAIN)
    assert contents(tmp_path / "m.nii.gz")


def test_numbers_in_a_folder_of_an_older_version_are_read(tmp_path):
    setup = prepare(Job(str(scan(tmp_path / "scan.nii.gz")), tmp_path / "m.nii.gz", save(tmp_path / "model")), PLAIN)
    setup.work.mkdir()
    for said in ({"mean": 3.0, "std": 2.0}, {"mean": [3.0], "std": [2.0]}):
        (setup.work / STATISTICS).write_text(json.dumps(said))
        assert statistics_of(setup) == InputStatistics((3.0,), (2.0,))
