"""Layers beside the labels: against sums over whole arrays, through files, and the same however they are made."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import rasterio
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine import Confidence, Disagreement, Labels, Probabilities, Recipe, Scores, sweep
from pipeline.engine.windows import Weights
from pipeline.errors import OutputError, PatchError, RequestError
from pipeline.geometry import Lattice, cut_slabs, split_runs
from pipeline.io.mask_files import mask_info
from pipeline.io.zarr import ZarrSource
from pipeline.jobs.inputs import find_inputs
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.layers import LAYERS, seam_index
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.store import load_model, save_model
from pipeline.runs.segment import segment
from tests.support.fakes import ArraySource, Identity
from tests.support.inputs import contents, labels_of, listing

pytestmark = pytest.mark.slow

CPU = Resources(device="cpu", precision="float32")


class Opinionated(Identity):
    """Probabilities that depend on the whole patch, so that patches disagree."""

    def __call__(self, values, valid):
        tilt = values.mean((1, 2, 3), dtype=np.float64)[:, None, None, None] * np.arange(self.classes)[:, None, None]
        scores = np.exp(super().__call__(values, valid).astype(np.float64) / 3 + np.sin(tilt))
        return (scores / scores.sum(1, keepdims=True)).astype(np.float32)


class Sinks:
    """An array for each decision."""

    def __init__(self, decisions, shape):
        self.values = [np.zeros((*each.planes, *shape), each.dtype) for each in decisions]

    def write(self, slab, values, *, whole=True):
        for to, written in zip(self.values, values, strict=True):
            to[(..., *slab.slices)] = written


def by_cell(values, lattice, network):
    """Weights and probabilities of each patch, zeros where it has none: `(patches, [classes,] rows, columns)`."""
    weights, scores = [], []
    for start in product(*lattice.starts):
        patch = lattice.patch_at(start)
        weight, score = np.zeros(lattice.shape), np.zeros((network.classes, *lattice.shape))
        index = [np.arange(a, a + p) for a, p in zip(start, lattice.patch, strict=True)]
        index = [np.abs(i) % max(1, 2 * n - 2) for i, n in zip(index, lattice.shape, strict=True)]
        index = [np.where(i < n, i, 2 * n - 2 - i) for i, n in zip(index, lattice.shape, strict=True)]
        found = network(values[(slice(None), *np.ix_(*index))][None], None)[0]
        weight[patch.slices] = Weights(lattice, "gaussian").of(patch)
        score[(slice(None), *patch.slices)] = found[(slice(None), *(slice(0, n) for n in patch.shape))]
        weights.append(weight)
        scores.append(score)
    return np.array(weights), np.array(scores)


@settings(max_examples=20)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    patch=st.integers(2, 12),
    data=st.data(),
    height=st.sampled_from([4, 8, 64]),
    parts=st.integers(1, 3),
)
def test_layers_are_those_of_sums_over_all_patches(shape, patch, data, height, parts):
    overlap = data.draw(st.integers(0, patch - 1))
    values = np.random.default_rng(0).integers(0, 9, (3, *shape)).astype(np.float32)
    lattice, network = Lattice(shape, (patch, patch), (overlap, overlap), (0, 0)), Opinionated(3, (0, 0))
    decisions = (Labels(), Confidence(False), Probabilities((3,), False), Scores((3,)), Disagreement())
    sinks = Sinks(decisions, shape)
    for run in split_runs(cut_slabs(shape, height), parts):
        sweep(ArraySource(values), network, sinks, Recipe(lattice, "gaussian", decisions), run)
    labels, confidence, probabilities, scores, disagreement = sinks.values
    weights, each = by_cell(values, lattice, network)
    blended = (weights[:, None] * each).sum(0)
    spread = (weights * ((each - blended) ** 2).sum(1)).sum(0)
    np.testing.assert_allclose(scores, blended, atol=2e-6)
    np.testing.assert_array_equal(labels, scores.argmax(0))
    np.testing.assert_allclose((probabilities - 1.0) / 254, blended, atol=0.5 / 254 + 1e-5)
    np.testing.assert_array_equal(confidence, probabilities.max(0))
    np.testing.assert_allclose((disagreement - 1.0) / 254, np.sqrt(spread), atol=0.5 / 254 + 1e-3)
    seen = (weights > 0).sum(0) > 1
    index = seam_index(ArraySource(disagreement[None]), lattice)
    assert index == (pytest.approx((disagreement[seen] - 1.0).mean() / 254) if seen.any() else None)


def test_logits_become_probabilities_by_a_softmax():
    logits = np.random.default_rng(0).normal(0, 40, (4, 5, 6)).astype(np.float32)
    out, best = np.zeros((4, 5, 6), np.uint8), np.zeros((5, 6), np.uint8)
    Probabilities((4,), True)(logits, out)
    Confidence(True)(logits, best)
    shares = np.exp(logits.astype(np.float64) - logits.max(0))
    np.testing.assert_array_equal(out, np.rint(shares / shares.sum(0) * 254) + 1)
    np.testing.assert_array_equal(best, out.max(0))


@pytest.fixture(scope="module")
def layered(scene, models, tmp_path_factory):
    """A mask with all its layers."""
    mask = tmp_path_factory.mktemp("layers") / "m_mask.tif"
    report = segment(Job(str(scene), mask, str(models / "scene"), also=LAYERS[::-1]), CPU)
    return mask, report


def layer(mask, name):
    return mask.with_name(f"{mask.stem}_{name}{mask.suffix}")


def test_layers_lie_beside_the_mask_with_its_place_and_say_what_they_are(layered, scene):
    mask, report = layered
    with rasterio.open(scene) as dataset:
        place, seen = (dataset.transform, dataset.crs, dataset.shape), dataset.read_masks(1) > 0
    names = [entry.name for entry in mask_info(mask).classes]
    for name in LAYERS:
        with rasterio.open(layer(mask, name)) as dataset:
            values = dataset.read()
            assert (dataset.transform, dataset.crs, dataset.shape) == place
            assert list(dataset.descriptions) == (names if name in ("probabilities", "scores") else [name])
            np.testing.assert_array_equal(dataset.read_masks(1) > 0, seen)
            scaled = (1 / 254, -1 / 254) if name != "scores" else (1, 0)
            assert {*zip(dataset.scales, dataset.offsets, strict=True)} == {scaled}
            assert dataset.overviews(1)
            assert (np.isnan(values) if name == "scores" else values == 0)[:, ~seen].all()
            made = json.loads(dataset.tags()["PIPELINE"])
            assert made["also"] == list(LAYERS)
            assert made.get("seam_index") == (report.seam_index if name == "disagreement" else None)
    assert 0 < report.seam_index < 0.71


def test_layers_tell_of_the_labels(layered):
    mask, _ = layered
    with rasterio.open(layer(mask, "scores")) as dataset:
        scores = dataset.read()
    with rasterio.open(layer(mask, "probabilities")) as dataset:
        probabilities = dataset.read()
    labels, seen = labels_of(mask), ~np.isnan(scores[0])
    np.testing.assert_array_equal(labels[seen], scores.argmax(0)[seen])
    np.testing.assert_array_equal(probabilities[:, seen], np.rint(scores[:, seen] * np.float32(254)) + 1)
    np.testing.assert_array_equal(labels_of(layer(mask, "confidence")), probabilities.max(0))


def test_the_labels_are_those_of_a_run_without_layers(layered, scene, models, tmp_path):
    segment(Job(str(scene), tmp_path / "plain.tif", str(models / "scene")), CPU)
    np.testing.assert_array_equal(labels_of(tmp_path / "plain.tif"), labels_of(layered[0]))


@pytest.mark.parametrize("how", [{"rows": 2048}, {"memory": 6 << 20}, {"workers": 2}])
def test_the_same_bytes_however_they_are_made(layered, scene, models, tmp_path, how):
    mask = tmp_path / "m_mask.tif"
    again = segment(Job(str(scene), mask, str(models / "scene"), also=LAYERS), replace(CPU, **how))
    assert again.seam_index == layered[1].seam_index
    assert [contents(layer(mask, name)) for name in LAYERS] == [contents(layer(layered[0], name)) for name in LAYERS]
    assert contents(mask) == contents(layered[0])


def test_zarr_layers_are_those_of_the_geotiff(layered, scene, models, tmp_path):
    mask = tmp_path / "m_mask.zarr"
    segment(Job(str(scene), mask, str(models / "scene"), also=LAYERS), CPU)
    assert listing(tmp_path).isdisjoint({"m_mask.zarr.partial"})
    for name in LAYERS:
        found = zarr.open_group(layer(mask, name), mode="r")[name]
        with rasterio.open(layer(layered[0], name)) as dataset:
            np.testing.assert_array_equal(found[:].reshape(dataset.count, *dataset.shape), dataset.read())
            assert found.attrs.get("scale_factor", 1) == dataset.scales[0]
        assert ZarrSource(layer(mask, name)).provenance["also"] == list(LAYERS)
    assert "seam_index" in ZarrSource(layer(mask, "disagreement")).provenance


def test_what_is_made_is_left_and_what_is_missing_is_made_again(scene, models, tmp_path):
    job = Job(str(scene), tmp_path / "m_mask.tif", str(models / "scene"), also="confidence")
    assert segment(job, CPU).status == "done"
    assert segment(job, CPU).status == "skipped"
    before = contents(layer(job.output, "confidence"))
    layer(job.output, "confidence").unlink()
    assert segment(job, CPU).status == "done"
    assert contents(layer(job.output, "confidence")) == before
    with pytest.raises(OutputError, match="also"):
        segment(replace(job, also=None), CPU)


def test_a_file_of_somebody_else_is_not_replaced(scene, models, tmp_path):
    job = Job(str(scene), tmp_path / "m_mask.tif", str(models / "scene"), also="confidence")
    theirs = layer(job.output, "confidence")
    theirs.write_bytes(b"mine")
    with pytest.raises(OutputError, match="would be overwritten"):
        segment(job, CPU)
    assert theirs.read_bytes() == b"mine"
    assert not job.output.exists()
    assert segment(job, replace(CPU, overwrite=True)).status == "done"


def test_a_patch_that_failed_is_nodata_in_all_layers_until_it_is_made_good(scene, models, tmp_path, monkeypatch):
    job = Job(str(scene), tmp_path / "m_mask.tif", str(models / "scene"), also="confidence,disagreement")
    whole = segment(replace(job, output=tmp_path / "whole_mask.tif"), CPU)
    sound = CpuPredictor.__call__
    target = []

    def fails_on_the_third(self, values, valid):
        if len(target) < 3:
            target.append(values.tobytes())
        if len(target) == 3 and values.tobytes() == target[2]:
            raise RuntimeError("no")
        return sound(self, values, valid)

    monkeypatch.setattr(CpuPredictor, "__call__", fails_on_the_third)
    with pytest.raises(PatchError):
        segment(job, CPU)
    monkeypatch.undo()
    gaps = labels_of(job.output) == 255
    for name in ("confidence", "disagreement"):
        np.testing.assert_array_equal(labels_of(layer(job.output, name)) == 0, gaps)
    assert segment(job, CPU).seam_index == whole.seam_index
    for name in ("confidence", "disagreement"):
        np.testing.assert_array_equal(
            labels_of(layer(job.output, name)), labels_of(layer(tmp_path / "whole_mask.tif", name))
        )


def test_what_cannot_be_is_refused(scene, models, tmp_path):
    job = Job(str(scene), tmp_path / "m_mask.tif", str(models / "scene"), also="confidences")
    with pytest.raises(RequestError, match=r"confidences.*did you mean"):
        segment(job, CPU)
    model = load_model(models / "scene")
    save_model(tmp_path / "logits", replace(model.card, averaging="logits", name="logits"), model.network)
    with pytest.raises(RequestError, match="blends logits"):
        segment(replace(job, model=str(tmp_path / "logits"), also="disagreement"), CPU)
    assert listing(tmp_path) == listing(tmp_path) - {"m_mask.tif", "m_mask.tif.partial"}


def test_layers_are_no_inputs(tmp_path):
    for name in ("a.tif", "a_mask.tif", "a_mask_confidence.tif", "a_confidence.tif"):
        (tmp_path / name).write_bytes(b"x")
    assert find_inputs([str(tmp_path)]) == (str(tmp_path / "a.tif"), str(tmp_path / "a_confidence.tif"))
