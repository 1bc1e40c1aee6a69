"""Reports in a real browser: they draw what they hold, obey mouse and keys, and ask for nothing."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger, Entry
from pipeline.archive.outputs import written
from pipeline.archive.review import Review, read_reviews
from pipeline.classes import LabelClass
from pipeline.io.tables import read_rows, write_rows
from pipeline.reports import ReportOptions, write_report
from tests.reports.test_volume import STRAIGHT, phantom, shares_of, stored
from tests.support.browser import chromium
from tests.support.pages import CLASSES, EVIL, labels, put_image, put_layer, put_mask
from tests.support.visits import counts, pixels_of, says, until, visit

pytestmark = pytest.mark.server
WATER, ICE = CLASSES[0].color, CLASSES[2].color
OUTLINE = (160, 0, 160)
"""Of patches that failed."""
SHAPE = (90, 120)


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    mask = put_mask(folder / "scene_mask.tif", labels(SHAPE))
    put_image(folder / "scene.tif", np.full((3, *SHAPE), 128, np.uint8))
    put_layer(folder / "scene_mask_confidence.tif", np.full(SHAPE, 0.9))
    expected = labels(SHAPE)
    expected[50:70, :40] = 1
    truth = put_mask(folder / "truth.tif", expected)
    return write_report(mask, options=ReportOptions(truth=str(truth)))


def test_patches_that_failed_are_on_the_map_and_found_by_keys(browser, tmp_path):
    record = {"failed_patches": 1, "failed_patches_at": [[[0, 0], [20, 30]]]}
    page = write_report(put_mask(tmp_path / "scene_mask.tif", labels(SHAPE), provenance=record))
    with visit(browser, page) as seen:
        seen.comes_to("#map", OUTLINE, 0.0005, 1)
        seen.page.get_by_role("button", name="show patch 1 on the map").press("Enter")
        seen.says("#under", r"row 10, column 15 .* nodata .* a patch failed here")
        layer(seen.page, "failed patches").locator("input[type=checkbox]").uncheck()
        seen.comes_to("#map", OUTLINE, 0, 0)


def layer(page, name):
    return page.locator(".layer", has_text=name)


def test_a_scene_is_drawn_and_obeys_its_switches(browser, scene):
    with visit(browser, scene) as seen:
        page = seen.page
        layer(page, "mask").locator("input[type=range]").fill("100")
        seen.comes_to("#map", WATER, 0.15, 0.35)
        page.get_by_label("0 water").uncheck()
        seen.comes_to("#map", WATER, 0, 0)
        seen.comes_to("#map", (128, 128, 128), 0.15, 1)
        page.locator("#all").click()
        page.locator("#patterns").check()
        seen.says("#classes", "0 water\\s*rising lines")
        seen.comes_to("#map", (0, 0, 90), 0.05, 1)
        page.locator("#none").click()
        layer(page, "errors").locator("input[type=checkbox]").check()
        seen.comes_to("#map", (230, 0, 0), 0.01, 1)


def test_a_scene_is_read_by_keyboard_alone(browser, scene):
    with visit(browser, scene) as seen:
        page = seen.page
        said = seen.says("#under", "row 45, column 60")
        assert r"\u202e" in said, "a name that turns the direction of text is spelled out"
        assert "confidence 0.90" in said
        assert "500600, 5599550" in said
        page.locator("#map").focus()

        def further_left():
            page.keyboard.press("ArrowLeft")
            return page.locator("#under").inner_text()

        until(page, further_left, lambda words: "0 water" in words)
        before = page.evaluate("view.getZoom()")
        page.keyboard.press("+")
        seen.until(f"view.getZoom() > {before} + 0.5")
        page.keyboard.press("0")
        seen.until(f"Math.abs(view.getZoom() - {before}) < 0.1")


def test_the_scale_is_that_of_the_ground(browser, scene):
    with visit(browser, scene) as seen:
        line = seen.page.locator(".ol-scale-line-inner")

        def shown():
            box = line.bounding_box() or {"width": 0}
            return line.inner_text(), box["width"] * seen.page.evaluate("view.getResolution()") * 10

        def is_right(read):
            words, meters = read
            return words.endswith(" m") and meters == pytest.approx(float(words.split()[0]), rel=0.05)

        until(seen.page, shown, is_right)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_in_a_narrow_window(browser, scene, scheme):
    """A window of 1,280 x 1,024 at 400 %."""
    with visit(browser, scene, 320, 256, color_scheme=scheme) as seen:
        seen.says("#under", "row 45, column 60")
        assert seen.fits()
        paper = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.parametrize("codes", ["LPS", "PIR"])
def test_left_is_left_in_a_volume(browser, tmp_path, codes):
    mask = stored(tmp_path / "ct_mask.nii.gz", phantom(), STRAIGHT, codes)
    stored(tmp_path / "ct.nii.gz", (phantom() > 0).astype(np.int16) * 50, STRAIGHT, codes)
    page = write_report(mask, options=ReportOptions(image=str(tmp_path / "ct.nii.gz")))
    with visit(browser, page) as seen:
        seen.until("window.viewer !== undefined")
        seen.page.locator("#outlines").uncheck()
        layer(seen.page, "mask").locator("input[type=range]").fill("100")
        seen.page.locator("#view").select_option("0")
        colors = {value: _color(seen.page, value) for value in range(1, 5)}
        axial = [seen.comes_to("#slices", colors[value], 0.002, 1) for value in (1, 2, 3)][-1]
        middle = axial.shape[1] / 2
        assert _center(axial, colors[1])[1] > middle > _center(axial, colors[2])[1], "the left is shown at the right"
        assert _center(axial, colors[3])[0] < axial.shape[0] / 2, "the front is shown at the top"
        seen.page.locator("#view").select_option("1")
        coronal = seen.comes_to("#slices", colors[4], 0.002, 1)
        assert _center(coronal, colors[4])[0] < coronal.shape[0] / 2, "the head is shown at the top"
        until(seen.page, seen.page.locator("#trouble").is_hidden, bool)
        before = seen.says("#under", " mm")
        seen.page.locator("#slices").focus()
        seen.page.keyboard.press("PageUp")
        until(seen.page, seen.page.locator("#under").inner_text, lambda words: words != before)


def test_a_layer_of_a_volume_is_switched_on_but_for_what_was_not_observed(browser, tmp_path):
    mask = stored(tmp_path / "ct_mask.nii.gz", phantom(), STRAIGHT, "LPS")
    shares = np.full(phantom().shape, 0.0, np.float32)
    shares[:18], shares[:, :17] = 1, np.nan
    shares_of(mask, shares, "confidence")
    with visit(browser, write_report(mask)) as seen:
        seen.until("window.viewer !== undefined")
        seen.page.locator("#view").select_option("0")
        yellow = (253, 231, 37)
        before = float(pixels_of(seen.picture("#slices"), yellow).mean())
        layer(seen.page, "confidence").locator("input[type=range]").fill("100")
        layer(seen.page, "confidence").locator("input[type=checkbox]").check()
        seen.comes_to("#slices", yellow, before + 0.05, 0.35)
        seen.comes_to("#slices", (68, 1, 84), 0.05, 0.35)
        seen.page.locator("#slices").focus()
        seen.page.keyboard.press("ArrowUp")
        seen.says("#under", "confidence [01].000")


def test_a_mask_without_its_image_has_its_own_colors(browser, tmp_path):
    page = write_report(stored(tmp_path / "ct_mask.nii.gz", phantom(), STRAIGHT, "RAS"))
    with visit(browser, page) as seen:
        seen.until("window.viewer !== undefined")
        layer(seen.page, "mask").locator("input[type=range]").fill("100")
        seen.page.locator("#view").select_option("0")
        seen.comes_to("#slices", _color(seen.page, 1), 0.002, 1)
        kept = _color(seen.page, 2)
        drawn = seen.comes_to("#slices", kept, 0.002, 1)
        filled, lined = (float(pixels_of(drawn, color).mean()) for color in (_color(seen.page, 1), kept))
        seen.page.get_by_label("patterns").check()
        seen.says("#classes", "filled.*lines.*checks")
        seen.comes_to("#slices", kept, 0.4 * lined, 0.9 * lined)
        seen.comes_to("#slices", _color(seen.page, 1), 0.95 * filled, 1.05 * filled)
        seen.page.get_by_label("patterns").uncheck()
        seen.comes_to("#slices", kept, 0.99 * lined, 1)
        seen.page.locator("#classes input[value='1']").uncheck()
        seen.comes_to("#slices", _color(seen.page, 1), 0, 0)
        seen.comes_to("#slices", kept, 0.002, 1)
        seen.page.locator("#none").click()
        red, green, _ = seen.comes_to("#slices", kept, 0, 0).astype(int).transpose(2, 0, 1)
        assert (np.abs(red - green) < 60).all(), "the cross and letters are yellow, and nothing else is colored"


def _color(page, value):
    words = page.locator(f"#classes label:has(input[value='{value}']) rect").get_attribute("fill")
    return tuple(int(words[at : at + 2], 16) for at in (1, 3, 5))


def _center(picture, color):
    """Mean row and column of a color."""
    return np.argwhere(pixels_of(picture, color)).mean(axis=0)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    ledger = ArchiveLedger(folder / LEDGER_NAME)
    mask = put_mask(
        folder / "s00000_mask.tif", np.zeros((50, 50), np.uint8), classes=(LabelClass(0, "x", (0, 0, 200)),)
    )
    ledger.settle(Entry("s00000.tif", str(mask), "done"), written([mask], folder))
    more = [Entry(f"s{number:05d}.tif", None, "done", seconds=1.0) for number in range(1, 10_000)]
    ledger.add(
        [*more, Entry(EVIL, None, "quarantined", "unreadable", EVIL), Entry("=cmd.tif", None, "failed", "memory")]
    )
    ledger.close()
    return write_report(folder)


def exported(page, path):
    with page.expect_download() as started:
        page.locator("#export").click()
    started.value.save_as(path)
    return path


def test_an_archive_is_reviewed_by_keys_and_exported(browser, archive, tmp_path):
    with visit(browser, archive) as seen:
        page = seen.page
        seen.says("#count", "10,002 of 10,002 items")
        until(page, page.locator(".item").count, lambda found: 0 < found < 40)
        says(page.locator(".item .name").first, "^=cmd.tif$")  # what failed is on top
        page.locator("#table").focus()
        page.keyboard.press("f")
        page.keyboard.press("p")
        page.keyboard.press("c")
        page.keyboard.type('good, "really"')
        page.keyboard.press("Enter")
        page.keyboard.press("End")
        page.wait_for_selector("#row10001")
        page.keyboard.press("/")
        page.keyboard.type("s00000")
        counts(page.locator(".item"), 1)
        seen.comes_to(".thumb", WATER, 0.1, 1)
        page.reload()
        seen.says("#count", "1 pass, 1 fail")
        exported(page, tmp_path / "reviews.csv")
    ledger = ArchiveLedger(archive.parent / LEDGER_NAME)
    found = read_reviews(tmp_path / "reviews.csv", ledger)
    ledger.close()
    assert found["=cmd.tif"] == Review("=cmd.tif", "fail", "")
    assert found[EVIL] == Review(EVIL, "pass", "")
    assert found["s00000.tif"] == Review("s00000.tif", None, 'good, "really"')


def test_a_reader_goes_on_from_another(browser, archive, tmp_path):
    write_rows(
        tmp_path / "first.csv",
        ("input", "verdict", "comment"),
        [(EVIL, "pass", 'a "note",\r\nin two lines'), ("=cmd.tif", "fail", "-1"), ("elsewhere.tif", "pass", "")],
    )
    (tmp_path / "wrong.csv").write_text("input,verdict\n=cmd.tif,perhaps\n")
    with visit(browser, archive) as seen:
        page = seen.page
        seen.says("#count", "items; 0 pass")
        page.locator("#table").focus()
        page.keyboard.press("p")
        page.locator("#load").set_input_files(tmp_path / "first.csv")
        seen.says("#loaded", "first.csv: 1 added; 1 unlike yours, which stay.*1 of items that are not in this archive")
        seen.says("#count", "2 pass, 0 fail")
        page.locator("#verdict").select_option("differs")
        counts(page.locator(".item"), 1)
        seen.says(".item", "the table has: fail, -1")
        page.locator("#load").set_input_files(tmp_path / "wrong.csv")
        seen.says("#loaded", "wrong.csv: row 1: verdict perhaps must be pass, fail or empty")
        exported(page, tmp_path / "second.csv")
    ledger = ArchiveLedger(archive.parent / LEDGER_NAME)
    found = read_reviews(tmp_path / "second.csv", ledger)
    ledger.close()
    assert found["=cmd.tif"] == Review("=cmd.tif", "pass", "")
    assert found[EVIL] == Review(EVIL, "pass", 'a "note",\r\nin two lines')
    page = write_report(archive.parent, tmp_path / "next.html", ReportOptions(reviews=tmp_path / "second.csv"))
    with visit(browser, page) as seen:
        seen.says("#loaded", "Reviews that came with this page: 2 added")
        seen.page.locator("#table").focus()
        seen.page.keyboard.press("u")
        seen.page.reload()
        seen.says("#count", "1 pass, 0 fail")  # what came with the page stays undone


def test_the_page_reads_tables_as_the_command_does(browser, archive, tmp_path):
    cells = st.text(st.sampled_from("ab,\t\"'\r\n =-@\ufeffé"), max_size=6)
    with visit(browser, archive) as seen:

        @settings(max_examples=40)
        @given(st.lists(st.tuples(cells, cells, cells), max_size=4), st.sampled_from([",", "\t"]))
        def check(rows, delimiter):
            path = tmp_path / ("a.csv" if delimiter == "," else "a.tsv")
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
                writer.writerows([("input", "verdict", "comment"), *rows])
            text = path.read_bytes().decode()
            assert seen.page.evaluate("([text, by]) => rowsOf(text, by).rows", [text, delimiter]) == read_rows(path)

        check()


def test_an_archive_fits_a_narrow_window(browser, archive):
    with visit(browser, archive, 320, 256, color_scheme="dark") as seen:
        seen.page.wait_for_selector(".item")
        assert seen.fits()
