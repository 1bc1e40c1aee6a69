"""The page of an archive lists all of its items, and what is said of them comes back as a table."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio import open as open_raster

from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger, Entry
from pipeline.archive.outputs import written
from pipeline.archive.pseudonyms import pseudonym
from pipeline.errors import OutputError, RequestError
from pipeline.io.tables import write_rows
from pipeline.reports import ReportOptions, write_report
from tests.reports.test_scene import text_of
from tests.support.pages import EVIL, data_of, labels, put_mask

PATIENT = "Miller_Anne"


@pytest.fixture
def folder(tmp_path):
    """Masks of two scenes that are done, and two items that failed, all with a patient's name."""
    ledger = ArchiveLedger(tmp_path / LEDGER_NAME)
    for number in range(2):
        mask = put_mask(
            tmp_path / f"{PATIENT}_{number}_mask.tif", labels() if number else np.zeros((40, 200), np.uint8)
        )
        entry = Entry(str(tmp_path / f"{PATIENT}_{number}.tif"), str(mask), "done", model="m", cells=9, seconds=2.0)
        ledger.settle(entry, written([mask], tmp_path))
    reason = f"{tmp_path}/{PATIENT}_2.tif: its description '{PATIENT} 1950' {EVIL}"
    ledger.settle(Entry(str(tmp_path / f"{PATIENT}_2.tif"), None, "failed", "unreadable", reason))
    ledger.settle(Entry(EVIL, None, "quarantined", "suspicious", EVIL))
    ledger.close()
    return tmp_path


def items_of(page):
    shown = data_of(page)
    return [dict(zip(shown["columns"], item, strict=True)) for item in shown["items"]]


def test_a_page_has_all_items_with_thumbnails_in_shards(folder):
    page = write_report(folder)
    assert page == folder / "archive_report.html"
    items = {item["input"]: item for item in items_of(page)}
    assert set(items) == {EVIL, *(str(folder / f"{PATIENT}_{number}.tif") for number in range(3))}
    assert sorted(item["thumbnail"] for item in items.values()) == [-1, -1, 0, 1]
    first = items[str(folder / f"{PATIENT}_0.tif")]
    assert (first["state"], first["seconds"], first["amounts"]) == ("done", 2.0, {"water, %": 100.0})
    with open_raster(folder / "archive_report_thumbnails" / "0000.webp") as shard:
        assert (shard.width, shard.height) == (960, 96)
        sheet = shard.read()
    at = 96 * first["thumbnail"]
    assert np.abs(sheet[:, 48, at + 48].astype(int) - (0, 0, 200, 255)).max() < 30
    assert sheet[3, 4, at + 48] == 0, "there is nothing above a wide scene"
    assert "2 done, 1 failed, 1 quarantined" in text_of(page)


def test_a_moved_archive_finds_its_masks(folder, tmp_path_factory):
    moved = folder.rename(tmp_path_factory.mktemp("moved") / "archive")
    assert sorted(item["thumbnail"] for item in items_of(write_report(moved))) == [-1, -1, 0, 1]


def test_with_hashed_names_no_name_and_no_text_of_a_header_is_told(folder):
    page = write_report(folder, options=ReportOptions(hash_names=True))
    text = page.read_text("utf-8")
    for secret in (PATIENT, folder.name, str(folder), "1950", "description"):
        assert secret not in text
    names = {item["input"] for item in items_of(page)}
    assert pseudonym(folder / f"{PATIENT}_0.tif") in names
    assert {item["code"] for item in items_of(page)} == {"", "unreadable", "suspicious"}


def test_reviews_of_another_reader_come_with_the_page(folder, tmp_path_factory):
    table = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    first = str(folder / f"{PATIENT}_0.tif")
    write_rows(table, ("input", "verdict", "comment"), [(first, "fail", f"{PATIENT} moved"), (EVIL, "", "look")])
    page = write_report(folder, options=ReportOptions(reviews=table))
    assert data_of(page)["reviews"] == [[first, "fail", f"{PATIENT} moved"], [EVIL, "", "look"]]
    page = write_report(folder, options=ReportOptions(reviews=table, hash_names=True))
    assert data_of(page)["reviews"] == [[pseudonym(first), "fail", ""], [pseudonym(EVIL), "", ""]]
    assert PATIENT not in page.read_text("utf-8")
    assert "Comments of the reviews are left out" in text_of(page)
    table.write_text("input,verdict\nnobody.tif,pass\n")
    with pytest.raises(RequestError, match=r"--reviews .*reviews.csv, line 2: the ledger has no item nobody.tif"):
        write_report(folder, options=ReportOptions(reviews=table))


def test_a_folder_with_something_else_is_left_alone(folder):
    mine = folder / "archive_report_thumbnails"
    mine.mkdir()
    (mine / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"mine\.txt"):
        write_report(folder)
    assert not (folder / "archive_report.html").exists()
    page = write_report(folder, options=ReportOptions(thumbnails=False))
    assert {item["thumbnail"] for item in items_of(page)} == {-1}


def test_unreadable_masks_have_no_thumbnail(folder):
    (folder / f"{PATIENT}_1_mask.tif").write_bytes(b"broken")
    assert sorted(item["thumbnail"] for item in items_of(write_report(folder))) == [-1, -1, -1, 0]


@pytest.mark.parametrize("options", [{"image": "a.tif"}, {"truth": "a.tif"}, {"detail": 300}, {"volume": 0}])
def test_options_of_one_mask_are_refused(folder, options):
    with pytest.raises(RequestError, match=f"--{next(iter(options))}"):
        write_report(folder, options=ReportOptions(**options))


def test_a_folder_without_a_ledger_is_refused(tmp_path):
    with pytest.raises(RequestError, match="no ledger here"):
        write_report(tmp_path)


def test_outliers_are_told(tmp_path):
    ledger = ArchiveLedger(tmp_path / LEDGER_NAME)
    for number in range(12):
        volume = 4000.0 if number == 7 else 3000.0 + number
        ledger.settle(Entry(f"s{number}.nii.gz", None, "done"), (), {"liver": volume})
    ledger.close()
    unusual = {item["input"]: item["unusual"] for item in items_of(write_report(tmp_path)) if item["unusual"]}
    assert unusual == {"s7.nii.gz": "liver has 4e+03 ml; the median of 12 is 3.01e+03"}
