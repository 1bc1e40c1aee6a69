"""What other programs make of a mask: rioxarray of GeoTIFF and Zarr, and QGIS of its style."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from pipeline.classes import LabelClass
from pipeline.geometry import Grid
from pipeline.io.raster import RasterSource, write_cog
from pipeline.masks.export import export
from tests.support.rasters import PLACES, pixels, put

rioxarray = pytest.importorskip("rioxarray")
xr = pytest.importorskip("xarray")

CLASSES = (LabelClass(0, "open water", (10, 20, 200)), LabelClass(3, 'Wälder & "Wiesen" <nass>', (0, 200, 0)))
NODATA = 255


def mask_at(folder: Path, place: str, shape: tuple[int, int] = (70, 90)) -> tuple[Path, NDArray[np.uint8], Grid]:
    labels = np.where(pixels(shape, bool), 3, 0).astype(np.uint8)
    labels[:9, 5:] = NODATA
    grid = RasterSource(put(folder / "place.tif", labels[None], **PLACES[place])).grid
    write_cog(folder / "mask.tif", grid, iter([labels]), labels.dtype, nodata=NODATA, classes=CLASSES, tags={})
    return folder / "mask.tif", labels, grid


def check(array: Any, labels: NDArray[np.uint8], mask: Path) -> None:
    """Values, nodata, system and place of an array of rioxarray are those that rasterio finds in the mask."""
    with rasterio.open(mask) as dataset:
        np.testing.assert_array_equal(array.values, labels)
        assert array.dtype == np.uint8
        assert array.rio.nodata == NODATA
        assert array.rio.crs == (dataset.crs if dataset.crs else None)
        for recalc in (False, True):
            found = array.rio.transform(recalc=recalc)
            np.testing.assert_allclose(found, dataset.transform, rtol=1e-12, atol=1e-9)
        rows, columns = np.mgrid[0:70:13, 0:90:11]
        x, y = dataset.transform @ (columns + 0.5, rows + 0.5)
        if {"x", "y"} <= set(array.indexes):
            np.testing.assert_allclose(array.x.values[columns], x, rtol=1e-12, atol=1e-9)
            np.testing.assert_allclose(array.y.values[rows], y, rtol=1e-12, atol=1e-9)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of affine, in rasterio
@pytest.mark.parametrize("place", [name for name in PLACES if name not in ("rotated", "sheared")])
def test_rioxarray_reads_a_geotiff_in_place(place, tmp_path):
    mask, labels, _ = mask_at(tmp_path, place)
    with rioxarray.open_rasterio(mask) as array:
        if "points" not in place:
            check(array[0], labels, mask)
            return
        np.testing.assert_array_equal(array.values[0], labels)
        with rasterio.open(mask) as dataset:
            expected = [p.asdict() for p in dataset.gcps[0]]
        found = [p.asdict() for p in array.rio.get_gcps()]
        places = [[(p["row"], p["col"], p["x"], p["y"], p["z"]) for p in points] for points in (found, expected)]
        assert places[0] == places[1]


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("place", ["north-up", "south-up", "degrees", "point", "local", "transform alone", "nowhere"])
def test_rioxarray_reads_an_exported_store_as_it_does_the_geotiff(place, tmp_path):
    mask, labels, _ = mask_at(tmp_path, place)
    export(mask, tmp_path / "mask.zarr")
    options: dict[str, Any] = {"decode_coords": "all", "mask_and_scale": False, "consolidated": False}
    with xr.open_dataset(tmp_path / "mask.zarr", engine="zarr", **options) as dataset:
        check(dataset["mask"], labels, mask)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("place", ["rotated", "sheared"])
def test_what_cannot_be_told_by_vectors_of_x_and_y_keeps_its_transform(place, tmp_path):
    mask, labels, grid = mask_at(tmp_path, place)
    with rioxarray.open_rasterio(mask, parse_coordinates=False) as array:
        np.testing.assert_array_equal(array.values[0], labels)
        assert array.rio.transform(recalc=False) == Affine(*grid.reference["gdal"]["transform"])
        assert array.rio.nodata == NODATA


def style_as_qgis_reads_it(path: Path) -> dict[int, tuple[tuple[int, ...], str]]:
    """Colour and label by value, found as QGIS 3 finds them; an error where it would find none.

    It looks for the first `pipe` of the root `qgis`, the first `rasterrenderer` in it, of a type that it knows, and
    takes the `paletteEntry` children of its `colorPalette`: whole numbers, colours `#rrggbb`, alpha from 0 to 255.
    """
    text = path.read_text(encoding="utf-8")
    assert re.match(r"<!DOCTYPE qgis PUBLIC '[^']+' 'SYSTEM'>\n<qgis ", text)
    root = ElementTree.fromstring(text)
    assert (root.tag, re.fullmatch(r"3\.\d+\.\d+", root.attrib["version"]) is not None) == ("qgis", True)
    assert root.attrib["styleCategories"] in ("Symbology", "AllStyleCategories")
    renderer = root.findall("pipe")[0].findall("rasterrenderer")[0]
    said = dict(renderer.attrib)
    assert (said.pop("type"), int(said.pop("band"))) == ("paletted", 1)
    assert (float(said.pop("opacity")), int(said.pop("alphaBand")), said.pop("nodataColor")) == (1, -1, "")
    assert not said, "attributes that QGIS does not read"
    found = {}
    for entry in renderer.findall("colorPalette")[0].findall("paletteEntry"):
        assert set(entry.attrib) == {"value", "color", "label", "alpha"}
        assert (re.fullmatch("#[0-9a-f]{6}", entry.attrib["color"]) is not None, entry.attrib["alpha"]) == (True, "255")
        colour = tuple(bytes.fromhex(entry.attrib["color"][1:]))
        found[int(entry.attrib["value"])] = (colour, entry.attrib["label"])
    return found


def test_qgis_finds_each_class_in_the_style(tmp_path):
    mask, _, _ = mask_at(tmp_path, "north-up")
    export(mask, tmp_path / "mask.qml")
    assert style_as_qgis_reads_it(tmp_path / "mask.qml") == {c.value: (c.color, c.name) for c in CLASSES}


def test_qgis_finds_the_same_colours_in_the_mask_itself(tmp_path):
    mask, _, _ = mask_at(tmp_path, "north-up")
    export(mask, tmp_path / "mask.qml")
    with rasterio.open(mask) as dataset:
        colours = dataset.colormap(1)
    assert {value: colours[value][:3] for value in (0, 3)} == {
        value: colour for value, (colour, _) in style_as_qgis_reads_it(tmp_path / "mask.qml").items()
    }
