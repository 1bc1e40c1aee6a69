"""Pictures of scenes: the mask over its image, with a legend, a scale bar and an arrow to the north."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio import warp
from typer.testing import CliRunner

from pipeline.classes import LabelClass
from pipeline.cli import app
from pipeline.errors import InputError, RequestError
from pipeline.masks.export import export
from tests.support.inputs import pixels, put_scene
from tests.support.pages import picture_in
from tests.support.viewer import NODATA, SCRIPT, TABLE, grid_of, put_mask, put_scan_and_mask

UTM = Affine(10, 0, 500_000, 0, -10, 4_100_000)
COLORS = {entry.value: entry.color for entry in TABLE}
SVG = "{http://www.w3.org/2000/svg}"


def put_pair(folder, shape=(300, 200), **place):
    values = np.stack([pixels(shape, seed) for seed in range(3)])
    image = put_scene(folder / "scene.tif", values, **{"transform": UTM, **place})
    labels = np.random.default_rng(0).integers(0, 4, shape).astype(np.uint8)
    labels[:5] = NODATA
    return values, labels, put_mask(folder / "scene_mask.tif", labels, grid_of(image), image.name)


def picture(path):
    return np.asarray(Image.open(path)).astype(int)


@pytest.mark.parametrize("shape", [(300, 200), (5000, 90), (1100, 2100)])
def test_without_an_image_cells_have_the_colors_of_their_classes(shape, tmp_path):
    _, labels, mask = put_pair(tmp_path, shape)
    (tmp_path / "scene.tif").unlink()
    export(mask, tmp_path / "map.png")
    step, zoom = -(-max(shape) // 2048), max(1, 512 // max(shape))
    chosen = labels[step // 2 :: step, step // 2 :: step].repeat(zoom, 0).repeat(zoom, 1)
    table = np.full((256, 3), 255)
    table[list(COLORS)] = list(COLORS.values())
    found = picture(tmp_path / "map.png")
    np.testing.assert_array_equal(found[: chosen.shape[0], : chosen.shape[1]], table[chosen])
    assert max(chosen.shape) <= 2048


@pytest.mark.parametrize(("opacity", "share"), [(None, 0.6), (0.25, 0.25), (0, 0), (1, 1)])
def test_an_image_beside_the_mask_is_seen_through_it(tmp_path, opacity, share):
    values, labels, mask = put_pair(tmp_path)
    export(mask, tmp_path / "map.png", opacity=opacity)
    found = picture(tmp_path / "map.png")[:300, :200]
    image = values.transpose(1, 2, 0).astype(float)
    table = np.zeros((256, 3))
    table[list(COLORS)] = list(COLORS.values())
    shares = np.where((labels == NODATA) | (labels == 0), 0, share)[..., None]
    np.testing.assert_allclose(found, image * (1 - shares) + table[labels] * shares, atol=0.51)


def test_a_large_image_is_thinned_like_its_mask(tmp_path):
    values = np.arange(5000 * 40, dtype=np.uint32).reshape(1, 5000, 40) // 1000
    image = put_scene(tmp_path / "scene.tif", values.astype(np.uint8), transform=UTM)
    mask = put_mask(tmp_path / "mask.tif", np.zeros((5000, 40), np.uint8), grid_of(image), "scene.tif")
    export(mask, tmp_path / "map.png")
    found = picture(tmp_path / "map.png")[:1667, :13, 0]
    expected = values[0, 1::3, 1::3]
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


def test_below_the_map_are_scale_north_legend_and_what_it_is(tmp_path):
    _, _, mask = put_pair(tmp_path)
    export(mask, tmp_path / "map.svg")
    root = ElementTree.parse(tmp_path / "map.svg").getroot()
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert words == [
        "500 m",
        "N",
        "water",
        SCRIPT,
        "forest",
        "scene_mask.tif · test · EPSG:32633 WGS 84 / UTM zone 33N",
    ]
    bars = [box for box in root.iter(f"{SVG}rect") if box.get("stroke") == "#1e1e1e"]
    assert sum(float(bar.get("width")) for bar in bars) == pytest.approx(50, abs=0.5), "500 m are 50 cells of 10 m"
    squares = [box.get("fill") for box in root.iter(f"{SVG}rect") if box.get("stroke") == "#969696"]
    assert squares == ["#285ac8", "#dc3c32", "#1e8c3c"], "the background is not over an image"


def test_an_svg_holds_the_same_map_as_a_png(tmp_path):
    _, _, mask = put_pair(tmp_path)
    for suffix in ("png", "svg"):
        export(mask, tmp_path / f"map.{suffix}")
    inside = re.search(r'base64,([^"]+)"', (tmp_path / "map.svg").read_text("utf-8"))[1]
    found = picture(io.BytesIO(base64.b64decode(inside)))
    np.testing.assert_array_equal(found, picture(tmp_path / "map.png")[: found.shape[0], : found.shape[1]])


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"transform": Affine(1 / 3600, 0, 15, 0, -1 / 3600, 64), "crs": "EPSG:4326"}, "500 m across"),
        ({"transform": None, "crs": None}, "50 pixels"),
        ({"transform": Affine(1000, 0, 500_000, 0, -1000, 4_100_000)}, "50 km"),
    ],
)
def test_a_scale_says_what_it_is_of(tmp_path, place, words):
    _, _, mask = put_pair(tmp_path, **place)
    export(mask, tmp_path / "map.svg")
    texts = [text.text for text in ElementTree.parse(tmp_path / "map.svg").getroot().iter(f"{SVG}text")]
    assert texts[0] == words
    assert ("N" in texts) == (place["transform"] is not None)


@pytest.mark.parametrize("dpi", [150, 300])
def test_a_print_has_its_resolution_and_larger_words(tmp_path, dpi):
    _, _, mask = put_pair(tmp_path, (900, 700))
    export(mask, tmp_path / "map.png", dpi=dpi)
    with Image.open(tmp_path / "map.png") as found:
        assert found.info["dpi"] == pytest.approx((dpi, dpi), abs=0.1)
        assert 90 < found.height / dpi * 25.4 < 220
    export(mask, tmp_path / "map.svg", dpi=dpi)
    assert f'font-size="{8 * dpi / 72:g}"' in (tmp_path / "map.svg").read_text("utf-8")


def test_a_geopdf_has_the_picture_and_the_corners_of_the_map(tmp_path):
    _, _, mask = put_pair(tmp_path, (700, 600))
    for suffix in ("pdf", "png"):
        export(mask, tmp_path / f"map.{suffix}")
    content, shown = (tmp_path / "map.pdf").read_bytes(), picture(tmp_path / "map.png")
    np.testing.assert_array_equal(picture_in(content).reshape(shown.shape), shown)
    text = content.decode("latin-1")
    found = np.array(re.search(r"/GPTS \[ ([^]]+) \]", text)[1].split(), float).reshape(-1, 2)
    with rasterio.open(mask) as dataset:
        left, bottom, right, top = dataset.bounds
        corners = warp.transform(dataset.crs, "EPSG:4326", [left, left, right, right], [top, bottom] * 2)
    assert {tuple(point) for point in found.round(6).tolist()} == set(
        zip(*np.round(corners[::-1], 6).tolist(), strict=True)
    )
    box, page = (
        [float(each) for each in re.search(rf"/{name} \[ ([^]]+) \]", text)[1].split()] for name in ("BBox", "MediaBox")
    )
    points = 72 / 150
    assert [box[2] - box[0], box[3] - box[1]] == pytest.approx([600 * points, 700 * points], abs=1)
    assert box[3] == pytest.approx(page[3], abs=1), "the map is at the top of the page"


def test_a_map_without_a_place_is_no_geopdf(tmp_path):
    _, _, mask = put_pair(tmp_path, transform=None, crs=None)
    with pytest.raises(RequestError, match="has no place, which a GeoPDF needs"):
        export(mask, tmp_path / "map.pdf")
    assert not (tmp_path / "map.pdf").exists()


def test_an_image_elsewhere_is_refused_and_one_beside_left_out(tmp_path):
    _, _, mask = put_pair(tmp_path)
    export(mask, tmp_path / "with.png")
    put_scene(tmp_path / "scene.tif", pixels((3, 301, 200)), transform=UTM)
    with pytest.raises(InputError, match=r"the mask is on another grid than .*: their shapes differ"):
        export(mask, tmp_path / "map.png", image=tmp_path / "scene.tif")
    assert not (tmp_path / "map.png").exists()
    export(mask, tmp_path / "map.png")
    (tmp_path / "scene.tif").unlink()
    export(mask, tmp_path / "alone.png")
    assert (tmp_path / "map.png").read_bytes() == (tmp_path / "alone.png").read_bytes()


def test_of_many_classes_those_that_can_be_seen_are_named(tmp_path):
    image = put_scene(tmp_path / "scene.tif", pixels((3, 60, 80)), transform=UTM)
    table = tuple(LabelClass(value, f"class {value}", (value % 256, 7, 99)) for value in range(300))
    labels = np.full((60, 80), 299, np.uint16)
    labels[:30] = 7
    mask = put_mask(tmp_path / "mask.tif", labels, grid_of(image), "scene.tif", table)
    export(mask, tmp_path / "map.svg")
    texts = [text.text for text in ElementTree.parse(tmp_path / "map.svg").getroot().iter(f"{SVG}text")]
    assert texts[2:-1] == ["class 7", "class 299"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "x.tif", "--dpi", "300"], "--opacity and --dpi are only for pictures: .png, .svg, .pdf"),
        (["-o", "x.qml", "--opacity", "0.5"], "--opacity and --dpi are only for pictures"),
        (["-o", "x.png", "--opacity", "1.5"], "--opacity 1.5: must be from 0 to 1"),
        (["-o", "x.png", "--opacity", "nan"], "--opacity nan: must be from 0 to 1"),
        (["-o", "x.png", "--dpi", "5000"], "--dpi 5000: must be from 50 to 1200"),
        (["-o", "x.gpkg", "--image", "scene.tif"], "--image is only for pictures (.png, .svg, .pdf) and for .dcm"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, monkeypatch, words, said):
    _, _, mask = put_pair(tmp_path, (60, 80))
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["export", str(mask), *words])
    assert ended.exit_code == 2
    assert said in ended.stderr


def test_a_sheet_of_slices_is_printed_too(tmp_path):
    scan, mask = put_scan_and_mask(tmp_path)
    export(mask, tmp_path / "sheet.png", image=scan, dpi=300)
    with Image.open(tmp_path / "sheet.png") as found:
        assert found.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert 150 < found.width / 300 * 25.4 <= 180
    export(mask, tmp_path / "sheet.svg", image=scan, dpi=300)
    assert f'font-size="{8 * 300 / 72:g}"' in (tmp_path / "sheet.svg").read_text("utf-8")
