"""Finished masks are as they were written, or they are told and made again."""

from __future__ import annotations

import os
import shutil

import pytest

from pipeline.archive.archive import Archive
from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger
from pipeline.archive.outputs import TOUCHED, compare, fault_of, renewed, written
from pipeline.archive.stamps import files_of
from pipeline.jobs.job import Job
from pipeline.jobs.layers import LAYERS
from tests.support.archives import ITEMS, Folder, flip, overwrite, statuses
from tests.support.observers import Callbacks


@pytest.fixture
def folder(tmp_path, models):
    made = Folder(tmp_path, models / "scene")
    made.run()
    made.made.clear()
    return made


FAULTS = {
    "cut": lambda folder: overwrite(folder.mask(1), folder.mask(1).read_bytes()[:3]),
    "emptied": lambda folder: overwrite(folder.mask(1), b""),
    "another item's": lambda folder: shutil.copyfile(folder.mask(2), folder.mask(1)),
    "written again": lambda folder: folder.mask(1).write_bytes(b"mask of ~"),
    "deleted": lambda folder: folder.mask(1).unlink(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mask_that_is_not_as_it_was_written_is_told_and_made_again(folder, fault):
    before, notes = folder.mask(1).read_bytes(), []
    FAULTS[fault](folder)
    reports = folder.run(observer=Callbacks(remark=lambda report: notes.append(report.reason)))
    assert folder.made == {1: 1}
    assert statuses(reports) == ["skipped", "done", "skipped", "skipped"]
    what = "is missing" if fault == "deleted" else "is not as it was written: damaged or replaced"
    assert notes == [f"{folder.mask(1)}: {what}; it is made again"]
    assert reports[1].reason == f"made again: {folder.mask(1)}: {what}"
    assert folder.mask(1).read_bytes() == before
    assert statuses(folder.run()) == ["skipped"] * ITEMS


def test_a_flipped_bit_is_seen_by_its_hash(folder):
    flip(folder.mask(1))
    assert statuses(folder.run()) == ["skipped"] * ITEMS, "size and time are as they were"
    assert statuses(folder.run(folder.archive(verify=True))) == ["skipped", "done", "skipped", "skipped"]
    assert statuses(folder.run(folder.archive(verify=True))) == ["skipped"] * ITEMS


def test_a_mask_with_another_time_and_the_same_bytes_is_left_alone(folder):
    os.utime(folder.mask(1), ns=(10**18, 10**18))
    assert statuses(folder.run()) == ["skipped"] * ITEMS
    flip(folder.mask(1))
    assert statuses(folder.run()) == ["skipped"] * ITEMS, "the new time is known: nothing is hashed again"


def test_a_mask_that_is_being_replaced_when_the_run_is_stopped_is_replaced_by_the_next(folder):
    folder.mask(1).write_bytes(b"else")

    def stop(at):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.run(during=stop)
    assert folder.states()[1] == "pending"
    assert folder.rows()[1].stale
    overwrites = []
    folder.write = lambda job, write=folder.write: (overwrites.append(job), write(job))
    folder.run()
    assert overwrites == [folder.jobs[1]]


def test_masks_of_a_ledger_of_version_1_are_taken_as_they_are(folder):
    """Nothing is recorded of them; only that they are there is asked."""
    ledger = ArchiveLedger(folder.root / "out" / LEDGER_NAME)
    for row in ledger.rows().values():
        ledger.set_outputs(row.input, ())
    ledger.close()
    folder.mask(1).write_bytes(b"else")
    folder.mask(2).unlink()
    assert statuses(folder.run()) == ["skipped", "skipped", "done", "skipped"]


def test_masks_and_their_ledger_may_be_moved_together(folder):
    shutil.copytree(folder.root / "out", folder.root / "moved")
    archive = Archive(ArchiveLedger(folder.root / "moved" / LEDGER_NAME), verify=True)
    shutil.rmtree(folder.root / "out")
    assert {fault_of(one, folder.root / "moved", verify=True) for one in archive._ledger.outputs().popitem()[1]} == {
        None
    }
    archive.close()


def test_a_store_is_known_by_all_its_files(tmp_path):
    store = tmp_path / "mask.zarr"
    for name in ("zarr.json", "c/0/0", "c/0/1"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(name.encode())
    (known,) = written([store], tmp_path)
    assert known.path == "mask.zarr"
    assert fault_of(known, tmp_path, verify=True) is None
    flip(store / "c/0/1")
    assert fault_of(known, tmp_path, verify=False) is None
    assert fault_of(known, tmp_path, verify=True) == "changed"
    (store / "c/0/1").unlink()
    assert fault_of(known, tmp_path, verify=False) == "changed"
    shutil.rmtree(store)
    assert fault_of(known, tmp_path, verify=False) == "missing"


def test_a_record_is_renewed_with_the_time_of_the_file(tmp_path):
    mask = tmp_path / "in/mask.tif"
    mask.parent.mkdir()
    mask.write_bytes(b"x")
    (known,) = written([mask], tmp_path / "ledgers")
    assert known.path == str(mask), "outside of the folder of the ledger"
    os.utime(mask, ns=(10**18, 10**18))
    assert compare(known, tmp_path / "ledgers", verify=False) == TOUCHED
    assert compare(renewed(known, tmp_path / "ledgers"), tmp_path / "ledgers", verify=True) is None


def test_layers_are_part_of_what_was_written(tmp_path):
    job = Job("scene.tif", tmp_path / "mask.tif", also=",".join(LAYERS))
    assert [path.name for path in files_of(job, job.output)] == [
        "mask.tif",
        *(f"mask_{name}.tif" for name in LAYERS),
    ]
