"""`pipeline verify`: finished masks are compared with what was written, or read from end to end."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger
from pipeline.archive.status import status_of
from pipeline.archive.verify import verify
from pipeline.cli import app
from pipeline.errors import RequestError
from pipeline.jobs.job import Job
from pipeline.runs.segment import segment
from tests.support.archives import ITEMS, Folder, flip, statuses
from tests.support.inputs import listing, pixels, put_scene


@pytest.fixture
def folder(tmp_path, models):
    made = Folder(tmp_path, models / "scene")
    made.run()
    return made


def states(verdicts):
    return [verdict.state for verdict in verdicts]


def called(*words, code):
    ended = CliRunner().invoke(app, ["verify", *map(str, words)])
    assert ended.exit_code == code, ended.output
    return ended.stdout


def test_masks_that_are_not_as_they_were_written_are_told_and_made_again(folder):
    out = folder.root / "out"
    flip(folder.mask(1))
    folder.mask(2).unlink()
    assert states(verify([out])) == ["intact", "changed", "missing", "intact"]
    assert folder.states() == {0: "done", 1: "stale", 2: "stale", 3: "done"}
    assert states(verify([out / LEDGER_NAME])) == ["intact", "changed", "missing", "intact"], "until they are made"
    assert statuses(folder.run()) == ["skipped", "done", "done", "skipped"]
    assert states(verify([out])) == ["intact"] * ITEMS
    assert folder.states() == dict.fromkeys(range(ITEMS), "done")


def test_what_is_wrong_with_masks_is_counted_by_status(folder):
    flip(folder.mask(1))
    verify([folder.root / "out"])
    ledger = ArchiveLedger(folder.root / "out" / LEDGER_NAME)
    (reason,) = status_of(ledger).reasons
    ledger.close()
    assert (reason.code, reason.state, reason.items) == ("mask-changed", "stale", 1)
    assert reason.example == f"{folder.mask(1)}: is not as it was written: damaged or replaced"


def test_a_mask_that_is_put_back_is_done_again(folder):
    shutil.copy2(folder.mask(1), folder.root / "kept")
    flip(folder.mask(1))
    verify([folder.mask(1)])
    assert folder.states()[1] == "stale"
    shutil.copy2(folder.root / "kept", folder.mask(1))
    assert states(verify([folder.mask(1)])) == ["intact"]
    assert folder.states()[1] == "done"


def test_one_mask_is_verified_by_the_ledger_that_knows_it(folder, monkeypatch):
    flip(folder.mask(1))
    flip(folder.mask(2))
    monkeypatch.chdir(folder.root)
    (verdict,) = verify([folder.mask(1).relative_to(folder.root)])
    assert (verdict.state, verdict.input) == ("changed", folder.jobs[1].input)
    assert folder.states()[2] == "done", "nobody asked for that one"


def test_a_folder_without_a_ledger_is_refused(tmp_path):
    with pytest.raises(RequestError, match="no ledger here"):
        verify([tmp_path])


def test_the_verb_tells_what_is_wrong_and_how_many_there_are(folder):
    out = folder.root / "out"
    assert called(out, code=0) == f"{ITEMS} files: {ITEMS} intact\n"
    flip(folder.mask(1))
    told = called(out, code=1).splitlines()
    assert told == [
        f"{folder.mask(1)}: is not as it was written: damaged or replaced",
        f"{ITEMS} files: 3 intact, 1 changed",
    ]
    (item,) = json.loads(called(folder.mask(1), "--json", code=1))["items"]
    assert item == {
        "path": str(folder.mask(1)),
        "input": folder.jobs[1].input,
        "state": "changed",
        "reason": told[0],
    }


@pytest.fixture(scope="module", params=["mask.tif", "mask.zarr"])
def made(request, models, tmp_path_factory):
    """A mask of a single run: no ledger knows it."""
    root = tmp_path_factory.mktemp("single")
    scene = put_scene(root / "scene.tif", pixels((2, 60, 50)))
    segment(Job(str(scene), root / "out" / request.param, str(models / "scene")))
    return root / "out" / request.param


@pytest.fixture
def mask(made, tmp_path):
    (shutil.copytree if made.is_dir() else shutil.copyfile)(made, tmp_path / made.name)
    return tmp_path / made.name


def test_a_mask_without_a_record_is_read_from_end_to_end(mask):
    (verdict,) = verify([mask])
    assert (verdict.state, verdict.input) == ("readable", None)
    assert verdict.reason == f"{mask}: can be read; no ledger has a record of its bytes"
    assert "1 file: 1 readable" in called(mask, code=0)


def test_a_mask_without_a_record_that_cannot_be_read_is_told(mask):
    files = [file for file in mask.rglob("*") if file.is_file() and file.parent.name == "0"] or [mask]
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    (verdict,) = verify([mask])
    assert verdict.state == "unreadable"
    assert str(mask) in verdict.reason


def test_what_is_no_mask_or_is_not_there_is_told(tmp_path):
    scene = put_scene(tmp_path / "scene.tif", pixels((2, 60, 50)))
    found = verify([scene, tmp_path / "none.tif"])
    assert states(found) == ["unreadable", "missing"]
    assert "is not a mask" in found[0].reason
    assert listing(tmp_path) == {"scene.tif"}
