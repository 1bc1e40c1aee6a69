"""The viewer in a real browser: what is on the screen, and that nothing leaves this machine."""

from __future__ import annotations

import shutil
import time
from urllib.parse import urlsplit

import nibabel
import numpy as np
import pyproj
import pytest
import rasterio

from tests.support.browser import Watched, chromium
from tests.support.tile_server import color_of, tile_server
from tests.support.viewer import SCRIPT, put_scan_and_mask, served

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def opened(browser):
    """Opens an address, and sees in the end that the page had no complaints and asked nobody else."""
    pages = []

    def open_page(address, **how):
        context = browser.new_context(viewport={"width": 1200, "height": 800}, **how)
        watched = Watched(context.new_page())
        pages.append(watched)
        watched.page.goto(address)
        watched.page.wait_for_selector("body[data-ready]", timeout=60_000)
        return watched.page

    yield open_page
    for watched in pages:
        complaints = [*watched.complaints]  # closing breaks off what is still being received
        watched.page.context.close()
        assert complaints == []
        assert watched.hosts() == {"127.0.0.1"}


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


def until(page, expression):
    """Wait until an expression holds; Playwright's own waiting evaluates text in the page, which its policy refuses."""
    end = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def color_at(page, column, row):
    x, y = screen_of(page, column, row)
    shot = page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
    with rasterio.MemoryFile(shot) as memory, memory.open() as picture:
        return tuple(picture.read()[:3, 0, 0].tolist())


def cursor(page):
    words = page.locator("#cursor").inner_text().split("\n")
    return {term: value.strip() for term, value in zip(words[::2], words[1::2], strict=True)}


def test_a_scene_is_shown_with_its_mask_and_what_is_under_the_cursor(opened, address, files):
    page = opened(address)
    assert page.locator("h1").inner_text() == "scene.tif, scene_mask.tif"
    assert page.locator(".classes li").nth(2).inner_text().split() == [SCRIPT.split()[0], "2"]
    with rasterio.open(files[0]) as image, rasterio.open(files[1]) as mask:
        for column, row in ((40, 30), (450, 350), (880, 690)):
            page.mouse.move(*screen_of(page, column, row))
            until(page, f"document.getElementById('cursor').innerText.includes('{row}, {column}')")
            shown = cursor(page)
            window = rasterio.windows.Window(column, row, 1, 1)
            assert shown["scene.tif"] == ", ".join(map(str, image.read(window=window)[:, 0, 0]))
            assert shown["scene_mask.tif"].split()[0] == str(mask.read(1, window=window)[0, 0])
            assert [shown["x"], shown["y"]] == [f"{each:.7f}" for each in image.xy(row, column)]


def test_names_are_shown_as_they_are_and_what_is_missing_is_said(opened, files, tmp_path):
    odd = tmp_path / "<img src=x onerror=alert(1)>\"'\n.tif"
    shutil.copy(files[1], odd)
    with served([odd]) as address:
        page = opened(address)
        name = "<img src=x onerror=alert(1)>\"'\\n.tif"
        assert page.locator("h1").inner_text() == name
        said = f"scene.tif, of which {name} was made, is not beside it: give it as another FILE"
        assert page.locator("#notes li").all_inner_texts() == [said]
        assert page.locator("main img, aside img, aside script").count() == 0


def test_classes_opacity_and_the_divider_change_what_is_seen(opened, address, files):
    page = opened(address)
    with rasterio.open(files[0]) as image, rasterio.open(files[1]) as mask:
        pixels, labels = image.read(), mask.read(1)
    page.evaluate("viewer.map.getView().setResolution(0.125); viewer.map.getView().setCenter([450.5, -350.5])")
    settled(page)
    row, column = next((350, at) for at in range(446, 456) if labels[350, at] == 3)
    below, forest = pixels[:, row, column], np.array([30, 140, 60])
    np.testing.assert_allclose(color_at(page, column, row), 0.4 * below + 0.6 * forest, atol=2)
    page.get_by_label("Opacity of scene_mask.tif").fill("100")
    settled(page)
    assert color_at(page, column, row) == tuple(forest)
    page.get_by_label("forest").uncheck()
    settled(page)
    assert color_at(page, column, row) == tuple(below)
    page.get_by_label("forest").check()
    settled(page)
    page.get_by_label("Compare side by side").check()
    split = page.get_by_label("Where the masks begin")
    for value, expected in (("1000", below), ("0", forest)):
        split.fill(value)
        settled(page)
        assert color_at(page, column, row) == tuple(expected)


def test_the_area_of_a_drawn_polygon_is_geodesic(opened, address, files):
    page = opened(address)
    page.get_by_role("button", name="Draw a polygon").click()
    ring = [(100, 60), (800, 100), (700, 600), (150, 500)]
    for corner in ring:
        page.mouse.click(*screen_of(page, *corner))
        page.wait_for_timeout(300)  # two clicks in a short time would be a double click
    page.mouse.dblclick(*screen_of(page, *ring[-1]))
    page.wait_for_selector("#area strong")
    drawn = page.evaluate(
        """viewer.map.getAllLayers().at(-1).getSource().getFeatures()[0].getGeometry().getCoordinates()[0]"""
    )
    with rasterio.open(files[0]) as dataset:
        lons, lats = zip(*(dataset.transform @ (x, -y) for x, y in drawn), strict=True)
    expected = abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lons, lats)[0])
    value, unit = page.locator("#area strong").inner_text().split()
    assert unit == "km²"
    assert float(value) * 1e6 == pytest.approx(expected, rel=1e-3)
    assert page.locator("#area table tr").count() == 4
    page.get_by_role("button", name="Clear").click()
    assert page.locator("#area").inner_text() == ""


def test_wheel_and_keys_zoom_and_move(opened, address):
    page = opened(address)
    resolution = "viewer.map.getView().getResolution()"
    before = page.evaluate(resolution)
    page.mouse.move(*screen_of(page, 450, 350))
    page.mouse.wheel(0, -400)
    until(page, f"{resolution} < {before} / 1.5")
    settled(page)
    page.locator("#map").focus()
    center = page.evaluate("viewer.map.getView().getCenter()")
    page.keyboard.press("ArrowRight")
    until(page, f"viewer.map.getView().getCenter()[0] > {center[0]}")
    closer = page.evaluate(resolution)
    page.keyboard.press("+")
    until(page, f"{resolution} < {closer}")
    page.wait_for_selector("#cursor dd")


def test_a_map_under_a_scene_is_where_it_belongs(opened, files):
    """Each tile of the map has a color of its own, and the scene is between them."""
    with tile_server() as (tiles, seen), served([files[0]], basemap=tiles) as address:
        page = opened(address)
        page.get_by_role("checkbox", name="scene.tif").uncheck()
        settled(page)
        with rasterio.open(files[0]) as dataset:
            places = [(column, row, dataset.xy(row, column)) for row in (60, 400, 640) for column in (50, 500, 850)]
        zooms = {zoom for zoom, _ in seen}
        for column, row, (lon, lat) in places:
            assert color_at(page, column, row) in [color_of(zoom, *tile_at(zoom, lon, lat)) for zoom in zooms]
        assert {referrer for _, referrer in seen} == {f"{urlsplit(address).scheme}://{urlsplit(address).netloc}/"}


def tile_at(zoom, lon, lat):
    """Column and row of the tile of a place."""
    x, y = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform(lon, lat)
    side = 2 * np.pi * 6378137 / 2**zoom
    return int((x + np.pi * 6378137) / side), int((np.pi * 6378137 - y) / side)


def test_a_narrow_window_at_400_percent_has_no_sideways_scroll(browser, address):
    context = browser.new_context(viewport={"width": 320, "height": 256})
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("button", name="Draw a polygon").scroll_into_view_if_needed()
    assert page.get_by_role("button", name="Draw a polygon").is_visible()
    context.close()


def test_a_volume_is_shown_with_its_structures_and_sides(opened, tmp_path):
    scan, mask = put_scan_and_mask(tmp_path)
    with served([scan, mask]) as address:
        page = opened(address)
        assert page.locator("#subtitle").inner_text() == "40 x 50 x 30, voxels of 0.8 x 0.9 x 2.5 mm, LPS"
        voxel = (10, 20, 10)
        image = nibabel.load(scan)
        place = nibabel.affines.apply_affine(image.affine, voxel)
        page.evaluate("([x, y, z]) => viewer.nv.scene.crosshairPos = viewer.nv.mm2frac([x, y, z])", place.tolist())
        page.evaluate("viewer.nv.createOnLocationChange(); viewer.nv.drawScene()")
        shown = cursor(page)
        assert shown["voxel z, y, x"] == "10, 20, 10"
        assert shown["place (mm)"] == "4.5 R, 12.0 A, 15.0 I"
        assert shown["scan.nii.gz"] == str(int(image.dataobj[voxel]))
        assert shown["scan_mask.nii.gz"] == "1 water"
        page.get_by_label("water").uncheck()
        page.get_by_role("button", name="Axial").click()
        page.locator("#volume").focus()
        page.keyboard.press("PageUp")
        assert cursor(page)["voxel z, y, x"] == "11, 20, 10"
