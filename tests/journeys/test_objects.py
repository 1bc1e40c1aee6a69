"""Outputs and work in an object store: the same bytes as on a disk, however a run was stopped on the way."""

from __future__ import annotations

import json
import os
import pickle
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.archive.archive import open_archive
from pipeline.archive.ledger import Entry
from pipeline.archive.status import changing_ledger, find_ledger
from pipeline.cli import app
from pipeline.engine.ledger import Ledger
from pipeline.errors import HeldError, Interrupted, OutputError, RequestError
from pipeline.files.atomic import remove
from pipeline.files.scratch import scratch
from pipeline.io.objects.bucket import Bucket
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.layers import LAYERS
from pipeline.models.store import load_model, save_model
from pipeline.runs import execute, object_storage
from pipeline.runs.object_storage import stamp_of, stamps_of
from pipeline.runs.observer import SILENT, RunContext
from pipeline.runs.plan import plan
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.runs.storage import at_hand
from pipeline.runs.stores import parts_of
from pipeline.runs.view_sweep import sweeps_of
from pipeline.runs.work import begin_work
from tests.support.inputs import listing, pixels, put_scene, put_volume
from tests.support.loops import loop
from tests.support.objects import SECRET
from tests.support.observers import Callbacks
from tests.support.stores import on_each, on_first

ROWS, COLUMNS = 1040, 24

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tall(models, tmp_path_factory):
    """A scene of two slabs, and the job that made its mask on a disk."""
    folder = tmp_path_factory.mktemp("tall")
    put_scene(folder / "scene.tif", pixels((2, ROWS, COLUMNS)), tiled=True)
    job = Job(str(folder / "scene.tif"), folder / "out.tif", str(models / "scene"), also=("confidence",))
    segment(job)
    return job


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Send all work at once, so that what is tested happens in a run of a moment."""
    monkeypatch.setattr(object_storage, "EVERY", 0)
    monkeypatch.setattr(object_storage, "_RARE", 0)


def on(store, job, name="masks/out.tif"):
    return replace(job, output=store.place / name)


def on_disk(job):
    """Names and bytes beside a mask on a disk, and in it if it is a store."""
    folder = job.output.parent
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name.startswith("out")]
    paths += [path for path in folder.rglob("*") if path.is_file() and any(p.suffix == ".zarr" for p in path.parents)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def begin(job):
    """Run a job until its first slab is done."""
    mark, count = Ledger.mark, []

    def mark_and_stop(ledger, slab, digests):
        if count:
            raise Interrupted
        mark(ledger, slab, digests)
        count.append(slab)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "mark", mark_and_stop)
        with pytest.raises(Interrupted):
            segment(job)


@on_each
def test_a_mask_and_its_layers_have_the_bytes_of_those_on_a_disk(store, tall):
    report = segment(on(store, tall))
    assert (report.status, report.output) == ("done", f"{store.place}masks/out.tif")
    assert store.shown("masks") == on_disk(tall)
    assert not [key for key in store.all() if "partial" in key or "lock" in key]
    put = [request.path for request in store.proxy.seen if request.method == "PUT" and "partial" not in request.path]
    assert [path for path in put if "/masks/out" in path][-1].endswith("/masks/out.tif")


def test_what_is_done_is_skipped_without_being_read(store, tall):
    job = on(store, tall)
    segment(job)
    store.proxy.inject()
    assert segment(job).status == "skipped"
    assert not [r.path for r in store.proxy.seen if r.method == "GET" and r.path.endswith((".tif", ".xml"))]
    assert not [r for r in store.proxy.seen if r.writes]


@on_first
def test_a_store_is_written_in_place_with_its_root_last(store, tall, tmp_path):
    here = replace(tall, output=tmp_path / "out.zarr")
    segment(here)
    store.proxy.inject()
    job = on(store, tall, "masks/out.zarr")
    segment(job)
    assert store.shown("masks") == on_disk(here)
    put = [
        request.path for request in store.proxy.seen if request.method == "PUT" and "/masks/out.zarr/" in request.path
    ]
    assert put[-1].endswith("/masks/out.zarr/zarr.json")
    assert segment(job).status == "skipped"


@on_each
def test_a_volume_has_its_description_beside_it(store, models, tmp_path):
    scan = put_volume(tmp_path / "scan.nii.gz", pixels((40, 20, 24)).T.astype(np.int16), np.diag([1.0, 1, 2, 1]))
    here = Job(str(scan), tmp_path / "out.nii.gz", str(models / "volume"))
    segment(here)
    job = on(store, here, "masks/out.nii.gz")
    assert segment(job).status == "done"
    assert store.shown("masks") == on_disk(here)
    assert segment(job).status == "skipped"
    store.put("masks/out.json", b"{}")
    with pytest.raises(OutputError, match=r"masks/out\.json: already exists and would be overwritten"):
        segment(job)


@pytest.mark.parametrize("suffix", [".nii.gz", ".zarr"])
def test_layers_of_a_volume_lie_beside_it_and_are_known_by_their_descriptions(store, models, tmp_path, suffix):
    scan = put_volume(tmp_path / "scan.nii.gz", pixels((40, 20, 24)).T.astype(np.int16), np.diag([1.0, 1, 2, 1]))
    layers = ("confidence", "scores")
    here = Job(str(scan), tmp_path / f"out{suffix}", str(models / "volume"), view="coronal", also=layers)
    segment(here)
    job = on(store, here, f"masks/out{suffix}")
    assert segment(job).status == "done"
    assert store.shown("masks") == on_disk(here)
    assert segment(job).status == "skipped"
    store.delete(f"masks/.out{suffix}.record.json")
    assert segment(job).status == "skipped"
    if suffix == ".nii.gz":
        store.delete(f"masks/.out{suffix}.record.json")
        store.put("masks/out_scores.json", b"{}")
        with pytest.raises(OutputError, match=r"masks/out_scores\.nii\.gz: already exists and would be overwritten"):
            segment(job)


def test_a_short_run_puts_nothing_of_its_work_unless_it_is_stopped(store, tall, monkeypatch):
    monkeypatch.setattr(object_storage, "EVERY", 100)
    job = on(store, tall)
    assert segment(job).status == "done"
    assert not [request for request in store.proxy.seen if "partial" in request.path and request.method != "GET"]
    assert len(store.proxy.seen) <= 17, "a far store takes some 30 ms for each"
    assert store.shown("masks") == on_disk(tall)
    for key in store.all():
        store.delete(key)
    begin(job)
    assert [key for key in store.all() if "/done/" in key] == ["masks/out.tif.partial/done/0-1024_0-24"]


def test_workers_of_the_command_write_where_it_does_and_leave_the_store_to_it(store, tall):
    with at_hand(on(store, tall).output.begun()) as output:
        prepared, beside = prepare(replace(tall, output=output), Resources()), RunContext(Resources(workers=2))
        storage = prepared.storage
        storage.clear_work()
        (sweep,) = sweeps_of(begin_work(prepared, Ledger(prepared.work), SILENT))
        store.proxy.inject()
        for slab in sweep.slabs(Resources()):
            task = pickle.loads(pickle.dumps(execute._task_elsewhere(execute._travelling(sweep, beside), (slab,))))
            assert execute.sweep_task(task) == ()
        assert store.proxy.seen == []
        storage.save_at_times()
    assert len([key for key in store.all() if "/done/" in key]) == 2


def test_marks_are_put_after_all_that_was_there_when_they_were_seen(store, tall):
    """A slab that ends while its run sends has its chunks there, or no mark."""
    job, order = on(store, tall), []
    put = Bucket.put
    with at_hand(job.output.begun()) as output:
        storage = prepare(replace(job, output=output), Resources()).storage
        storage.clear_work()

        def late(bucket, key, content):
            order.append(key.rpartition(".partial/")[2])
            if len(order) == 1:
                for name in ("mask.zarr/c/1", "done/1024-1040_0-24"):
                    write(storage.work / name)
                (storage.work / "done/9-10_0-24").unlink()  # of a slab that is computed again
            return put(bucket, key, content)

        for name in ("run.json", "mask.zarr/c/0", "done/0-1024_0-24", "done/9-10_0-24"):
            write(storage.work / name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Bucket, "put", late)
            storage.save()
            assert order == ["mask.zarr/c/0", "done/0-1024_0-24", "run.json"]
            storage.save()
        assert order[3:] == ["mask.zarr/c/1", "done/1024-1040_0-24"]


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name)


@on_each
def test_a_stopped_run_goes_on_in_another_folder_and_computes_nothing_twice(store, tall):
    job = on(store, tall)
    begin(job)
    assert [key for key in store.all() if "/done/" in key] == ["masks/out.tif.partial/done/0-1024_0-24"]
    begun = []
    assert segment(job, observer=Callbacks(started=lambda *cells: begun.append(cells))).status == "done"
    assert begun == [(ROWS * COLUMNS, 1024 * COLUMNS)]
    assert store.shown("masks") == on_disk(tall)


@pytest.mark.parametrize("damage", ["cut", "gone", "mark", "metadata"])
def test_damaged_work_is_found_and_made_again(store, tall, damage):
    job = on(store, tall)
    begin(job)
    first = "masks/out.tif.partial/mask.zarr/mask/c/0/0"
    if damage == "cut":
        store.put(first, store.all()[first][:-9])
    elif damage == "gone":
        store.delete(first)
    elif damage == "mark":
        store.put("masks/out.tif.partial/done/0-1024_0-24", b'{"a": 1')
    else:
        store.put("masks/out.tif.partial/mask.zarr/mask/zarr.json", b"{}")
    notes = []
    assert segment(job, observer=Callbacks(note=notes.append)).status == "done"
    assert any(f"{job.output}.partial" in note and "computed again" in note for note in notes), notes
    assert store.shown("masks") == on_disk(tall)


@pytest.mark.parametrize("number", [3, 16, loop(10), loop(20)])
def test_credentials_that_expire_stop_a_run_which_goes_on_with_others(store, tall, number):
    """Whatever is being written when they expire."""
    job = on(store, tall)
    writes = []

    def expire(request):
        if request.writes:
            writes.append(request)
        return "ExpiredToken" if len(writes) > number else None

    store.proxy.inject(expire)
    with pytest.raises(OutputError, match=r"credentials have expired; renew them, and the same command continues") as e:
        segment(job)
    assert SECRET not in str(e.value)
    assert "masks/out.tif" not in store.all(), "not before all is there"
    store.proxy.inject()
    assert segment(job).status == "done"
    assert store.shown("masks") == on_disk(tall)
    assert not [key for key in store.all() if ".partial/" in key]


def test_a_run_that_ends_before_it_could_record_its_mask_is_known_to_be_done(store, tall):
    job, put = on(store, tall), []

    def expire(request):
        put.append(request.method == "PUT" and request.path.endswith("/masks/out.tif"))
        return "ExpiredToken" if any(put[:-1]) and request.writes else None

    store.proxy.inject(expire)
    with pytest.raises(OutputError, match="expired"):
        segment(job)
    assert "masks/out.tif" in store.all()
    store.proxy.inject()
    assert segment(job).status == "skipped"
    assert "masks/.out.tif.record.json" in store.all()
    assert store.shown("masks") == on_disk(tall)
    assert segment(job).status == "skipped"


def test_another_mask_is_refused_and_replaced_only_on_request(store, tall):
    job = on(store, tall)
    segment(job)
    other = replace(job, overlap=(16, 16), also=None)
    with pytest.raises(OutputError, match=r"://.*/masks/out\.tif: already exists, made with .*overlap.*--overwrite"):
        segment(other)
    assert segment(other, Resources(overwrite=True)).status == "done"
    assert set(store.shown("masks")) == {"out.tif", "out.tif.aux.xml"}, "its layer is not of this run"


def test_what_another_program_wrote_is_refused(store, tall):
    store.put("masks/out.tif", b"something")
    with pytest.raises(OutputError, match=r"://.*/masks/out\.tif: already exists, but cannot be read"):
        segment(on(store, tall))
    assert store.all() == {"masks/out.tif": b"something"}


def test_a_mask_that_was_cut_is_made_again(store, tall):
    job = on(store, tall)
    segment(job)
    whole = store.all()["masks/out.tif"]
    store.put("masks/out.tif", whole[: len(whole) // 2])
    notes = []
    assert segment(job, observer=Callbacks(note=notes.append)).status == "done"
    assert any("is damaged and is made again" in note for note in notes), notes
    assert store.all()["masks/out.tif"] == whole


def test_a_run_with_other_settings_is_not_resumed(store, tall):
    job = on(store, tall)
    begin(job)
    other = replace(job, overlap=(16, 16))
    with pytest.raises(OutputError, match=r"://.*out\.tif\.partial: an unfinished run here used other settings"):
        segment(other)
    assert segment(other, Resources(restart=True)).status == "done"
    assert segment(job, Resources(overwrite=True)).status == "done"
    assert store.shown("masks") == on_disk(tall)


def sweep_as_workers(job):
    """Begin a run, and sweep each slab in a task that sees neither the folder of this process nor its model."""
    model, hidden = Path(job.model), Path(f"{job.model} moved")
    with at_hand(job.output.begun()) as output:
        prepared = prepare(replace(job, output=output), Resources(workers=2))
        storage = prepared.storage
        storage.look()
        with storage.lock():
            storage.clear_work()
            prepared = begin_work(prepared, Ledger(prepared.work), SILENT)
            storage.save()
            before = listing(prepared.work)
            elsewhere = RunContext(Resources(scheduler="tcp://anywhere"))
            sweeps = [execute._travelling(sweep, elsewhere) for sweep in sweeps_of(prepared)]
            tasks = [execute._task_elsewhere(sweep, (slab,)) for sweep in sweeps for slab in sweep.slabs(Resources())]
            model.rename(hidden)
            try:
                for task in map(pickle.loads, map(pickle.dumps, tasks)):
                    assert not [path for path in task.needs if path.suffix == ".partial" or path == model]
                    assert execute.sweep_task(task) == ()
            finally:
                hidden.rename(model)
            assert listing(prepared.work) == before
            storage.gather()
            assert not [slab for part in parts_of(prepared) for slab in part.damaged(read=True)]
    assert {path.name for path in scratch().iterdir()} == {"models"}
    remove(scratch() / "models")


def test_workers_share_no_folder(store, tall):
    job = on(store, tall)
    sweep_as_workers(job)
    begun = []
    assert segment(job, observer=Callbacks(started=lambda *cells: begun.append(cells))).status == "done"
    assert begun == [(ROWS * COLUMNS, ROWS * COLUMNS)]
    assert store.shown("masks") == on_disk(tall)
    models = [key for key in store.all() if key.startswith("masks/.models/")]
    assert len(models) == 2, "its card and its weights, once"


def test_workers_fetch_a_staged_volume_and_leave_scores_of_several_views(store, models, tmp_path):
    scan = put_volume(tmp_path / "scan.nii.gz", pixels((40, 36, 33)).T.astype(np.int16), np.diag([1.0, 1, 1, 1]))
    model = load_model(models / "volume")
    save_model(tmp_path / "soft", replace(model.card, averaging="softmax"), model.network)
    here = Job(str(scan), tmp_path / "out.nii.gz", str(tmp_path / "soft"), view=("axial", "coronal"), also=LAYERS)
    segment(here)
    job = on(store, here, "masks/out.nii.gz")
    sweep_as_workers(job)
    assert segment(job, Resources(workers=None)).status == "done"
    assert store.shown("masks") == on_disk(here)


@on_first
def test_a_second_run_is_refused_while_the_first_writes(store, tall):
    job, second = on(store, tall), []

    def look(cells):
        if not second:
            with pytest.raises(HeldError, match=r"masks/out\.tif: is being written by process"):
                segment(job)
            second.append(True)

    assert segment(job, observer=Callbacks(advanced=look)).status == "done"
    assert second
    assert store.shown("masks") == on_disk(tall)


def test_a_store_without_conditional_writes_is_told(store, tall):
    notes, observer = [], Callbacks(note=lambda line: notes.append(line))
    store.proxy.inject(lambda request: "plain")
    assert segment(on(store, tall), observer=observer).status == "done"
    assert [note for note in notes if "ignores conditional writes" in note] == notes != []
    assert store.shown("masks") == on_disk(tall)


def test_a_run_that_lost_its_lock_writes_no_mask(store, tall):
    job = on(store, tall)
    with pytest.raises(HeldError, match="it was removed"):
        segment(job, observer=Callbacks(phase=lambda name: name == "writing" and store.delete("masks/.out.tif.lock")))
    assert "masks/out.tif" not in store.all()
    assert segment(job).status == "done"
    assert store.shown("masks") == on_disk(tall)


@pytest.mark.parametrize(
    ("name", "there", "said"),
    [
        ("masks/out.tif", "masks/out.tif/a", "there are objects below that name"),
        ("masks/out.zarr", "masks/out.zarr", "is an object, so it cannot be a store"),
    ],
)
def test_a_name_that_is_a_prefix_and_an_object_is_refused(store, tall, name, there, said):
    store.put(there, b"")
    with pytest.raises(OutputError, match=rf"://.*/{name}: {said}"):
        segment(on(store, replace(tall, also=None), name))
    assert store.all() == {there: b""}


def test_a_full_disk_for_what_is_sent_is_told_as_such(store, tall, monkeypatch):
    def full(*words):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("pipeline.io.zarr.deflate.pack", full)
    with pytest.raises(OutputError, match=r"out\.tif: the disk of .* is full .*set TMPDIR"):
        segment(on(store, tall))


def test_what_other_verbs_change_in_a_ledger_is_in_its_copy_too(store, tmp_path, monkeypatch):
    """So that another machine begins with it."""
    place = store.place / "archive.sqlite"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "here"))
    with open_archive(place):
        pass
    with changing_ledger(store.place) as ledger:
        ledger.enter([Entry("a.tif", None, "failed", "memory", "too little memory")])
    assert CliRunner().invoke(app, ["retry", str(store.place)]).exit_code == 0
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    with closing(find_ledger(store.place)) as ledger:
        assert [row.state for row in ledger.rows().values()] == ["pending"]


@on_first
def test_a_folder_of_inputs_goes_to_a_prefix_with_its_ledger(store, models, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    names = ["p1/a b%20ü.tif", "p2/b.tif"]
    for seed, name in enumerate(names):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        put_scene(path, pixels((2, 40, 30), seed))

    def run(*words):
        common = ["-i", str(tmp_path / "in"), "-m", str(models / "scene"), "--no-prefect"]
        ended = CliRunner().invoke(app, ["run", *common, *words])
        assert ended.exit_code == 0, ended.output
        return ended.output

    run("-o", str(tmp_path / "out"))
    place = f"{store.place}masks/"
    first = run("-o", place)
    assert f"{place}p1/a b%20ü_mask.tif" in first.replace("\n", "")
    here = {str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in (tmp_path / "out").rglob("*_mask.*")}
    there = {key: content for key, content in store.shown("masks").items() if "_mask." in key and "/." not in key}
    assert there == here
    assert store.all()["masks/archive.sqlite"].startswith(b"SQLite format 3")
    store.proxy.inject()
    assert "skipped" in run("-o", place)
    assert not [request.path for request in store.proxy.seen if request.method == "PUT" and "mask.tif" in request.path]
    store.delete("masks/p2/b_mask.tif")
    again = run("-o", place)
    assert "b_mask.tif: is missing" in again.replace("\n", "")
    assert store.all()["masks/p2/b_mask.tif"] == here["p2/b_mask.tif"]
    told = CliRunner().invoke(app, ["status", place])
    assert told.exit_code == 0, told.output


def test_a_dataset_of_bids_is_refused(store, tmp_path):
    words = ["run", "-i", str(tmp_path), "--bids", "T1w", "-o", f"{store.place}masks"]
    ended = CliRunner().invoke(app, words)
    assert (ended.exit_code, store.all()) == (2, {})
    assert "written to a folder of this machine" in ended.output.replace("\n", " ")


@pytest.mark.parametrize("words", [["export", "a.tif", "-o"], ["evaluate", "--input", "a", "--truth", "b", "--output"]])
def test_other_verbs_say_that_they_need_files(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, [*words, "s3://bucket/masks/a.gpkg"])
    assert ended.exit_code == 2
    assert "output s3://bucket/masks/a.gpkg: is in an object store" in " ".join(ended.output.split())
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_told_with_its_extra(tall, monkeypatch):
    monkeypatch.setattr("pipeline.optional.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"s3://b/a\.tif: requires obstore, .* 'pipeline\[objects\]'"):
        segment(replace(tall, output="s3://b/a.tif"))


def test_a_bucket_that_is_not_there_fails_the_item_alone(store, tall):
    with pytest.raises(OutputError, match=r"s3://no-such-bucket/\.a\.tif\.lock: .*: there is no such bucket"):
        segment(replace(tall, output="s3://no-such-bucket/a.tif"))


def test_a_plan_names_the_object_and_asks_the_store_nothing(tall):
    """There is none."""
    assert plan(replace(tall, output="s3://b/a.tif"), probe=False).output == "s3://b/a.tif"


@pytest.fixture
def archive_of_objects(store, models, tmp_path, monkeypatch):
    """What segments the scenes below a prefix into another; it returns what it says, and what it asked of them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for seed, name in enumerate("abc"):
        store.put(f"in/{name}.tif", put_scene(tmp_path / f"{name}.tif", pixels((2, 40, 30), seed)).read_bytes())

    def run(*words):
        store.proxy.inject()
        common = ["-i", f"{store.place}in/", "-o", f"{store.place}masks/", "-m", str(models / "scene"), "--no-prefect"]
        ended = CliRunner().invoke(app, ["run", *common, "--json", *words])
        assert ended.exit_code == 0, ended.output
        items = {item["input"].rpartition("/")[2]: item["status"] for item in json.loads(ended.stdout)["items"]}
        return items, [request for request in store.proxy.seen if ".tif" in request.path]

    return run


def test_a_finished_archive_is_known_by_listings(store, archive_of_objects, monkeypatch):
    """And not by a request for each item."""
    monkeypatch.setattr("pipeline.runs.object_storage._MANY", 2)
    done, _ = archive_of_objects()
    assert set(done.values()) == {"done"}
    assert archive_of_objects() == (dict.fromkeys(done, "skipped"), [])
    store.delete("masks/b_mask.tif")
    again, _ = archive_of_objects()
    assert again == {"a.tif": "skipped", "b.tif": "done", "c.tif": "skipped"}


@pytest.mark.parametrize(
    ("store", "many"),
    [("s3", 2), ("gs", 100), ("az", 100), loop("s3", 100), loop("gs", 2), loop("az", 2)],
    indirect=["store"],
)
def test_an_object_that_another_replaced_is_segmented_again(store, archive_of_objects, tmp_path, monkeypatch, many):
    monkeypatch.setattr("pipeline.runs.object_storage._MANY", many)
    archive_of_objects()
    before = store.all()
    store.put("in/b.tif", before["in/a.tif"])
    again, _ = archive_of_objects()
    assert again == {"a.tif": "skipped", "b.tif": "done", "c.tif": "skipped"}
    now = store.all()
    assert now["masks/a_mask.tif"] == before["masks/a_mask.tif"]
    assert now["masks/b_mask.tif"] != before["masks/b_mask.tif"]
    assert set(archive_of_objects()[0].values()) == {"skipped"}


def test_a_prefix_with_many_others_is_not_listed_to_the_end(store, monkeypatch):
    monkeypatch.setattr("pipeline.runs.object_storage._MANY", 2)
    monkeypatch.setattr("pipeline.runs.object_storage.PAGE", 1)
    for name in ("a", "b", "c", "s.zarr/zarr.json"):
        store.put(f"x/{name}", name.encode())
    few, more = ([store.place / "x" / name for name in names] for names in (["a", "b"], ["a", "b", "s.zarr", "none"]))
    assert stamps_of(few) == {}
    assert stamps_of(more) == {place: stamp_of(place) for place in more}


@on_first
def test_a_single_mask_is_verified_by_its_record_and_by_the_ledger_above_it(store, tall, archive_of_objects):
    def verdict(name):
        ended = CliRunner().invoke(app, ["verify", f"{store.place}{name}", "--json"])
        (found,) = json.loads(ended.stdout)["items"]
        return ended.exit_code, found["state"]

    segment(on(store, tall, "alone/out.tif"))
    assert verdict("alone/out.tif") == (0, "intact")
    store.put("alone/copy.tif", store.all()["alone/out.tif"])
    assert verdict("alone/copy.tif") == (0, "readable")
    archive_of_objects()
    assert verdict("masks/b_mask.tif") == (0, "intact")
    for name in ("alone/out.tif", "masks/b_mask.tif"):
        store.put(name, store.all()[name][:-9])
        assert verdict(name) == (1, "changed")
        store.delete(name)
        assert verdict(name) == (1, "missing")
    assert archive_of_objects()[0] == {"a.tif": "skipped", "b.tif": "done", "c.tif": "skipped"}


def test_verifying_what_is_intact_writes_nothing(store, archive_of_objects):
    """Credentials may be for reading alone."""
    archive_of_objects()
    store.proxy.inject(lambda request: 403 if request.writes else None)
    ended = CliRunner().invoke(app, ["verify", f"{store.place}masks/", "--json"])
    assert ended.exit_code == 0, ended.output
    assert {item["state"] for item in json.loads(ended.stdout)["items"]} == {"intact"}
    assert [request for request in store.proxy.seen if request.writes] == []
