"""Layers of volumes: against sums over whole arrays, exactly on the mask's grid, the same however they are made."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import nibabel
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from niizarr import zarr2nii
from ome_zarr_models.v05.image import Image

from pipeline.engine.ledger import Ledger
from pipeline.errors import Interrupted, OutputError, RequestError
from pipeline.geometry import Box, Lattice
from pipeline.io.mask_files import mask_info
from pipeline.io.zarr import ZarrSource
from pipeline.jobs.inputs import find_inputs
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.layers import LAYERS, layer_path
from pipeline.masks.check import check
from pipeline.models.card import Normalization
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.runtime import build_inference_model
from pipeline.models.store import load_model, save_model
from pipeline.runs.plan import plan
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.runs.view_sweep import Averaging, sweeps_of
from tests.support.dicoms import TILTED, put_series
from tests.support.inputs import SEED, contents, labels_of, listing, pixels, put_volume, undecided
from tests.support.loops import loop
from tests.support.model_cases import network_of as weighty
from tests.support.model_cases import quick_to_compile

PLAIN = Resources(device="cpu", precision="float32")
AXES = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}
"""By view: which axes of an array (z, y, x) are swept, are rows and are columns."""
ALL = tuple(AXES)
THREE = ",".join(ALL)
TURN = np.array([[0.1, -0.7, 0.2, 10], [-0.6, 0, 0.1, -20], [0.1, 0.1, -1.7, 30], [0, 0, 0, 1]])
SHAPE = (34, 35, 37)
"""(z, y, x)"""
PATCH, OVERLAP = (24, 32), (6, 8)
"""So that several lie side by side, in all views."""
FIELDS = (
    *("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z"),
)


@dataclass
class Opinionated:
    """Probabilities that depend on the whole patch, with its neighboring slices, so that patches disagree."""

    patch: tuple[int, int]
    overlap: tuple[int, int]
    margin: int
    classes: int = 3
    averaging: str = "softmax"
    version: str = "1"
    batch: int = 1
    threads: int = 1

    def __call__(self, values, valid):
        seen = values.astype(np.float64) if valid is None else np.where(valid[:, None], values, 0).astype(np.float64)
        own = seen[:, :, self.margin : seen.shape[2] - self.margin]
        tilt = seen.mean((1, 2, 3, 4))[:, None, None, None, None] * np.arange(3)[:, None, None, None]
        scores = np.exp(2 * np.sin(own * np.array([0.3, 1, 2])[:, None, None, None] + tilt))
        return (scores / scores.sum(1, keepdims=True)).astype(np.float32)


def window_of(patch):
    weights = np.ones(())
    for n in patch:
        weights = np.multiply.outer(weights, np.maximum(np.exp(-8 * ((np.arange(n) + 0.5) * 2 / n - 1) ** 2), 1e-3))
    return weights


def opinions(values, valid, lattice, network):
    """Each patch of a whole array `(z, y, x)`: where it is, its scores, and its share in each of its cells."""
    room = [(m, m + max(0, p - n)) for m, p, n in zip(lattice.margin, lattice.patch, lattice.shape, strict=True)]
    values, seen = np.pad(values, room, mode="reflect"), np.pad(valid, room, mode="reflect")
    starts = list(product(*(
        sorted({*range(0, max(1, n - p), p - o), max(0, n - p)})
        for n, p, o in zip(lattice.shape, lattice.patch, lattice.overlap, strict=True)
    )))  # fmt: skip
    total, found = np.zeros(lattice.shape), []
    for start in starts:
        across = tuple(slice(a, a + p + 2 * m) for a, p, m in zip(start, lattice.patch, lattice.margin, strict=True))
        at = tuple(slice(a, min(a + p, n)) for a, p, n in zip(start, lattice.patch, lattice.shape, strict=True))
        inside = tuple(slice(0, cells.stop - cells.start) for cells in at)
        weights = window_of(lattice.patch)[inside]
        total[at] += weights
        if seen[across].any():
            scores = network(values[across][None, None], seen[across][None])[0][(slice(None), *inside)]
            found.append((at, scores.astype(np.float64), weights))
    return [(at, scores, weights / total[at]) for at, scores, weights in found]


def mean_and_spread(values, valid, views, networks, patch, overlap, margin, weights=None):
    """Mean scores of all patches of all networks in all views, and the spread around it, of arrays in RAS."""
    parts = []
    for view, weight in zip(views, weights or (1,) * len(views), strict=True):
        order = AXES[view]
        turned, seen = values.transpose(order), valid.transpose(order)
        lattice = Lattice(turned.shape, (1, *patch), (0, *overlap), (margin, 0, 0))
        for network in networks:
            share = weight / sum(weights or (1,) * len(views)) / len(networks)
            parts += [(order, share, one) for one in opinions(turned, seen, lattice, network)]
    classes = len(parts[0][2][1])
    mean, spread = np.zeros((classes, *values.shape)), np.zeros(values.shape)
    for order, share, (at, scores, part) in parts:
        mean.transpose(0, *(1 + axis for axis in order))[(slice(None), *at)] += share * part * scores
    for order, share, (at, scores, part) in parts:
        far = scores - mean.transpose(0, *(1 + axis for axis in order))[(slice(None), *at)]
        spread.transpose(order)[at] += share * part * (far**2).sum(0)
    return mean, np.sqrt(spread)


def in_ras(path):
    """Values of a file `([bands,] z, y, x)`, by nibabel, in RAS."""
    values = np.asanyarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)
    return values.T


def compare(output, mean, spread, valid):
    """Hold all layers beside a mask against means and spreads."""
    found = {name: in_ras(layer_path(output, name)) for name in LAYERS}
    for values in found.values():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(values), np.broadcast_to(~valid, values.shape))
    step = 0.5 / 254 + 1e-5
    np.testing.assert_allclose(found["scores"][:, valid], mean[:, valid], atol=1e-5)
    np.testing.assert_allclose(found["probabilities"][:, valid], mean[:, valid], atol=step)
    np.testing.assert_allclose(found["confidence"][valid], mean.max(0)[valid], atol=step)
    np.testing.assert_allclose(found["disagreement"][valid], spread[valid], atol=0.5 / 254 + 2e-3)
    labels = in_ras(output)
    np.testing.assert_array_equal(labels[valid], found["scores"].argmax(0)[valid])
    assert (labels[~valid] == 255).all()
    return found


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 14), st.integers(1, 14)),
    patch=st.tuples(st.integers(2, 7), st.integers(2, 7)),
    views=st.lists(st.sampled_from(ALL), min_size=1, max_size=3, unique=True),
    order=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
    gaps=st.booleans(),
    data=st.data(),
)
def test_layers_are_those_of_sums_over_all_patches_of_all_views(
    tmp_path_factory, shape, patch, views, order, flips, gaps, data
):
    overlap = tuple(data.draw(st.integers(0, side - 1)) for side in patch)
    network = Opinionated(patch, overlap, margin=data.draw(st.integers(0, min(1, min(shape) - 1))))
    folder = tmp_path_factory.mktemp("property")
    values = np.random.default_rng(1).integers(0, 9, shape).astype(np.float32)
    if gaps:
        values[np.random.default_rng(2).random(shape) < 0.2] = np.nan
        values[0, 0, 0] = 3
    turn = np.eye(4)
    turn[:3, :3] = np.eye(3)[:, order] * np.where(flips, -1, 1)
    path = put_volume(folder / "scan.nii", values.T, turn)
    job = Job(str(path), folder / "mask.nii", view=tuple(views), also=LAYERS)
    report = segment(job, PLAIN, predictor=network)
    seen = in_ras(path)
    valid = ~np.isnan(seen)
    mean, spread = mean_and_spread(np.nan_to_num(seen), valid, views, [network], patch, overlap, network.margin)
    found = compare(job.output, mean, spread, valid)["disagreement"]
    if len(views) > 1:
        assert report.seam_index is None
        assert report.disagreement == pytest.approx(np.nanmean(found.astype(np.float64)), abs=1e-6)
    else:
        turned = np.array(seen.shape)[list(AXES[views[0]])]
        lattice = Lattice(tuple(turned.tolist()), (1, *patch), (0, *overlap), (0, 0, 0))
        shared = np.zeros(lattice.shape, int)
        for start in product(*lattice.starts):
            shared[lattice.patch_at(start).slices] += 1
        cells = found.transpose(AXES[views[0]])[(shared > 1) & valid.transpose(AXES[views[0]])]
        assert report.disagreement is None
        assert report.seam_index == (pytest.approx(cells.mean(dtype=np.float64), abs=1e-6) if cells.size else None)


@pytest.fixture(scope="module")
def soft(models, tmp_path_factory):
    """Two models for volumes, whose scores are probabilities."""
    folder, model = tmp_path_factory.mktemp("soft"), load_model(models / "volume")
    steady = Normalization("fixed", (100.0,), (50.0,))
    spec = quick_to_compile(model.card.network)
    card, network = (
        replace(model.card, averaging="softmax", normalization=steady, network=spec),
        undecided(weighty(spec, SEED)),
    )
    save_model(folder / "one", replace(card, name="one"), network)
    other = replace(card, name="other", normalization=replace(steady, mean=(60.0,)))
    save_model(folder / "other", other, network)
    return str(folder / "one"), str(folder / "other")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    values = pixels(SHAPE, seed=4).astype(np.float32)
    values[:, 3:7, 5:9] = np.nan
    return put_volume(tmp_path_factory.mktemp("scan") / "scan.nii.gz", values.T, TURN)


@pytest.fixture(scope="module")
def made(scan, soft, tmp_path_factory):
    """What segments the scan in some views: once in each, in whatever order the tests come."""

    @cache
    def make(views):
        output = tmp_path_factory.mktemp("whole") / "m_mask.nii.gz"
        job = Job(str(scan), output, soft[0], patch=PATCH, overlap=OVERLAP, view=views, also=LAYERS)
        return job, segment(job, PLAIN)

    return make


@pytest.fixture(params=["axial", "coronal", THREE])
def whole(request, made):
    """A job with all layers, made in one go, and its report."""
    return made(request.param)


def network_of(path):
    model = load_model(path)
    return CpuPredictor(build_inference_model(model), Scaling.of(model.card))


def files_of(job):
    """Bytes of a mask, of its layers, and of what lies beside them."""
    return [contents(path) for path in (job.output, *(layer_path(job.output, name) for name in LAYERS))]


def again(job, folder, name="m_mask.nii.gz", **how):
    return replace(job, output=folder / name, **how)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("views", "weights", "several"),
    [
        (ALL, (2.0, 0.5, 1.0), True),
        (("sagittal",), None, True),
        (("sagittal",), None, False),
        loop(ALL, (2.0, 0.5, 1.0), False),
    ],
)
def test_layers_of_networks_are_those_of_sums_over_whole_arrays(scan, soft, tmp_path, views, weights, several):
    models = soft if several else soft[:1]
    if weights:
        first = load_model(soft[0])
        save_model(tmp_path / "one", replace(first.card, views=views, view_weights=weights), first.network)
        models = (str(tmp_path / "one"), *models[1:])
    view = None if weights else views
    job = Job(str(scan), tmp_path / "mask.nii.gz", models, patch=PATCH, overlap=OVERLAP, view=view, also=LAYERS)
    report = segment(job, PLAIN)
    seen = in_ras(scan)
    valid, networks = ~np.isnan(seen), [network_of(path) for path in models]
    mean, spread = mean_and_spread(np.nan_to_num(seen), valid, views, networks, PATCH, OVERLAP, 1, weights)
    found = compare(job.output, mean, spread, valid)["disagreement"]
    assert np.nanmax(found) > 0.1, "networks of one opinion test nothing"
    assert (report.disagreement is None) == (len(views) == 1 and not several)
    assert 0 < (report.disagreement or report.seam_index) < 0.71


@pytest.mark.slow
def test_layers_lie_exactly_where_the_mask_lies_and_say_what_they_are(whole, scan):
    job, report = whole
    before, mask = nibabel.load(scan), nibabel.load(job.output)
    names = [entry.name for entry in mask_info(job.output).classes]
    for name in LAYERS:
        path = layer_path(job.output, name)
        found, bands = nibabel.load(path), names if name in ("probabilities", "scores") else [name]
        assert found.shape == (*mask.shape, len(bands))[: 3 + (len(bands) > 1)]
        for field in FIELDS:
            np.testing.assert_array_equal(found.header[field], before.header[field])
        np.testing.assert_array_equal(found.header["pixdim"][:4], before.header["pixdim"][:4])
        assert (int(found.header["intent_code"]), found.header.get_slope_inter()) == (0, (None, None))
        assert check(str(path), str(scan)) == check(str(path), str(job.output)) == []
        beside = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert (beside["layer"], beside["bands"]) == (name, bands)
        assert beside["made"]["also"] == list(LAYERS)
        figures = {key: beside["made"].get(key) for key in ("seam_index", "disagreement")}
        expected = (report.seam_index, report.disagreement) if name == "disagreement" else (None, None)
        assert tuple(figures.values()) == expected
    assert listing(job.output.parent) == {
        f"m_mask{layer}.{suffix}" for layer in ("", *(f"_{name}" for name in LAYERS)) for suffix in ("nii.gz", "json")
    }


@pytest.mark.slow
def test_the_labels_are_those_of_a_run_without_layers(whole, tmp_path):
    job = again(whole[0], tmp_path, also=None)
    segment(job, PLAIN)
    np.testing.assert_array_equal(labels_of(job.output), labels_of(whole[0].output))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("whole", "how"),
    [
        ("axial", {"workers": 2}),
        (THREE, {"rows": 64}),
        (THREE, {"workers": 2}),
        loop("axial", {"rows": 64}),
        loop("coronal", {"rows": 64}),
        loop("coronal", {"workers": 2}),
    ],
    indirect=["whole"],
)
def test_the_same_bytes_however_they_are_made(whole, tmp_path, how):
    job = again(whole[0], tmp_path)
    report = segment(job, replace(PLAIN, **how))
    assert files_of(job) == files_of(whole[0])
    assert (report.seam_index, report.disagreement) == (whole[1].seam_index, whole[1].disagreement)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("whole", "number"),
    [
        *[("axial", number) for number in (0, 1)],
        *[(THREE, number) for number in (0, 3, 6, 7)],
        *[loop(THREE, number) for number in (1, 2, 4, 5)],
        *[loop("coronal", number) for number in (0, 1)],
    ],
    indirect=["whole"],
)
def test_a_run_killed_at_any_slab_goes_on_to_the_same_bytes(whole, tmp_path, number, monkeypatch):
    job, left = again(whole[0], tmp_path), [number]
    mark = Ledger.mark

    def mark_or_stop(ledger, slab, digests):
        if not left[0]:
            raise Interrupted
        left[0] -= 1
        mark(ledger, slab, digests)

    monkeypatch.setattr(Ledger, "mark", mark_or_stop)
    slabs = sum(len(sweep.slabs(PLAIN)) for sweep in sweeps_of(prepare(job, PLAIN)))
    if number < slabs:
        with pytest.raises(Interrupted):
            segment(job, PLAIN)
        assert not job.output.exists()
        monkeypatch.undo()
        segment(job, PLAIN)
        assert files_of(job) == files_of(whole[0])


@pytest.mark.slow
@pytest.mark.parametrize("view", ["axial,coronal", "coronal", loop("axial")])
def test_strips_change_no_byte(soft, tmp_path, view):
    path = put_volume(tmp_path / "wide.nii", pixels((33, 9, 330), seed=2).T.astype(np.int16), np.eye(4))
    job = Job(str(path), tmp_path / "m_mask.nii.gz", soft[0], view=view, also=LAYERS)
    segment(job, PLAIN)
    narrow = replace(PLAIN, memory=max(sweep.memory(256) for sweep in sweeps_of(prepare(job, PLAIN))))
    assert any(slab.shape[-1] < 330 for sweep in sweeps_of(prepare(job, narrow)) for slab in sweep.slabs(narrow))
    other = again(job, tmp_path / "narrow")
    other.output.parent.mkdir()
    segment(other, narrow)
    assert files_of(other) == files_of(job)


@pytest.mark.slow
def test_what_is_averaged_is_cut_to_the_memory_too_or_refused(scan, soft, tmp_path):
    values = pixels((8, 20, 300), seed=2).T.astype(np.int16)
    job = Job(str(put_volume(tmp_path / "wide.nii", values, np.eye(4))), tmp_path / "m.nii.gz", soft[0], also=LAYERS)
    job = replace(job, view="coronal,sagittal", patch=(8, 64), overlap=(0, 16))
    averaging = Averaging(prepare(job, PLAIN))
    needed = averaging.memory(256)
    assert averaging.memory() > needed > averaging.memory(64)
    assert {slab.shape[-1] for slab in averaging.slabs(replace(PLAIN, memory=needed))} == {256, 44}
    with pytest.raises(RequestError, match="the narrowest strip needs"):
        averaging.slabs(replace(PLAIN, memory=needed - 1))
    segment(job, PLAIN)
    other = again(job, tmp_path / "narrow", "m.nii.gz")
    other.output.parent.mkdir()
    least = max(needed, *(sweep.memory(256) for sweep in sweeps_of(prepare(job, PLAIN))))
    assert least < averaging.memory()
    segment(other, replace(PLAIN, memory=least))
    assert files_of(other) == files_of(job)
    plans = [plan(job, replace(PLAIN, memory=memory), probe=False).memory_bytes for memory in (None, least)]
    assert plans[0] > least >= plans[1]


@pytest.mark.slow
def test_a_store_holds_the_same_as_a_file(whole, tmp_path):
    job = again(whole[0], tmp_path, "m_mask.zarr")
    segment(job, PLAIN)
    for name in LAYERS:
        store, file = layer_path(job.output, name), layer_path(whole[0].output, name)
        values = np.asanyarray(nibabel.load(file).dataobj).T
        found = zarr.open_group(store, mode="r")[name]
        stored = found[:]
        assert stored.dtype == (np.float32 if name == "scores" else np.uint8)
        scaled = stored * found.attrs.get("scale_factor", 1) + found.attrs.get("add_offset", 0)
        seen = ~np.isnan(values)
        np.testing.assert_allclose(scaled[seen], values[seen], atol=1e-6)
        assert (np.isnan(stored) if name == "scores" else stored == 0)[~seen].all()
        source = ZarrSource(store)
        assert source.provenance["also"] == list(LAYERS)
        assert source.read(Box.whole(source.grid.shape)).values.shape[0] == (2 if values.ndim > 3 else 1)
        assert check(str(store), whole[0].input) == []
    assert listing(tmp_path) & {"m_mask.zarr.partial"} == set()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_stores_are_images_of_ome_zarr_and_nifti_zarr(whole, tmp_path):
    job = again(whole[0], tmp_path, "m_mask.zarr")
    segment(job, PLAIN)
    for name in LAYERS:
        store, expected = layer_path(job.output, name), nibabel.load(layer_path(whole[0].output, name))
        root = zarr.open_group(store, mode="r")
        axes = Image.from_zarr(root).attributes.ome.multiscales[0].axes
        assert [axis.name for axis in axes] == ["c", "z", "y", "x"][-expected.ndim :]
        found = zarr2nii(str(store))
        np.testing.assert_array_equal(found.header.get_best_affine(), expected.affine)
        values = np.asanyarray(expected.dataobj)
        seen = ~np.isnan(values)
        header = nibabel.Nifti1Header(root["nifti"][:].tobytes(), check=False)
        slope, offset = float(header["scl_slope"]), float(header["scl_inter"])  # which nifti-zarr leaves to its readers
        scaled = np.asarray(found.get_fdata()).reshape(values.shape) * slope + offset
        np.testing.assert_allclose(scaled[seen], values[seen], atol=1e-5)
        assert int(header["intent_code"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("view", ["axial", "sagittal", ALL])
def test_one_volume_of_a_series_has_layers_without_its_time(soft, tmp_path, view):
    image = nibabel.Nifti1Image(np.stack([pixels(SHAPE, seed).T for seed in (1, 2)], axis=-1).astype(np.int16), TURN)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.5
    image.set_sform(TURN, 3)
    image.set_qform(TURN, 1)
    nibabel.save(image, tmp_path / "series.nii.gz")
    job = Job(str(tmp_path / "series.nii.gz"), tmp_path / "m.nii.gz", soft[0], view=view, volume=1, also=LAYERS)
    with pytest.raises(Exception, match="disagree"):
        segment(job, PLAIN)
    job = replace(job, affine="sform")
    segment(job, PLAIN)
    for name in LAYERS:
        found = nibabel.load(layer_path(job.output, name))
        for field in FIELDS:
            np.testing.assert_array_equal(found.header[field], image.header[field])
        several = found.ndim == 4
        assert found.header.get_xyzt_units() == ("mm", "unknown" if several else "sec")
        assert found.header["pixdim"][4] == (1 if several else 2.5)
        assert found.shape[3:] == ((2,) if several else ())
        assert check(str(layer_path(job.output, name)), job.input) == []


@pytest.mark.slow
def test_layers_of_a_series_of_dicom_lie_where_its_mask_lies(soft, tmp_path):
    series = put_series(tmp_path / "ct", pixels((34, 40, 50)).astype(np.int16), orientation=TILTED)
    job = Job(str(series), tmp_path / "m.nii.gz", soft[0], also=LAYERS)
    segment(job, PLAIN)
    mask = nibabel.load(job.output)
    for name in LAYERS:
        found = nibabel.load(layer_path(job.output, name))
        np.testing.assert_array_equal(found.affine, mask.affine)
        assert [int(found.header[f"{form}_code"]) for form in ("sform", "qform")] == [2, 0]
        assert check(str(layer_path(job.output, name)), str(series)) == []


@pytest.mark.slow
def test_what_is_made_is_left_and_what_is_missing_cut_or_foreign_is_not(scan, soft, tmp_path):
    job = Job(str(scan), tmp_path / "m_mask.nii.gz", soft[0], also="scores,confidence")
    assert segment(job, PLAIN).status == "done"
    assert segment(job, PLAIN).status == "skipped"
    before, scores = files_of(job), layer_path(job.output, "scores")
    scores.write_bytes(scores.read_bytes()[:-3000])
    assert segment(job, PLAIN).status == "done"
    layer_path(job.output, "confidence").unlink()
    assert segment(job, PLAIN).status == "done"
    assert files_of(job) == before
    theirs = replace(job, output=tmp_path / "other.nii.gz")
    (tmp_path / "other_scores.json").write_text('{"mine": 1}')
    with pytest.raises(OutputError, match=r"other_scores\.json: already exists"):
        segment(theirs, PLAIN)
    (tmp_path / "other_scores.json").unlink()
    (tmp_path / "other_scores.nii.gz").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"other_scores\.nii\.gz: already exists"):
        segment(theirs, PLAIN)
    assert segment(theirs, replace(PLAIN, overwrite=True)).status == "done"


@pytest.mark.parametrize("suffix", [".nrrd", ".seg.nrrd", ".mha"])
def test_formats_without_layers_are_refused(scan, soft, tmp_path, suffix):
    job = Job(str(scan), tmp_path / f"m{suffix}", soft[0], also="confidence")
    with pytest.raises(
        RequestError,
        match=rf"m\{suffix}: layers of a volume are written as \.nii, \.nii\.gz, \.zarr; give such an --output",
    ):
        segment(job, PLAIN)
    assert listing(tmp_path) == set()


def test_a_plan_counts_layers_and_the_squares_of_views(scan, soft, tmp_path):
    job = Job(str(scan), tmp_path / "m.nii.gz", soft[0], view=ALL)
    cells = int(np.prod(SHAPE))
    plain, confident, split = (
        plan(replace(job, also=also), PLAIN, probe=False).disk_bytes for also in (None, "confidence", "disagreement")
    )
    assert confident - plain == (1 + 4) * cells
    assert split - confident == 3 * 4 * cells
    stored = plan(replace(job, output=tmp_path / "m.zarr", also="confidence"), PLAIN, probe=False).disk_bytes
    assert stored - plain == 2 * cells


@pytest.mark.slow
def test_a_sink_is_given_layers_in_the_axes_of_the_volume(whole):
    job, _ = whole
    shape = nibabel.load(job.input).shape[::-1]
    kept = [np.zeros((*lead, *shape), kind) for lead, kind in [((), "u1"), ((), "u1"), ((2,), "u1"), ((2,), "f4")]]

    class Sink:
        def write(self, slab, values, *, whole=True):
            for to, each in zip(kept, values, strict=False):
                to[(..., *slab.slices)] = each

    if "," in job.view:
        with pytest.raises(RequestError, match="a sink is given the labels of one view"):
            segment(replace(job, output=None), PLAIN, sink=Sink())
        return
    segment(replace(job, output=None), PLAIN, sink=Sink())
    np.testing.assert_array_equal(kept[0], labels_of(job.output).T)
    np.testing.assert_array_equal(kept[3], np.asanyarray(nibabel.load(layer_path(job.output, "scores")).dataobj).T)


def test_layers_of_volumes_are_no_inputs(tmp_path):
    for name in ("a.nii.gz", "a_mask.nii.gz", "a_mask_scores.nii.gz", "sub-1_dseg.nii.gz", "sub-1_dseg_scores.nii.gz"):
        (tmp_path / name).write_bytes(b"x")
    assert find_inputs([str(tmp_path)]) == (str(tmp_path / "a.nii.gz"),)
