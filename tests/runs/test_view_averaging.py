"""Several views of a volume averaged: what a plain loop gives, however the run is cut, stopped and gone on with."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from threading import Event

import nibabel
import numpy as np
import pytest

from pipeline.engine.ledger import Ledger
from pipeline.errors import Interrupted, OutputError, RequestError
from pipeline.geometry import Box, Lattice
from pipeline.io.zarr import ZarrSource
from pipeline.jobs.job import Job, Resources
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.runtime import build_inference_model
from pipeline.models.store import load_model, save_model
from pipeline.runs import predictors
from pipeline.runs.plan import plan
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.runs.view_sweep import sweeps_of
from pipeline.sources.statistics import InputStatistics
from tests.runs.test_segment import agree, reference
from tests.support.inputs import VOLUME_CARD, contents, labels_of, listing, pixels, put_volume
from tests.support.loops import loop
from tests.support.observers import Callbacks
from tests.support.processes import start_pipeline

pytestmark = pytest.mark.slow

SHAPE = (66, 35, 37)
"""(z, y, x), in axes that are nobody's."""
TURN = np.array([[0.1, -0.7, 0.2, 10], [-0.6, 0, 0.1, -20], [0.1, 0.1, -1.7, 30], [0, 0, 0, 1]])
AXES = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}
"""By view: which axes of an array (z, y, x) are swept, are rows and are columns."""
ALL = "axial,coronal,sagittal"
SLABS = {"axial": 3, "coronal": 2, "sagittal": 2}
PLAIN = Resources(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def whole(models, tmp_path_factory):
    """A job of all views, and its mask, made in one go."""
    folder = tmp_path_factory.mktemp("whole")
    path = put_volume(folder / "scan.nii.gz", pixels(SHAPE, seed=4).T.astype(np.int16), TURN)
    job = Job(str(path), folder / "mask.nii", str(models / "volume"), view=ALL)
    segment(job, PLAIN)
    return job


def again(whole, tmp_path):
    return replace(whole, output=tmp_path / "mask.nii")


def work_of(job):
    return job.output.with_name(job.output.name + ".partial")


def marks_of(job, view=""):
    done = work_of(job) / view / "done"
    return len(list(done.iterdir())) if done.is_dir() else 0


def stop_before_mark(job, number, means=PLAIN):
    """Run a job until as many slabs, of whatever view, are marked; the next is written, but not marked."""
    mark, left = Ledger.mark, [number]

    def mark_or_stop(ledger, slab, digests):
        if not left[0]:
            raise Interrupted
        left[0] -= 1
        mark(ledger, slab, digests)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "mark", mark_or_stop)
        with pytest.raises(Interrupted):
            segment(job, means)
    assert sum(marks_of(job, view) for view in ("", *SLABS)) == number


@pytest.mark.parametrize(
    ("views", "weights"),
    [
        (("coronal", "sagittal"), ()),
        (tuple(AXES), (2.0, 0.5, 1.0)),
        loop(tuple(AXES), ()),
        loop(("axial", "sagittal"), (7, 1)),
    ],
)
def test_a_mask_is_what_plain_loops_over_the_views_make_of_it(whole, tmp_path, views, weights):
    job = replace(again(whole, tmp_path), view=views)
    if weights:
        model = load_model(job.model)
        save_model(tmp_path / "model", replace(model.card, views=views, view_weights=weights), model.network)
        job = replace(job, model=str(tmp_path / "model"), view=None)
    segment(job, PLAIN)
    ras = nibabel.as_closest_canonical(nibabel.load(job.input))
    values = np.asanyarray(ras.dataobj).T[None].astype(np.float32)
    model = load_model(job.model)
    scaling = Scaling.of(model.card, InputStatistics((float(values.mean()),), (float(values.std()),)))
    predictor = CpuPredictor(build_inference_model(model), scaling)
    valid = np.ones(values.shape[1:], bool)
    total = np.zeros((2, *valid.shape))
    for view, weight in zip(views, weights or (1,) * len(views), strict=True):
        turned = values.transpose(0, *(1 + axis for axis in AXES[view]))
        lattice = Lattice(turned.shape[1:], (1, *VOLUME_CARD.patch), (0, *VOLUME_CARD.overlap), (1, 0, 0))
        scores = reference(turned, np.ones(turned.shape[1:], bool), lattice, predictor, 2)
        total += weight * scores.transpose(0, *(1 + axis for axis in np.argsort(AXES[view])))
    found = np.asanyarray(nibabel.as_closest_canonical(nibabel.load(job.output)).dataobj).T
    agree(found, total / sum(weights or (1,) * len(views)), valid)


def test_the_views_of_a_run_differ(whole, tmp_path):
    """Else the tests of this module would see nothing."""
    labels = [labels_of(whole.output)]
    for view in AXES:
        job = Job(whole.input, tmp_path / f"{view}.nii", whole.model, view=view)
        segment(job, PLAIN)
        labels.append(labels_of(job.output))
    assert all((a != b).mean() > 0.01 for i, a in enumerate(labels) for b in labels[:i])


@pytest.mark.parametrize("number", [0, 3, 7, 8, loop(1), loop(4), loop(6)])
def test_a_run_killed_at_any_band_goes_on(whole, tmp_path, number):
    job = again(whole, tmp_path)
    assert sum(SLABS.values()) == 7
    stop_before_mark(job, number)
    assert not job.output.exists()
    told = []
    assert segment(job, PLAIN, Callbacks(started=lambda *cells: told.append(cells))).status == "done"
    assert contents(job.output) == contents(whole.output)
    assert listing(tmp_path) == {"mask.nii", "mask.json"}
    cells = np.prod(SHAPE)
    assert told[0][0] == 3 * cells
    assert told[0][1] == 3 * cells if number >= 7 else told[0][1] < 3 * cells


@pytest.mark.parametrize("when", ["coronal", "averaging", loop("axial"), loop("sagittal")])
def test_a_run_stopped_in_any_view_goes_on(whole, tmp_path, when):
    job, stop = again(whole, tmp_path), Event()
    observer = Callbacks(
        stop,
        slab_done=lambda _: stop.set() if marks_of(job, when) else None,
        phase=lambda name: stop.set() if name == when else None,
    )
    with pytest.raises(Interrupted, match="run the same command again"):
        segment(job, PLAIN, observer)
    done = {view: marks_of(job, view) for view in SLABS}
    before = list(SLABS)[: list(SLABS).index(when)] if when in SLABS else list(SLABS)
    assert all(done[view] == SLABS[view] for view in before)
    assert when == "averaging" or 0 < done[when] <= SLABS[when]
    segment(job, PLAIN)
    assert contents(job.output) == contents(whole.output)


def test_a_killed_process_goes_on_with_workers_in_other_bands(whole, tmp_path):
    job = again(whole, tmp_path)
    words = ["run", "-i", job.input, "-o", str(job.output), "-m", job.model, "--view", ALL, "--no-prefect"]
    means = ["--device", "cpu", "--precision", "float32"]
    process = start_pipeline(*words, *means, out=tmp_path / "log", err=tmp_path / "log")
    until = time.monotonic() + 120
    while not marks_of(job, "coronal"):
        assert process.exitcode is None
        assert time.monotonic() < until
        time.sleep(0.005)
    process.kill()
    process.join()
    told = [0.0]
    watch = Callbacks(started=lambda cells, done: told.append(done), advanced=told.append)
    segment(job, replace(PLAIN, workers=2), watch)
    assert sum(told) == pytest.approx(3 * np.prod(SHAPE))
    assert contents(job.output) == contents(whole.output)


def test_bands_and_strips_change_no_byte(models, tmp_path):
    path = put_volume(tmp_path / "wide.nii", pixels((33, 9, 330), seed=2).T.astype(np.int16), np.eye(4))
    job = Job(str(path), tmp_path / "a.nii", str(models / "volume"), view="axial,coronal")
    segment(job, PLAIN)
    narrow = replace(PLAIN, memory=max(sweep.memory(256) for sweep in sweeps_of(prepare(job, PLAIN))))
    assert [len(sweep.slabs(narrow)) for sweep in sweeps_of(prepare(job, narrow))] == [2, 2]
    for number, means in enumerate((narrow, replace(PLAIN, rows=64))):
        other = replace(job, output=tmp_path / f"b{number}.nii")
        segment(other, means)
        assert contents(other.output) == contents(job.output)


def test_a_store_holds_the_same_as_a_file(whole, tmp_path):
    job = replace(whole, output=tmp_path / "mask.zarr")
    segment(job, PLAIN)
    source = ZarrSource(job.output)
    before = nibabel.load(job.input)
    assert np.array_equal(np.array(source.grid.affine)[:, [2, 1, 0, 3]], before.affine)
    assert np.array_equal(source.read(Box.whole(source.grid.shape)).values[0].T, labels_of(whole.output))


def test_a_mask_lies_where_its_volume_lies_and_names_its_views(whole):
    before, after = nibabel.load(whole.input), nibabel.load(whole.output)
    assert np.array_equal(after.affine, before.affine)
    assert json.loads((whole.output.with_suffix(".json")).read_text())["made"]["view"] == ALL.split(",")
    assert listing(whole.output.parent) == {"scan.nii.gz", "mask.nii", "mask.json"}


def test_a_card_may_name_several_views(whole, models, tmp_path):
    model = load_model(whole.model)
    save_model(tmp_path / "model", replace(model.card, views=tuple(ALL.split(","))), model.network)
    job = replace(again(whole, tmp_path), model=str(tmp_path / "model"), view=None)
    setup = prepare(job, PLAIN)
    assert [view.name for view in setup.views] == list(AXES)
    assert prepare(replace(job, view="coronal"), PLAIN).fingerprint()["view"] == "coronal"
    segment(job, PLAIN)
    assert np.array_equal(labels_of(job.output), labels_of(whole.output))


def test_another_order_is_another_run(whole, tmp_path):
    job = again(whole, tmp_path)
    stop_before_mark(job, 1)
    with pytest.raises(OutputError, match=r"view \['axial', 'coronal', 'sagittal'\] \(now \['coronal', 'axial'\]\)"):
        segment(replace(job, view="coronal,axial"), PLAIN)


def test_one_view_needs_no_scores(whole, tmp_path):
    job = replace(again(whole, tmp_path), view="coronal")
    stop_before_mark(job, 0)
    assert {path.name for path in work_of(job).iterdir()} == {
        "done",
        "run.json",
        "mask.zarr",
        "volume.zarr",
        "volume.json",
        "statistics.json",
    }


def test_a_plan_counts_all_views_and_their_scores(whole):
    one, three = (plan(replace(whole, view=view), PLAIN, probe=False) for view in ("coronal", ALL))
    cells = int(np.prod(SHAPE))
    assert three.disk_bytes - one.disk_bytes == 3 * 2 * 4 * cells
    coronal = sweeps_of(prepare(whole, PLAIN))[1]
    held = 3 * 32 * (2 * 4 - 1) * int(np.prod(coronal.grid.shape[1:]))
    assert coronal.memory() - one.memory_bytes == held
    assert three.bands == sum(SLABS.values())
    setup = prepare(whole, PLAIN)
    assert three.patches == sum(len(view.lattice) for view in setup.views) > one.patches
    assert plan(whole, PLAIN).seconds > 0


def test_a_failure_before_any_band_leaves_nothing(whole, tmp_path, monkeypatch):
    def fails(*_):
        raise MemoryError("no")

    monkeypatch.setattr(predictors, "build_predictor", fails)
    with pytest.raises(MemoryError):
        segment(again(whole, tmp_path), PLAIN)
    assert listing(tmp_path) == set()


def test_a_failure_after_a_band_keeps_it(whole, tmp_path, monkeypatch):
    job, make = again(whole, tmp_path), predictors.build_predictor

    def failing(sweep, *rest):
        if sweep.view.name != "axial":
            raise MemoryError("no")
        return make(sweep, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(predictors, "build_predictor", failing)
        with pytest.raises(MemoryError):
            segment(job, PLAIN)
    assert marks_of(job, "axial") == SLABS["axial"]
    assert segment(job, PLAIN).status == "done"


@pytest.mark.parametrize(
    ("view", "words"),
    [("axial,frontal", "unknown view 'frontal'"), (("axial", "axial"), "view axial,axial: each can be given once")],
)
def test_views_that_cannot_be_had_are_refused(whole, view, words):
    with pytest.raises(RequestError, match=words):
        prepare(replace(whole, view=view), PLAIN)
