"""Stopped, killed and begun again: always the bytes of a run that was left alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from threading import Event

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.engine.ledger import Ledger
from pipeline.errors import Interrupted, OutputError, PatchError
from pipeline.files.atomic import remove
from pipeline.geometry import Box, cut_slabs
from pipeline.io import mask_files
from pipeline.io.opening import open_source
from pipeline.jobs.job import Job, Resources
from pipeline.models.catalogue import load_card
from pipeline.models.inference import device as device_room
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.device import choose_numerics, fast_in_bf16
from pipeline.models.store import load_model, save_model
from pipeline.runs import predictors as network_room
from pipeline.runs import publish
from pipeline.runs.observer import SILENT
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.runs.view_sweep import sweeps_of
from pipeline.runs.work import begin_work
from tests.support.inputs import contents, listing, pixels, put_scene, put_volume
from tests.support.observers import Callbacks
from tests.support.output import without_progress
from tests.support.processes import start_pipeline

pytestmark = pytest.mark.slow

STOPPED = 130
ROWS, COLUMNS, SLABS = 4500, 90, 5


@pytest.fixture
def job(scene, models, tmp_path):
    return Job(str(scene), tmp_path / "out.tif", str(models / "scene"))


def work_of(job):
    return job.output.with_name(job.output.name + ".partial")


def marks_of(job):
    done = work_of(job) / "done"
    return {mark.name for mark in done.iterdir()} if done.is_dir() else set()


def begin(job, means=Resources()):
    """Run a job until just its first slab is done."""
    mark = Ledger.mark

    def mark_and_stop(ledger, slab, digests):
        if marks_of(job):
            raise Interrupted
        mark(ledger, slab, digests)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "mark", mark_and_stop)
        with pytest.raises(Interrupted):
            segment(job, means)
    assert len(marks_of(job)) == 1


class Counting:
    """A network that counts its patches."""

    def __init__(self, network):
        self.network, self.count = network, 0
        self.classes, self.batch, self.threads = network.classes, network.batch, network.threads

    def __call__(self, values, valid):
        self.count += len(values)
        return self.network(values, valid)


def test_work_in_bfloat16_of_an_older_version_goes_on_in_its_rounding(tall, tmp_path, monkeypatch):
    """Its convolutions were rounded before what follows them, and its fingerprint did not say so."""
    means = Resources(device="cpu", precision="bfloat16", runtime="torch")
    old, whole = (replace(tall, output=tmp_path / f"{name}.tif") for name in ("old", "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(device_room, "choose_numerics", lambda *asked: replace(choose_numerics(*asked), fused=False))
        segment(whole, means)
        begin(old, means)
    assert "fused" not in Ledger(work_of(old)).fingerprint
    segment(old, means)
    assert old.output.read_bytes() == whole.output.read_bytes()
    assert segment(whole, means).status == "skipped"
    assert prepare(old, means).fingerprint().get("fused") == (fast_in_bf16("cpu") or None)


def test_a_stopped_run_goes_on_and_computes_nothing_twice(tall, tmp_path, monkeypatch):
    job, stop = replace(tall, output=tmp_path / "out.tif"), Event()
    with pytest.raises(Interrupted, match="run the same command again"):
        segment(job, Resources(), Callbacks(stop, advanced=lambda _: stop.set() if marks_of(job) else None))
    marks = marks_of(job)
    assert 0 < len(marks) < SLABS
    assert not job.output.exists()
    networks = []
    make = network_room.build_predictor
    monkeypatch.setattr(network_room, "build_predictor", lambda *a: networks.append(Counting(make(*a))) or networks[-1])
    begun = []
    assert segment(job, observer=Callbacks(started=lambda *cells: begun.append(cells))).status == "done"
    assert contents(job.output) == contents(tall.output)
    (sweep,) = sweeps_of(prepare(job, Resources()))
    slabs = sweep.slabs(Resources())
    left = [slab for slab in slabs if f"{slab.start[0]}-{slab.stop[0]}_0-{COLUMNS}" not in marks]
    assert begun == [(ROWS * COLUMNS, ROWS * COLUMNS - sum(slab.size for slab in left))]
    touching = [p for _, row in sweep.lattice.rows() for p in row if any(p.clip(slab).size for slab in left)]
    assert 0 < sum(n.count for n in networks) <= len(touching) < len(sweep.lattice)
    assert listing(job.output.parent) == {"out.tif", "out.tif.aux.xml"}


def test_a_run_goes_on_by_other_means(tall, tmp_path):
    job = replace(tall, output=tmp_path / "out.tif")
    begin(job)
    segment(job, Resources(rows=2048))
    assert contents(job.output) == contents(tall.output)


def test_a_run_that_did_not_stage_its_volume_goes_on_with_one_that_does(models, tmp_path):
    """Workers read a packed volume from a copy, which a run by itself has no need of."""
    card = load_card(models / "volume")
    fixed = replace(card.normalization, kind="fixed", mean=(100.0,), std=(50.0,))
    save_model(tmp_path / "model", replace(card, normalization=fixed), load_model(models / "volume").network)
    scan = put_volume(tmp_path / "scan.nii.gz", pixels((70, 20, 24)).T.astype(np.int16), np.diag([1.0, 1, 2, 1]))
    job = Job(str(scan), tmp_path / "a.nii", str(tmp_path / "model"))
    whole = replace(job, output=tmp_path / "b.nii")
    segment(whole)
    begin(job)
    assert not (tmp_path / "a.nii.partial" / "volume.zarr").exists()
    begin_work(prepare(job, Resources(workers=2)), Ledger(tmp_path / "a.nii.partial"), SILENT)
    assert (tmp_path / "a.nii.partial" / "volume.zarr").exists()
    segment(job)
    assert contents(job.output) == contents(whole.output)


def command(job, *more):
    words = ["run", "--input", job.input, "--output", str(job.output), "--model", job.model, "--no-prefect", *more]
    return [sys.executable, "-m", "pipeline.cli", *words]


def begin_command(job, *more):
    """A command of its own that segments `job`, and has done its first slab."""
    process = subprocess.Popen(command(job, *more), stderr=subprocess.PIPE, start_new_session=True)
    wait_for_a_slab(job, process.poll)
    return process


def begin_process(job, log):
    """The same in a process that is at work at once."""
    process = start_pipeline(*command(job)[3:], out=log, err=log)
    wait_for_a_slab(job, lambda: process.exitcode)
    return process


def wait_for_a_slab(job, ended):
    until = time.monotonic() + 120
    while not marks_of(job):
        assert ended() is None
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture(scope="module")
def tall(models, tmp_path_factory):
    """A job of five slabs, so that there is time to end it, and its mask."""
    folder = tmp_path_factory.mktemp("tall")
    path = put_scene(folder / "tall.tif", pixels((2, ROWS, COLUMNS), seed=1), nodata=0)
    job = Job(str(path), folder / "mask.tif", str(models / "scene"))
    segment(job)
    return job


def test_a_killed_run_goes_on(tall, tmp_path, tmp_path_factory):
    job = replace(tall, output=tmp_path / "out.tif")
    process = begin_process(job, tmp_path_factory.mktemp("log") / "log")
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert 1 <= len(marks_of(job)) < SLABS
    assert not job.output.exists()
    ended = CliRunner().invoke(app, command(job)[3:])
    assert (ended.exit_code, without_progress(ended.stderr)) == (0, "")
    assert contents(job.output) == contents(tall.output)
    assert listing(tmp_path) == {"out.tif", "out.tif.aux.xml"}


def test_a_second_run_on_one_output_is_told_who_holds_it(tall, tmp_path):
    job = replace(tall, output=tmp_path / "out.tif")
    process = begin_process(job, tmp_path / "log")
    os.kill(process.pid, signal.SIGSTOP)
    done = marks_of(job)
    with pytest.raises(OutputError, match=rf"out.tif: is being written by process {process.pid} on \S+ since 20\d\d-"):
        segment(job, Resources(restart=True))
    assert marks_of(job) == done, "nothing of it was touched"
    process.kill()
    process.join()
    assert segment(job).status == "done"
    assert contents(job.output) == contents(tall.output)


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone then workers", "workers then alone"])
def test_an_interrupted_run_says_so_and_goes_on(tall, tmp_path, workers):
    job = replace(tall, output=tmp_path / "out.tif")
    process = begin_command(job, *workers)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == STOPPED, said
    assert said.decode().splitlines()[-1] == "error: stopped; run the same command again to resume"
    assert len(without_progress(said.decode()).splitlines()) <= 3, said.decode()
    assert 1 <= len(marks_of(job)) <= SLABS
    told = [0.0]
    watch = Callbacks(started=lambda cells, done: told.append(done), advanced=told.append)
    segment(job, Resources(workers=None if workers else 2), watch)
    assert sum(told) == pytest.approx(ROWS * COLUMNS)
    assert contents(job.output) == contents(tall.output)


def other(job, tmp_path, models, what):
    """The job, but for one thing."""
    if what == "input.changed_ns":
        os.utime(job.input, ns=(10**18, 10**18))
        return job
    if what == "normalisation.mean":
        card = load_card(models / "scene")
        shifted = replace(card.normalization, mean=(1.0, 2.0))
        save_model(tmp_path / "model", replace(card, normalization=shifted), load_model(models / "scene").network)
        return replace(job, model=str(tmp_path / "model"))
    if what == "weights_sha256":
        model = load_model(models / "scene")
        model.network.head[4].bias += 1
        save_model(tmp_path / "model", model.card, model.network)
        return replace(job, model=str(tmp_path / "model"))
    return replace(
        job,
        **{
            "overlap": {"overlap": (8, 8)},
            "window": {"window": "hann"},
            "bands": {"bands": (2, 1)},
            "tta": {"tta": "flips"},
        }[what],
    )


FIELDS = {
    "overlap": r"overlap \[32, 24\] \(now \[8, 8\]\)",
    "window": r"window 'gaussian' \(now 'hann'\)",
    "bands": r"bands None \(now \[2, 1\]\)",
    "tta": r"tta None \(now \['flips'\]\)",
    "input.changed_ns": r"input.changed_ns 20\d\d-\S+ \S+ UTC \(now 2001-09-09 01:46:40.000000000 UTC\)",
    "normalisation.mean": r"normalisation.mean \[100.0, 50.0\] \(now \[1.0, 2.0\]\)",
    "weights_sha256": r"weights_sha256 '\w{64}' \(now '\w{64}'\)",
}


@pytest.mark.parametrize("what", FIELDS)
def test_another_run_is_refused_with_the_field_and_both_values(models, tmp_path, what):
    small = put_scene(tmp_path / "scene.tif", pixels((2, 1030, 20)))
    job = Job(str(small), tmp_path / "out.tif", str(models / "scene"))
    begin(job)
    another = other(job, tmp_path, models, what)
    with pytest.raises(
        OutputError, match=rf"unfinished run here used other settings: {FIELDS[what]}\..*--restart"
    ) as error:
        segment(another)
    assert str(error.value).count(" (now ") == 1
    assert len(marks_of(job)) == 1
    assert segment(another, Resources(restart=True)).status == "done"


def test_what_is_made_is_left_alone(scene, mask, models):
    before = mask.stat()
    job = Job(str(scene), mask, str(models / "scene"))
    report = segment(job)
    assert (report.status, report.reason) == ("skipped", "already made by this very job")
    assert mask.stat() == before or mask.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(OutputError, match=r"already exists, made with overlap \[32, 24\] \(now \[8, 8\]\); use --over"):
        segment(replace(job, overlap=(8, 8)))
    assert mask.stat().st_mtime_ns == before.st_mtime_ns


def test_an_output_that_is_not_ours_is_refused_and_then_replaced(models, tmp_path):
    small = put_scene(tmp_path / "scene.tif", pixels((2, 40, 20)))
    job = Job(str(small), put_scene(tmp_path / "out.tif", pixels((1, 9, 9))), str(models / "scene"))
    with pytest.raises(OutputError, match="made with something else"):
        segment(job)
    assert segment(job, Resources(overwrite=True)).status == "done"
    assert segment(job).status == "skipped"


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_a_mask_that_cannot_be_written_leaves_nothing_under_its_name(models, tmp_path, monkeypatch, name):
    small = put_scene(tmp_path / "scene.tif", pixels((2, 1030, 20)))
    job = Job(str(small), tmp_path / name, str(models / "scene"))
    with monkeypatch.context() as patch:
        if name.endswith(".tif"):
            patch.setattr(publish, "publish_mask", _half_writes(mask_files.publish))
        else:
            patch.setattr(publish, "export_store", _copies_half(publish.export_store))
        with pytest.raises(OSError, match="no room"):
            segment(job)
    assert listing(tmp_path) & {name, f"{name}.aux.xml"} == set()
    assert not [path for path in listing(tmp_path) if path.startswith(".")]
    assert len(list((tmp_path / f"{name}.partial" / "done").iterdir())) == 2
    assert segment(job).status == "done"
    assert not (tmp_path / f"{name}.partial").exists()


def _half_writes(write):
    """A writer whose rows end in the middle."""

    def half(mask, path):
        class Failing:
            grid, dtype, block = mask.labels.grid, mask.labels.dtype, (512, 512)

            def read(self, box):
                if box.start[0] > 0:
                    raise OSError("no room")
                return mask.labels.read(box)

        write(replace(mask, labels=Failing()), path)

    return half


def _copies_half(export):
    """A copy of a store that ends in the middle."""

    def half(store, path):
        export(store, path)
        (path / "mask/c/1/0").unlink()
        raise OSError("no room")

    return half


def test_a_run_that_fails_later_keeps_its_bands(tall, tmp_path, monkeypatch):
    job = replace(tall, output=tmp_path / "out.tif")
    make = network_room.build_predictor

    def failing(*args):
        class Failing(Counting):
            def __call__(self, values, valid):
                if marks_of(job):
                    raise ValueError("no")
                return super().__call__(values, valid)

        return Failing(make(*args))

    with monkeypatch.context() as patch:
        patch.setattr(network_room, "build_predictor", failing)
        with pytest.raises(ValueError, match="no"):
            segment(job)
    assert marks_of(job)
    assert segment(job).status == "done"


def test_a_run_that_fails_at_once_leaves_nothing(job, monkeypatch):
    def fails(*_):
        raise MemoryError("no")

    monkeypatch.setattr(network_room, "build_predictor", fails)
    with pytest.raises(MemoryError):
        segment(job)
    assert listing(job.output.parent) == set()


def test_a_finished_run_takes_its_leftovers_away(models, tmp_path):
    """Killed between the last rename and the removal of the work folder."""
    small = put_scene(tmp_path / "scene.tif", pixels((2, 1030, 20)))
    job = Job(str(small), tmp_path / "out.tif", str(models / "scene"))
    begin(job)
    before = {path: path.read_bytes() for path in (tmp_path / "out.tif.partial").rglob("*.json")}
    segment(job)
    for path, text in before.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    assert segment(job).status == "skipped"
    assert not (tmp_path / "out.tif.partial").exists()


def test_the_bands_of_the_tests_are_what_they_say():
    assert len(cut_slabs((ROWS, COLUMNS), 1024)) == SLABS
    assert cut_slabs((1030, 20), 1024)[0] == Box((0, 0), (1024, 20))


def test_a_model_is_loaded_once_until_it_changes(models, tmp_path):
    small = put_scene(tmp_path / "scene.tif", pixels((2, 40, 20)))
    job = Job(str(small), model=str(tmp_path / "model"))
    model = load_model(models / "scene")
    networks = []
    for averaging in ("softmax", "logits"):
        save_model(tmp_path / "model", replace(model.card, averaging=averaging), model.network)
        one, two = (network_room.build_predictor(*sweeps_of(prepare(job, Resources())), 1) for _ in range(2))
        assert one._model.card.averaging == averaging
        assert one._model is two._model
        networks.append(one._model)
    assert networks[0] is not networks[1]


def test_a_mask_that_another_device_made_is_left_alone(job, monkeypatch):
    segment(job)
    monkeypatch.setattr("pipeline.models.inference.device.choose_device", lambda asked: "cuda")
    assert segment(job).status == "skipped"


class FailsAt:
    """What the network computes, but for patches with one value: they fail while there is trouble."""

    def __init__(self, value):
        self.value, self.trouble, self.calls = value, True, 0
        self.real = CpuPredictor.__call__

    def install(self, monkeypatch):
        monkeypatch.setattr(CpuPredictor, "__call__", lambda network, *patch: self(network, *patch))

    def __call__(self, network, values, valid):
        self.calls += 1
        if self.trouble and (values == self.value).any():
            raise RuntimeError("no such kernel")
        return self.real(network, values, valid)


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_a_patch_that_fails_is_nodata_and_told_and_made_good_by_the_next_run(models, tmp_path, monkeypatch, name):
    image = pixels((2, 4000, 40))
    image[image == 77] = 78
    image[:, 2000, 20] = 77
    path = put_scene(tmp_path / "scene.tif", image)
    job = Job(str(path), tmp_path / name, str(models / "scene"), patch=(64, 64), overlap=(16, 16))
    segment(replace(job, output=tmp_path / f"whole_{name}"))
    expected = open_source(tmp_path / f"whole_{name}").read(Box.whole((4000, 40))).values[0]

    network = FailsAt(77)
    network.install(monkeypatch)
    words = ["run", "--input", str(path), "--output", str(job.output), "--model", job.model]
    ended = CliRunner().invoke(app, [*words, "--patch", "64", "--overlap", "16", "--no-prefect"])
    assert ended.exit_code == 1
    told = r"scene.tif: the network failed twice on 1 patch \(y/x \d+:\d+/0:40: RuntimeError: no such kernel\)"
    assert re.search(told, ended.stderr)
    labels = open_source(job.output).read(Box.whole((4000, 40))).values[0]
    gap = (labels == 255) & (expected != 255)
    rows = np.flatnonzero(gap.any(1))
    assert 2000 in rows
    assert len(rows) == 64
    assert gap[rows].all()
    np.testing.assert_array_equal(labels[~gap], expected[~gap])
    said = mask_files.mask_info(job.output).provenance
    assert (said["failed_patches"], said["failed_patches_at"]) == (1, [[[rows[0], 0], [rows[-1] + 1, 40]]])

    with pytest.raises(PatchError, match="retries them"):
        segment(job)
    all_calls = -(-(4000 - 16) // 48)
    network.trouble, network.calls = False, 0
    assert segment(job).status == "done"
    assert 0 < network.calls < all_calls / 2, "only the slabs with gaps are made again"
    assert contents(job.output) == contents(tmp_path / f"whole_{name}")
    assert listing(tmp_path) >= {name}
    assert not list(tmp_path.glob("*.partial"))
    assert segment(job).status == "skipped"


def test_a_mask_of_a_volume_says_where_patches_failed_in_its_own_axes(models, tmp_path, monkeypatch):
    values = np.random.default_rng(0).integers(0, 70, (40, 36, 6)).astype(np.int16)
    values[33, 4, 1] = 77
    scan = put_volume(tmp_path / "scan.nii.gz", values, np.diag([-1.0, 1.0, 2.0, 1.0]))
    job = Job(str(scan), tmp_path / "mask.nii.gz", str(models / "volume"), view="sagittal")
    FailsAt(77).install(monkeypatch)
    with pytest.raises(PatchError):
        segment(job)
    labels = np.asanyarray(nibabel.load(job.output).dataobj).transpose(2, 1, 0)
    said = mask_files.mask_info(job.output).provenance["failed_patches_at"]
    gap = np.zeros(labels.shape, bool)
    for start, stop in said:
        gap[Box(tuple(start), tuple(stop)).slices] = True
    np.testing.assert_array_equal(gap, labels == 255)
    assert gap[1, 4, 33]
    assert said == sorted(said)


def test_gaps_of_a_work_folder_that_is_gone_are_not_taken_for_a_whole_mask(models, tmp_path, monkeypatch):
    image = pixels((2, 2000, 40))
    image[image == 77] = 78
    image[:, 1500, 20] = 77
    job = Job(str(put_scene(tmp_path / "scene.tif", image)), tmp_path / "out.tif", str(models / "scene"))
    network = FailsAt(77)
    network.install(monkeypatch)
    with pytest.raises(PatchError):
        segment(job)
    remove(tmp_path / "out.tif.partial")
    with pytest.raises(OutputError, match="failed_patches 1"):
        segment(job)
