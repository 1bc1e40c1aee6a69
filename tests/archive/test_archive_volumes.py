"""Archives of volumes: a damaged case among ten, empty masks, and structures of unusual size."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger, Entry
from pipeline.archive.outliers import FEWEST, find_outliers
from pipeline.archive.status import status_of, write_report
from pipeline.archive.volumes import measure_volumes
from pipeline.cli import app
from pipeline.masks.structures import measure
from tests.support.inputs import contents, pixels, put_scene, put_volume

pytestmark = pytest.mark.slow

CASES = 10


@pytest.fixture
def archive(tmp_path):
    """Ten scans, of which the sixth is cut short."""
    (tmp_path / "scans").mkdir()
    for number in range(CASES):
        values = pixels((30, 40, 8), seed=number).astype(np.int16)
        put_volume(tmp_path / "scans" / f"case{number}.nii.gz", values, np.diag([1.0, 1, 2, 1]))
    broken = tmp_path / "scans" / "case5.nii.gz"
    (tmp_path / "whole").write_bytes(broken.read_bytes())
    broken.write_bytes(broken.read_bytes()[:-3000])
    return tmp_path


def run(folder, models, code):
    words = ("run", "--input", folder / "scans", "--output", folder / "masks", "--model", models / "volume", "--json")
    ended = CliRunner().invoke(app, [*map(str, words), "--no-prefect"])
    assert ended.exit_code == code, ended.output
    return {item["input"].rpartition("/")[2][:5]: item for item in json.loads(ended.stdout)["items"]}


def test_of_ten_cases_the_damaged_one_alone_is_left_out_and_made_when_it_is_whole(archive, models):
    first = run(archive, models, 1)
    assert {name for name, item in first.items() if item["status"] == "done"} == set(first) - {"case5"}
    assert first["case5"]["code"] == "unreadable"
    assert not (archive / "masks" / "case5_mask.nii.gz").exists()
    before = {name: data for name, data in contents(archive / "masks").items() if name.endswith(".nii.gz")}
    assert len(before) == CASES - 1
    again = run(archive, models, 1)
    assert {item["status"] for name, item in again.items() if name != "case5"} == {"skipped"}
    assert "quarantined: not retried" in again["case5"]["reason"]
    (archive / "scans" / "case5.nii.gz").write_bytes((archive / "whole").read_bytes())
    mended = run(archive, models, 0)
    assert {name for name, item in mended.items() if item["status"] == "done"} == {"case5"}
    after = contents(archive / "masks")
    assert {name: after[name] for name in before} == before


def test_the_ledger_knows_the_volumes_of_its_masks(archive, models):
    run(archive, models, 1)
    ledger = ArchiveLedger(archive / "masks" / LEDGER_NAME)
    try:
        known = ledger.volumes()
        assert len(known) == CASES - 1
        for item, volumes in known.items():
            mask = archive / "masks" / (item.rpartition("/")[2][:5] + "_mask.nii.gz")
            assert volumes == {found.name: found.ml for found in measure(mask) if found.value}
    finally:
        ledger.close()


def entered(folder, volumes):
    """A ledger of items that are done, with those volumes."""
    ledger = ArchiveLedger(folder / LEDGER_NAME)
    for item, each in volumes.items():
        ledger.enter([Entry(item, None, "done")])
        ledger.set_volumes(item, each)
    return ledger


def test_empty_and_unusual_masks_are_told_in_status_and_report(tmp_path):
    volumes = {f"{number:02}": {"liver": 1500.0 + number, "spleen": 200.0 + number} for number in range(20)}
    volumes["03"] = {"liver": 0.0, "spleen": 0.0}
    volumes["07"] = {"liver": 1507.0, "spleen": 20.0}
    ledger = entered(tmp_path, volumes)
    try:
        told = {reason.code: reason for reason in status_of(ledger).reasons}
        assert {code: (reason.state, reason.items) for code, reason in told.items()} == {
            "empty-mask": ("done", 1),
            "volume-outlier": ("done", 1),
        }
        assert told["empty-mask"].example == "03: has none of liver, spleen"
        assert told["volume-outlier"].example == "07: spleen has 20 ml; the median of 19 is 210"
        report = json.loads(write_report(ledger).read_text())
        assert [(suspect["input"], suspect["code"]) for suspect in report["suspects"]] == [
            ("03", "empty-mask"),
            ("07", "volume-outlier"),
        ]
        ledger.enter([Entry("07", None, "failed", "memory", "too much")])
        ledger.set_volumes("03", {"liver": 1.5e3, "spleen": 204.0})
        assert [(reason.code, reason.state) for reason in status_of(ledger).reasons] == [("memory", "failed")]
    finally:
        ledger.close()


def outliers(items):
    """By volumes of structures by item."""
    return find_outliers([(item, name, ml) for item, volumes in items.items() for name, ml in volumes.items()])


def test_few_items_have_no_outlier_and_what_is_no_volume_has_none(tmp_path):
    few = {str(number): {"liver": 1500.0} for number in range(FEWEST - 1)}
    assert outliers({**few, "0": {"liver": 1.0}}) == []
    assert len(outliers({**few, "0": {"liver": 1.0}, "9": {"liver": 1500.0}})) == 1
    assert measure_volumes(str(put_scene(tmp_path / "s.tif", pixels((2, 6, 5))))) == {}
    assert measure_volumes(str(tmp_path / "gone.nii.gz")) == measure_volumes(None) == {}


def test_a_structure_that_is_often_missing_has_no_outliers_but_its_own():
    items = {f"{number:02}": {"tumour": 5.0 + number % 3, "liver": 1500.0} for number in range(12)}
    items |= {f"{number}": {"tumour": 0.0, "liver": 1500.0} for number in range(12, 40)}
    assert outliers(items) == []
    items["05"] = {"tumour": 60.0, "liver": 1500.0}
    assert [suspect.input for suspect in outliers(items)] == ["05"]
    items["39"] = {"tumour": 0.0, "liver": 0.0}
    assert {suspect.code for suspect in outliers(items)} == {"volume-outlier", "empty-mask"}
    items["39"] = {"tumour": 5.0, "liver": 0.0}
    assert outliers(items)[-1].reason == "39: liver has 0 ml; the median of 39 is 1.5e+03"


def test_an_item_that_ends_between_two_looks_is_no_fault(tmp_path, monkeypatch):
    ledger = entered(tmp_path, {"a": {"liver": 0.0}})
    look = ledger.examples

    def later(*words):
        ledger.enter([Entry("new", None, "failed", "memory", "too little memory")])
        return look(*words)

    monkeypatch.setattr(ledger, "examples", later)
    assert [(reason.code, reason.items) for reason in status_of(ledger).reasons] == [("empty-mask", 1)]
    assert [(reason.code, reason.items) for reason in status_of(ledger).reasons] == [("empty-mask", 1), ("memory", 1)]
    ledger.close()


@given(st.lists(st.floats(95, 105), min_size=FEWEST, max_size=40), st.floats(0.5, 2), st.randoms())
def test_the_one_that_is_unlike_the_others_is_found_in_any_unit_and_order(volumes, unit, random):
    items = [(str(number), {"x": ml * unit}) for number, ml in enumerate(volumes)]
    assert outliers(dict(items)) == []
    items.append(("odd", {"x": 300 * unit}))
    random.shuffle(items)
    assert [suspect.input for suspect in outliers(dict(items))] == ["odd"]
