"""The viewer in a real browser: what is on the screen, and that nothing leaves this machine."""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import nibabel
import numpy as np
import pyproj
import pytest
import rasterio

from tests.support.browser import chromium
from tests.support.tile_server import color_of, tile_server
from tests.support.viewer import SCRIPT, put_scan_and_mask, put_volume_layer, served
from tests.support.visits import counts, says, until, visit

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@contextmanager
def opened(browser, address, **how):
    """A viewer when all is drawn for the first time."""
    with visit(browser, address, **how) as seen:
        seen.page.wait_for_selector("body[data-ready]")
        yield seen


def screen_of(page, column, row):
    """Pixel of the window at which the center of a cell is."""
    return page.evaluate(
        """([column, row]) => {
            const [x, y] = viewer.map.getPixelFromCoordinate([column + 0.5, -row - 0.5]);
            const box = viewer.map.getTargetElement().getBoundingClientRect();
            return [x + box.left, y + box.top];
        }""",
        [column, row],
    )


def settled(page):
    """Wait until all tiles are drawn."""
    page.evaluate("new Promise((done) => { viewer.map.once('rendercomplete', () => done()); viewer.map.render(); })")


def color_at(page, column, row):
    x, y = screen_of(page, column, row)
    shot = page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
    with rasterio.MemoryFile(shot) as memory, memory.open() as picture:
        return tuple(picture.read()[:3, 0, 0].tolist())


def colored(page, column, row, expected, within=0):
    """Wait until a cell has a color."""
    until(page, lambda: color_at(page, column, row), lambda found: np.abs(np.subtract(found, expected)).max() <= within)


def terms(words):
    """Names and values in the text of a list of terms."""
    lines = words.split("\n")
    return {term: value.strip() for term, value in zip(lines[::2], lines[1::2], strict=True)}


def test_a_scene_is_shown_with_its_mask_and_what_is_under_the_cursor(browser, address, files):
    with opened(browser, address) as seen, rasterio.open(files[0]) as image, rasterio.open(files[1]) as mask:
        page = seen.page
        seen.says("h1", "^scene.tif, scene_mask.tif$")
        says(page.locator(".classes li").nth(2), rf"^{re.escape(SCRIPT)}\s*2$")
        for column, row in ((40, 30), (450, 350), (880, 690)):
            page.mouse.move(*screen_of(page, column, row))
            shown = terms(seen.says("#cursor", f"{row}, {column}"))
            window = rasterio.windows.Window(column, row, 1, 1)
            assert shown["scene.tif"] == ", ".join(map(str, image.read(window=window)[:, 0, 0]))
            assert shown["scene_mask.tif"].split()[0] == str(mask.read(1, window=window)[0, 0])
            assert [shown["x"], shown["y"]] == [f"{each:.7f}" for each in image.xy(row, column)]


def test_names_are_shown_as_they_are_and_what_is_missing_is_said(browser, files, tmp_path):
    odd = tmp_path / "<img src=x onerror=alert(1)>\"'\n.tif"
    shutil.copy(files[1], odd)
    with served([odd]) as address, opened(browser, address) as seen:
        name = "<img src=x onerror=alert(1)>\"'\\n.tif"
        seen.says("h1", f"^{re.escape(name)}$")
        said = f"scene.tif, of which {name} was made, is not beside it: give it as another FILE"
        seen.says("#notes", f"^{re.escape(said)}$")
        counts(seen.page.locator("main img, aside img, aside script"), 0)


def test_classes_opacity_and_the_divider_change_what_is_seen(browser, address, files):
    with rasterio.open(files[0]) as image, rasterio.open(files[1]) as mask:
        pixels, labels = image.read(), mask.read(1)
    row, column = next((350, at) for at in range(446, 456) if labels[350, at] == 3)
    below, forest = pixels[:, row, column], np.array([30, 140, 60])
    with opened(browser, address) as seen:
        page = seen.page
        page.evaluate("viewer.map.getView().setResolution(0.125); viewer.map.getView().setCenter([450.5, -350.5])")
        colored(page, column, row, 0.4 * below + 0.6 * forest, within=2)
        page.get_by_label("Opacity of scene_mask.tif").fill("100")
        colored(page, column, row, forest)
        page.get_by_label("forest").uncheck()
        colored(page, column, row, below)
        page.get_by_label("forest").check()
        colored(page, column, row, forest)
        page.get_by_label("Compare side by side").check()
        split = page.get_by_label("Where the masks begin")
        for value, expected in (("1000", below), ("0", forest)):
            split.fill(value)
            colored(page, column, row, expected)


def test_the_area_of_a_drawn_polygon_is_geodesic(browser, address, files):
    with opened(browser, address) as seen:
        page = seen.page
        page.get_by_role("button", name="Draw a polygon").click()
        ring = [(100, 60), (800, 100), (700, 600), (150, 500)]
        for corner in ring:
            page.mouse.click(*screen_of(page, *corner))
        page.mouse.dblclick(*screen_of(page, *ring[-1]))
        value, unit = seen.says("#area strong", r"\d").split()
        assert unit == "km²"
        assert float(value) * 1e6 == pytest.approx(geodesic(seen, files[0]), rel=1e-3)
        counts(page.locator("#area table tr"), 4)
        page.get_by_role("button", name="Clear").click()
        seen.says("#area", "^$")


def geodesic(seen, file):
    """Square meters of the polygon that was drawn."""
    drawn = seen.page.evaluate(
        "viewer.map.getAllLayers().at(-1).getSource().getFeatures()[0].getGeometry().getCoordinates()[0]"
    )
    with rasterio.open(file) as dataset:
        lons, lats = zip(*(dataset.transform @ (x, -y) for x, y in drawn), strict=True)
    return abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lons, lats)[0])


def test_a_polygon_is_drawn_by_keyboard_alone(browser, address, files):
    with opened(browser, address) as seen:
        keys = seen.page.keyboard
        seen.page.get_by_role("button", name="Draw a polygon").press("Enter")
        seen.says("#drawing", "move to each with the keys, and press Enter")
        keys.press("Enter")
        seen.says("#drawing", "^Corner 1 at row 350, column 450; 2 more needed.$")
        keys.press("Shift+ArrowUp")
        seen.says("#there", r"^row 349, column 450; scene.tif \d+, \d+, \d+; scene_mask.tif \d ")
        keys.press("Enter")
        seen.says("#drawing", "^Corner 2 at row 349, column 450; 1 more needed.$")
        keys.press("f")
        seen.says("#drawing", "^A polygon needs 3 corners; it has 2.$")
        keys.press("Backspace")
        seen.says("#drawing", "^Corners left: 1.$")
        for key, axis, way in (("ArrowRight", 0, 1), ("ArrowUp", 1, 1)):
            before = seen.page.evaluate("viewer.map.getView().getCenter()")
            keys.press(key)
            seen.until(f"({way} * (viewer.map.getView().getCenter()[{axis}] - {before[axis]})) > 50")
            seen.until("!viewer.map.getView().getAnimating()")
            keys.press("Enter")
        seen.says("#drawing", "^Corner 3 at .*; F finishes.$")
        keys.press("f")
        words = seen.says("#area", r"in a polygon of 3 corners.*Observed cells of scene_mask.tif")
        value, unit = words.split()[:2]
        assert unit == "km²"
        assert float(value) * 1e6 == pytest.approx(geodesic(seen, files[0]), rel=1e-3)
        keys.press("Enter")
        seen.says("#drawing", "^$")


def test_wheel_and_keys_zoom_and_move(browser, address):
    resolution = "viewer.map.getView().getResolution()"
    with opened(browser, address) as seen:
        page = seen.page
        before = page.evaluate(resolution)
        page.mouse.move(*screen_of(page, 450, 350))
        page.mouse.wheel(0, -400)
        seen.until(f"{resolution} < {before} / 1.5")
        settled(page)
        page.locator("#map").focus()
        center = page.evaluate("viewer.map.getView().getCenter()")
        page.keyboard.press("ArrowRight")
        seen.until(f"viewer.map.getView().getCenter()[0] > {center[0]}")
        closer = page.evaluate(resolution)
        page.keyboard.press("+")
        seen.until(f"{resolution} < {closer}")
        page.wait_for_selector("#cursor dd")


def test_a_map_under_a_scene_is_where_it_belongs(browser, files):
    """Each tile of the map has a color of its own, and the scene is between them."""
    with (
        tile_server() as (tiles, asked),
        served([files[0]], basemap=tiles) as address,
        opened(browser, address) as seen,
    ):
        page = seen.page
        page.get_by_role("checkbox", name="scene.tif").uncheck()
        with rasterio.open(files[0]) as dataset:
            places = [(column, row, dataset.xy(row, column)) for row in (60, 400, 640) for column in (50, 500, 850)]
        for column, row, (lon, lat) in places:

            def is_of_its_tile(found, lon=lon, lat=lat):
                zooms = {zoom for zoom, _ in asked}
                return found in [color_of(zoom, *tile_at(zoom, lon, lat)) for zoom in zooms]

            until(page, lambda column=column, row=row: color_at(page, column, row), is_of_its_tile)
        assert {referrer for _, referrer in asked} == {f"{urlsplit(address).scheme}://{urlsplit(address).netloc}/"}


def tile_at(zoom, lon, lat):
    """Column and row of the tile of a place."""
    x, y = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform(lon, lat)
    side = 2 * np.pi * 6378137 / 2**zoom
    return int((x + np.pi * 6378137) / side), int((np.pi * 6378137 - y) / side)


def test_a_narrow_window_at_400_percent_has_no_sideways_scroll(browser, address):
    with visit(browser, address, 320, 256) as seen:
        seen.page.wait_for_selector("body[data-ready]")
        assert seen.fits()
        button = seen.page.get_by_role("button", name="Draw a polygon")
        button.scroll_into_view_if_needed()
        until(seen.page, button.is_visible, bool)


def test_a_volume_is_shown_with_its_structures_and_sides(browser, tmp_path):
    scan, mask = put_scan_and_mask(tmp_path)
    voxel = (10, 20, 10)
    image = nibabel.load(scan)
    place = nibabel.affines.apply_affine(image.affine, voxel)
    with served([scan, mask]) as address, opened(browser, address) as seen:
        page = seen.page
        seen.says("#subtitle", "^40 x 50 x 30, voxels of 0.8 x 0.9 x 2.5 mm, LPS$")
        page.evaluate("([x, y, z]) => viewer.nv.scene.crosshairPos = viewer.nv.mm2frac([x, y, z])", place.tolist())
        page.evaluate("viewer.nv.createOnLocationChange(); viewer.nv.drawScene()")
        shown = terms(seen.says("#cursor", "10, 20, 10"))
        assert shown["voxel z, y, x"] == "10, 20, 10"
        assert shown["place (mm)"] == "4.5 R, 12.0 A, 15.0 I"
        assert shown["scan.nii.gz"] == str(int(image.dataobj[voxel]))
        assert shown["scan_mask.nii.gz"] == "1 water"
        page.get_by_label("water").uncheck()
        page.get_by_role("button", name="Axial").click()
        page.locator("#volume").focus()
        page.keyboard.press("PageUp")
        seen.says("#cursor", "11, 20, 10")
        seen.says("#there", "voxel z, y, x 11, 20, 10 scan.nii.gz")


def test_a_layer_of_a_volume_is_switched_on_over_its_mask_but_for_what_was_not_observed(browser, tmp_path):
    scan, mask = put_scan_and_mask(tmp_path)
    shares = np.full((30, 50, 40), 0.25, np.float32)
    shares[:, :, :20] = 1
    shares[:, 25:] = np.nan
    layer = put_volume_layer(tmp_path / "scan_mask_confidence.nii.gz", shares, scan)
    with served([mask, layer]) as address, opened(browser, address) as seen:
        page, yellow = seen.page, (253, 231, 37)
        box = page.get_by_role("checkbox", name=layer.name)
        until(page, box.is_checked, lambda checked: not checked)
        page.get_by_role("button", name="Axial").click()
        seen.comes_to("#volume", yellow, 0, 0.02)  # the cross
        box.check()
        page.get_by_label(f"Opacity of {layer.name}").fill("100")
        seen.comes_to("#volume", yellow, 0.05, 0.4)
        seen.says("#layers", r"0\.25\s+1")
        for (j, k), words in {(10, 10): "1", (40, 10): "not observed"}.items():
            place = nibabel.affines.apply_affine(nibabel.load(scan).affine, (10, j, k)).tolist()
            page.evaluate("([x, y, z]) => viewer.nv.scene.crosshairPos = viewer.nv.mm2frac([x, y, z])", place)
            page.evaluate("viewer.nv.createOnLocationChange(); viewer.nv.drawScene()")
            assert terms(seen.says("#cursor", f"{k}, {j}, 10"))[layer.name] == words
        box.uncheck()
        page.get_by_label(f"Opacity of {layer.name}").fill("90")
        seen.comes_to("#volume", yellow, 0, 0.02)  # the cross


def test_a_page_names_a_volume_that_is_damaged(browser, tmp_path):
    scan, _ = put_scan_and_mask(tmp_path)
    scan.write_bytes(scan.read_bytes()[:-9000])
    with served([scan]) as address, visit(browser, address) as seen:
        seen.says("#notes", r"scan\.nii\.gz: ")
        seen.complaints[:] = [one for one in seen.complaints if not re.search(r"volumes/0\.nii|ERR_|fetch", one)]
