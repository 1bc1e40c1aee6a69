"""What version 876feba left behind is taken up: a run that was killed midway, and the ledger of an archive."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.golden.decode import cells
from tests.golden.make_old import ARCHIVE, HERE, RESUMED, relocate
from tests.golden.record import called

LEFT = Path(__file__).parent / "old" / "876feba.tar.gz"
SLAB = 1024


@pytest.fixture
def expected(tmp_path, monkeypatch):
    """What is to be found; all that was left lies in the current folder, with its times of change."""
    with tarfile.open(LEFT) as packed:
        packed.extractall(tmp_path, filter="data")
    relocate(tmp_path / "masks/archive.sqlite", HERE, f"{tmp_path}/")
    monkeypatch.chdir(tmp_path)
    return json.loads(Path("expected.json").read_text())


def test_a_run_that_was_killed_goes_on_to_the_same_mask(expected):
    work = Path("out/mask.tif.partial")
    assert sorted(mark.name for mark in (work / "done").iterdir()) == expected["done"]
    assert len(expected["done"]) == 3
    called(*RESUMED)
    assert cells(Path("out/mask.tif")) == expected["mask"]
    assert not work.exists()


def test_what_was_done_is_not_computed_again(expected):
    """The first slab is put for the second: a run that only goes on does not know."""
    chunks = Path("out/mask.tif.partial/mask.zarr/mask/c")
    (chunks / "1/0").write_bytes((chunks / "0/0").read_bytes())
    called(*RESUMED)
    with rasterio.open("out/mask.tif") as mask:
        labels = mask.read(1)
    np.testing.assert_array_equal(labels[SLAB : 2 * SLAB], labels[:SLAB])
    assert cells(Path("out/mask.tif")) != expected["mask"]


def test_a_run_of_another_input_is_refused(expected):
    Path("tall.tif").touch()
    with pytest.raises(RuntimeError, match=r"input\.changed_ns"):
        called(*RESUMED)
    assert len(list(Path("out/mask.tif.partial/done").iterdir())) == len(expected["done"])


def test_a_ledger_is_gone_on_with(expected):
    assert Counter(expected["items"].values()) == {
        "done": 2, "failed": 1, "quarantined": 1, "running": 1, "pending": 1
    }  # fmt: skip
    before = {path.name: path.stat().st_mtime_ns for path in Path("masks").glob("*.tif")}
    assert {name: cells(Path("masks") / name) for name in before} == expected["masks"]
    told = json.loads(called(*ARCHIVE, code=1))["items"]
    found = {Path(item["input"]).stem: (item["status"], item["code"]) for item in told}
    assert found == {
        "broken": ("failed", "unreadable"),
        "done1": ("skipped", None),
        "done2": ("skipped", None),
        "failed": ("done", None),
        "pending1": ("done", None),
        "pending2": ("done", None),
    }
    (broken,) = (item for item in told if item["status"] == "failed")
    assert "quarantined: not retried" in broken["reason"]
    assert {name: (Path("masks") / name).stat().st_mtime_ns for name in before} == before, "left as they were"
    base = sqlite3.connect("masks/archive.sqlite")
    rows = base.execute("SELECT input, state, tries FROM items").fetchall()
    base.close()
    assert {Path(name).stem: (state, tries) for name, state, tries in rows} == {
        "broken": ("quarantined", 1),
        "done1": ("done", 1),
        "done2": ("done", 1),
        "failed": ("done", 2),
        "pending1": ("done", 2),
        "pending2": ("done", 1),
    }


def test_a_ledger_tells_what_it_knows_and_has_failures_tried_again(expected):
    told = json.loads(called("status", "masks", "--json"))
    text = json.dumps(told)
    assert "unreadable" in text
    called("retry", "masks", "--json")
    states = {json.dumps(item) for item in json.loads(called(*ARCHIVE, code=1))["items"] if item["status"] == "failed"}
    assert len(states) == 1
    assert "not retried" not in states.pop(), "it was tried again, and is no image still"
