"""What goes beside a mask: others read it, and find what the mask says."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pyproj
import pystac
import pytest
import rasterio
import shapely
from affine import Affine
from pystac.extensions.mlm import AssetGeneralMLMExtension, MLMExtension
from pystac.extensions.projection import ProjectionExtension
from rasterio.control import GroundControlPoint
from rasterio.warp import transform_bounds
from typer.testing import CliRunner

from pipeline.classes import LabelClass
from pipeline.cli import app
from pipeline.errors import RequestError
from pipeline.io.raster import write_cog
from pipeline.io.raster.source import RasterSource
from pipeline.masks.export import export
from tests.support.inputs import put_volume
from tests.support.rasters import PLACES, put

CLASSES = (LabelClass(0, "open water", (10, 20, 200)), LabelClass(1, "land", (0, 200, 0)))
WEIGHTS = bytes(range(32))
MADE = {
    "input": {"name": "s.tif", "changed_ns": 1_700_000_000_000_000_000},
    "model": "m",
    "weights_sha256": WEIGHTS.hex(),
    "network": {"backbone": "resnet18", "in_channels": 3, "classes": 2},
    "patch": [256, 256],
    "tta": None,
}


def mask_at(folder, place="north-up", shape=(300, 200), provenance=MADE):
    labels = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)
    labels[:5] = 255
    where = PLACES[place] if isinstance(place, str) else place
    grid = RasterSource(put(folder / "place.tif", labels[None], **where)).grid
    tags = {"PIPELINE": json.dumps(provenance)}
    write_cog(folder / "mask.tif", grid, iter([labels]), labels.dtype, nodata=255, classes=CLASSES, tags=tags)
    return folder / "mask.tif", labels


def test_a_style_has_each_class_with_its_colour_and_name(tmp_path):
    mask, _ = mask_at(tmp_path)
    ended = CliRunner().invoke(app, ["export", str(mask), "--output", str(tmp_path / "mask.qml")])
    assert ended.exit_code == 0, ended.output
    root = ElementTree.parse(tmp_path / "mask.qml").getroot()
    assert root.tag == "qgis"
    renderer = root.find("pipe/rasterrenderer")
    assert renderer.get("type") == "paletted"
    entries = [(e.get("value"), e.get("color"), e.get("label")) for e in renderer.iter("paletteEntry")]
    assert entries == [("0", "#0a14c8", "open water"), ("1", "#00c800", "land")]


@pytest.mark.parametrize("place", ["north-up", "south-up", "rotated", "degrees", "nowhere", "ground control points"])
def test_a_stac_item_is_read_by_pystac_and_says_where_and_what(place, tmp_path):
    mask, _ = mask_at(tmp_path, place)
    export(mask, tmp_path / "mask.json")
    item = pystac.Item.from_file(str(tmp_path / "mask.json"))
    assert item.id == "mask"
    assert item.datetime.isoformat() == "2023-11-14T22:13:20+00:00"
    asset = item.assets["classes"]
    assert asset.get_absolute_href() == str(mask)
    assert [c["name"] for c in asset.extra_fields["classification:classes"]] == ["open_water", "land"]
    assert item.properties["proj:shape"] == [300, 200]
    with rasterio.open(mask) as dataset:
        placed = bool(dataset.crs) and not dataset.transform.is_identity
        assert (item.geometry is not None) == placed
        if placed:
            assert item.properties["proj:transform"] == list(dataset.transform)[:6]
            if place != "rotated":
                bounds = transform_bounds(dataset.crs, "OGC:CRS84", *dataset.bounds)
                np.testing.assert_allclose(item.bbox, bounds, atol=1e-6)
            ring = np.array(item.geometry["coordinates"][0])
            x, y = ring.T
            assert np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) > 0, "to the left around it"


POINTS = [GroundControlPoint(r, c, 10 + 1e-4 * c, 60 - 5e-5 * r) for r in (0, 300) for c in (0, 200)]


def item_of(folder, **place):
    mask, _ = mask_at(folder, place)
    export(mask, folder / "mask.json")
    return pystac.Item.from_file(str(folder / "mask.json"))


def test_a_stac_item_is_placed_by_ground_control_points(tmp_path):
    item = item_of(tmp_path, gcps=POINTS, crs="EPSG:4326")
    np.testing.assert_allclose(item.bbox, [10, 60 - 5e-5 * 300, 10 + 1e-4 * 200, 60], atol=1e-9)
    assert shapely.geometry.shape(item.geometry).area == pytest.approx(shapely.box(*item.bbox).area)
    assert item.properties["proj:code"] is None, "a system that only the control points have is not that of the grid"
    assert "proj:transform" not in item.properties


ACROSS = {
    "degrees": {"transform": Affine(0.002, 0, 179.8, 0, -0.001, -16), "crs": "EPSG:4326"},
    "beyond": {"transform": Affine(0.002, 0, -180.2, 0, -0.001, -16), "crs": "EPSG:4326"},
    "UTM": {"transform": Affine(200, 0, 158_000, 0, -100, 8_228_000), "crs": "EPSG:32701"},
    "Mercator from 150": {
        "transform": Affine(200, 0, 3_316_966, 0, -100, -1_804_000),
        "crs": "+proj=merc +lon_0=150 +datum=WGS84",
    },
}


@pytest.mark.parametrize("place", ACROSS)
def test_a_stac_item_across_180_degrees_is_cut_there(place, tmp_path):
    item = item_of(tmp_path, **ACROSS[place])
    west, south, east, north = item.bbox
    assert 179 < west < 180
    assert -180 < east < -179
    assert -17 < south < north < -15.5
    shape = shapely.geometry.shape(item.geometry)
    assert shape.is_valid
    assert sorted(part.bounds[::2] for part in shape.geoms) == [
        (-180, pytest.approx(east)),
        (pytest.approx(west), 180),
    ]


def test_a_stac_item_over_a_pole_reaches_it(tmp_path):
    item = item_of(tmp_path, transform=Affine(1e4, 0, -1e6, 0, -1e4, 1.5e6), crs="EPSG:3413")
    assert item.bbox[::2] == [-180, 180]
    assert item.bbox[3] == 90
    assert shapely.geometry.shape(item.geometry).is_valid


@pytest.mark.parametrize(
    ("crs", "code"),
    [("EPSG:32633", "EPSG:32633"), ("EPSG:3857", "EPSG:3857"), ("+proj=utm +zone=33 +ellps=intl +units=km", None)],
)
def test_a_stac_item_names_its_projection_as_the_extension_has_it(crs, code, tmp_path):
    item = item_of(tmp_path, transform=Affine(10, 0, 500_000, 0, -10, 5_600_000), crs=crs)
    assert ProjectionExtension.ext(item).code == code
    known = pyproj.CRS.from_wkt(item.properties["proj:wkt2"])
    assert item.properties["proj:wkt2"].startswith("PROJCRS[")
    assert known.to_wkt() == item.properties["proj:wkt2"]
    assert known == pyproj.CRS.from_user_input(crs) or code is None


def test_a_stac_item_names_the_model_and_its_weights_by_their_content(tmp_path):
    mask, _ = mask_at(tmp_path)
    export(mask, tmp_path / "mask.json")
    item = pystac.Item.from_file(str(tmp_path / "mask.json"))
    model = MLMExtension.ext(item)
    assert (model.mlm_name, model.architecture, model.framework) == ("model-m", "PSPNet (resnet18)", "PyTorch")
    (given,), (told,) = model.input, model.output
    assert given.input.shape == [-1, 3, -1, -1]
    assert told.result.shape == [-1, 2, -1, -1]
    assert [c.name for c in told.classes] == ["open_water", "land"]
    assert model.hyperparameters.to_dict() == {"patch": [256, 256]}
    weights = item.assets["model"]
    assert AssetGeneralMLMExtension.ext(weights).artifact_type == "safetensors"
    assert weights.href == "ni:///sha-256;AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert weights.extra_fields["file:checksum"] == "1220" + WEIGHTS.hex()


def test_a_stac_item_names_all_models_whose_scores_were_averaged(tmp_path):
    onnx = {"family": "onnx", "in_channels": 3, "classes": 2}
    others = [
        {**MADE, "model": "second", "weights_sha256": (b"\1" * 32).hex(), "spacing": [0.5, 0.5]},
        {"model": "third", "weights_sha256": (b"\2" * 32).hex(), "network": onnx},
    ]
    mask, _ = mask_at(tmp_path, provenance={**MADE, "model": "first", "others": others})
    export(mask, tmp_path / "mask.json")
    item = pystac.Item.from_file(str(tmp_path / "mask.json"))
    model = MLMExtension.ext(item)
    assert model.mlm_name == "first and second and third"
    assert (model.architecture, model.framework) == ("PSPNet (resnet18) and ONNX network", "PyTorch and ONNX")
    assert item.properties["processing:lineage"].endswith("of s.tif with the mean scores of first and second and third")
    second, third = model.hyperparameters.to_dict()["others"]
    assert second == {"model": "second", "patch": [256, 256], "spacing": [0.5, 0.5]}
    assert third == {"model": "third"}
    weights = [asset for asset in item.assets.values() if "mlm:weights" in asset.roles]
    assert [asset.title for asset in weights] == ["first", "second", "third"]
    digests = [asset.extra_fields["file:checksum"][4:] for asset in weights]
    assert digests == [WEIGHTS.hex(), *(other["weights_sha256"] for other in others)]
    assert AssetGeneralMLMExtension.ext(weights[2]).artifact_type == "onnx"


def test_a_stac_item_of_an_unknown_model_says_nothing_of_one(tmp_path):
    mask, _ = mask_at(tmp_path, provenance={})
    export(mask, tmp_path / "mask.json")
    item = pystac.Item.from_file(str(tmp_path / "mask.json"))
    assert set(item.assets) == {"classes"}
    assert not MLMExtension.has_extension(item)


@pytest.mark.parametrize(("place", "size"), [("north-up", 10), ("degrees", 22.27), ("nowhere", None)])
def test_a_stac_item_says_the_size_of_a_pixel_on_the_ground(place, size, tmp_path):
    mask, _ = mask_at(tmp_path, place)
    export(mask, tmp_path / "mask.json")
    item = pystac.Item.from_file(str(tmp_path / "mask.json"))
    (band,) = item.assets["classes"].extra_fields["bands"]
    assert band["raster:sampling"] == "area"
    assert band.get("raster:spatial_resolution") == (size and pytest.approx(size, rel=0.02))


def test_a_volume_has_none(tmp_path):
    scan = put_volume(tmp_path / "v.nii.gz", np.zeros((5, 5, 5), np.uint8), np.eye(4))
    with pytest.raises(RequestError, match=r"one of \.png, \.svg, \.pdf, \.ctbl, \.label, not \.qml"):
        export(scan, tmp_path / "v.qml")
