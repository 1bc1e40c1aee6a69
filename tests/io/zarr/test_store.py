"""The door of Zarr: masks that others can read in place, stores of others, and slabs from many threads."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rioxarray  # noqa: F401  (gives xarray its .rio)
import xarray as xr
import zarr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS

from pipeline.classes import LabelClass
from pipeline.errors import DamagedError, InputError, OutputError
from pipeline.geometry import Box, Grid, cut_slabs
from pipeline.io.raster import RasterSource
from pipeline.io.zarr import (
    CHUNK,
    SlabStore,
    ZarrSource,
    create_labels,
    create_scores,
    export_store,
    mask_of,
    stage_volume,
)
from pipeline.io.zarr.labels import chunks_of
from pipeline.testing import SourceContract
from tests.support.fakes import ArraySource
from tests.support.inputs import contents
from tests.support.rasters import PLACES, pixels, put

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:rioxarray.*"),
]

CLASSES = (LabelClass(0, "open water", (10, 20, 30)), LabelClass(3, "road", (200, 0, 7)))
U8 = np.dtype(np.uint8)
OBLIQUE = ((0.1, -0.2, 0.9, -30.5), (0.05, 0.8, 0.3, 12.25), (2.4, 0.1, -0.1, 700.125), (0.0, 0.0, 0.0, 1.0))
FLAT = ((0.0, 1.0, 0.5), (1.0, 0.0, 0.5), (0.0, 0.0, 1.0))
MADE = {"model": "x", "patch": [512, 512]}


def volume_grid(shape: tuple[int, ...] = (5, 6, 7), affine: Any = OBLIQUE) -> Grid:
    return Grid(shape, affine, ("z", "y", "x"))


def put_labels(path: Path, grid: Grid, values: NDArray[Any]) -> Path:
    create_labels(path, grid, values.dtype, nodata=255, classes=CLASSES, provenance=MADE)
    SlabStore(path).write(Box.whole(grid.shape), values)
    return path


def opened(path: Path) -> xr.DataArray:
    """The mask as xarray and rioxarray see it."""
    return xr.open_dataset(path, engine="zarr", decode_coords="all", mask_and_scale=False, consolidated=False)["mask"]


@pytest.fixture(
    params=[place for place in PLACES if place not in ("ground control points", "control points of points")]
)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return put(tmp_path / "in.tif", pixels((1, 30, 40)), **PLACES[request.param])


def test_rioxarray_opens_a_mask_in_place(scene: Path, tmp_path: Path) -> None:
    grid = RasterSource(scene).grid
    values = pixels((30, 40), seed=2)
    array = opened(put_labels(tmp_path / "mask.zarr", grid, values))
    words = grid.reference["gdal"]
    np.testing.assert_array_equal(array.values, values)
    assert array.rio.crs == (None if grid.crs is None else CRS.from_wkt(grid.crs))
    transform = Affine(*words["transform"] or (1, 0, 0, 0, 1, 0))
    assert Affine.from_gdal(*map(float, array.spatial_ref.attrs["GeoTransform"].split())) == transform
    np.testing.assert_allclose(array.rio.transform(), transform, rtol=1e-15)  # of its own making where x and y are
    assert (array.rio.nodata, array.attrs["flag_meanings"]) == (255, "open_water road")
    if words["transform"] and grid.affine[0][0] == 0:
        np.testing.assert_array_equal(array.y, grid.affine[1][2] + grid.affine[1][0] * np.arange(30))
        np.testing.assert_array_equal(array.x, grid.affine[0][2] + grid.affine[0][1] * np.arange(40))


@pytest.mark.parametrize("place", PLACES)
def test_a_grid_comes_back_exactly(place: str, tmp_path: Path) -> None:
    grid = RasterSource(put(tmp_path / "in.tif", pixels((1, 30, 40)), **PLACES[place])).grid
    source = ZarrSource(put_labels(tmp_path / "mask.zarr", grid, pixels((30, 40))))
    assert source.grid == grid
    assert source.grid.reference == grid.reference
    assert (source.info.nodata, source.classes, source.provenance) == (255, CLASSES, MADE)


@given(numbers=st.lists(st.floats(-1e9, 1e9), min_size=12, max_size=12))
@settings(max_examples=15)
def test_any_volume_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, numbers: list[float]) -> None:
    rows = tuple(tuple(numbers[i : i + 4]) for i in (0, 4, 8))
    grid = volume_grid((2, 3, 4), (*rows, (0.0, 0.0, 0.0, 1.0)))
    source = ZarrSource(put_labels(tmp_path_factory.mktemp("v") / "mask.zarr", grid, pixels((2, 3, 4))))
    assert source.grid == grid
    np.testing.assert_array_equal(source.read(Box.whole((2, 3, 4))).values[0], pixels((2, 3, 4)))


def test_a_scene_says_where_it_lies_in_geozarr(tmp_path: Path) -> None:
    grid = RasterSource(put(tmp_path / "in.tif", pixels((1, 30, 40)), **PLACES["rotated"])).grid
    said = dict(zarr.open(put_labels(tmp_path / "mask.zarr", grid, pixels((30, 40))), mode="r")["mask"].attrs)
    assert said["spatial:transform"] == grid.reference["gdal"]["transform"]
    assert (said["spatial:dimensions"], said["spatial:shape"]) == (["y", "x"], [30, 40])
    assert said["spatial:registration"] == "pixel"
    assert said["_CRS"]["wkt"] == grid.crs
    assert said["proj:wkt2"] == pyproj.CRS.from_user_input(grid.crs).to_wkt("WKT2_2019")
    assert {convention["name"] for convention in said["zarr_conventions"]} == {"proj", "spatial"}
    assert said["grid_mapping"] == "spatial_ref"


@pytest.mark.parametrize("classes", [CLASSES, ()])
def test_a_volume_follows_ome_zarr(classes: Any, tmp_path: Path) -> None:
    """What https://ngff.openmicroscopy.org/0.5 says must be so of a multiscale image that is a label."""
    path = tmp_path / "mask.zarr"
    create_labels(path, volume_grid(), U8, nodata=255, classes=classes, provenance=MADE)
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == 3
    above: Any = group.attrs["ome"]
    assert group["labels"].attrs["ome"] == {"version": "0.5", "labels": ["mask"]}
    group = group["labels/mask"]
    ome: Any = group.attrs["ome"]
    (level,) = above["multiscales"][0]["datasets"]
    (own,) = ome["multiscales"][0]["datasets"]
    assert level == {**own, "path": "labels/mask/0"}
    assert ome["version"] == above["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["z", "y", "x"]
    assert all((axis["type"], axis["unit"]) == ("space", "millimeter") for axis in image["axes"])
    (level,) = image["datasets"]
    array = group[level["path"]]
    assert isinstance(array, zarr.Array)
    assert array.metadata.dimension_names == ("z", "y", "x")
    assert array.dtype.kind in "iu"
    scale, translation = level["coordinateTransformations"]
    assert (scale["type"], translation["type"]) == ("scale", "translation")
    np.testing.assert_allclose(scale["scale"], np.linalg.norm(np.array(OBLIQUE)[:3, :3], axis=0))
    assert translation["translation"] == [700.125, 12.25, -30.5]
    label = ome["image-label"]
    assert label["source"] == {"image": "../../"}
    values = [colour["label-value"] for colour in label["colors"]]
    assert len(set(values)) == len(values) == len(classes) + 1
    assert all(len(c["rgba"]) == 4 and all(0 <= v <= 255 for v in c["rgba"]) for c in label["colors"])
    named = [*((c.value, c.name) for c in classes), (255, "nodata")] if classes else []
    assert [(p["label-value"], p["name"]) for p in label.get("properties", [])] == named
    assert "properties" not in label or label["properties"]


@pytest.mark.parametrize("shape", [(2100, 1500), (70, 300, 280)])
def test_bands_from_many_threads_lose_nothing(shape: tuple[int, ...], tmp_path: Path) -> None:
    grid = Grid(shape, tuple(tuple(map(float, row)) for row in np.eye(len(shape) + 1)), ("z", "y", "x")[-len(shape) :])
    create_labels(tmp_path / "mask.zarr", grid, U8, nodata=255, classes=(), provenance={})
    values = pixels(shape)
    slabs = cut_slabs(shape, CHUNK[len(shape)][0], CHUNK[len(shape)][-1])
    store = SlabStore(tmp_path / "mask.zarr")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda slab: store.write(slab, values[slab.slices]), slabs))
    np.testing.assert_array_equal(zarr.open(tmp_path / "mask.zarr")[mask_of(grid)][...], values)
    np.testing.assert_array_equal(ZarrSource(tmp_path / "mask.zarr").read(Box.whole(shape)).values[0], values)


@pytest.mark.parametrize("shape", [(2100, 30), (40, 30, 20)])
def test_an_exported_store_has_the_bytes_of_one_without_checksums(shape: tuple[int, ...], tmp_path: Path) -> None:
    grid = Grid(shape, tuple(tuple(map(float, row)) for row in np.eye(len(shape) + 1)), ("z", "y", "x")[-len(shape) :])
    values = pixels(shape)
    values[: CHUNK[len(shape)][0]] = 255
    for name, checksums in (("work", True), ("plain", False)):
        create_labels(
            tmp_path / name, grid, U8, nodata=255, classes=CLASSES, provenance=MADE, header=b"n", checksums=checksums
        )
        SlabStore(tmp_path / name).write(Box.whole(shape), values)
    export_store(tmp_path / "work", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "plain") != contents(tmp_path / "work")
    file = (tmp_path / "work" / mask_of(grid)).joinpath("c", "1", *"0" * (len(shape) - 1))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DamagedError, match="cannot be read"):
        export_store(tmp_path / "work", tmp_path / "again")


def test_scores_come_back_plane_by_plane_and_are_missing_until_then(tmp_path: Path) -> None:
    grid = volume_grid((40, 70, 20))
    create_scores(tmp_path / "scores.zarr", grid, 3)
    source, store = ZarrSource(tmp_path / "scores.zarr"), SlabStore(tmp_path / "scores.zarr")
    assert (source.grid, source.channels, source.dtype) == (grid, 3, np.float32)
    values = np.random.default_rng(0).normal(size=(3, 8, 70, 20)).astype(np.float32)
    store.write(Box((32, 0, 0), (40, 70, 20)), values)
    found = ZarrSource(tmp_path / "scores.zarr").read(Box((30, 5, 0), (40, 70, 20)))
    np.testing.assert_array_equal(found.values[:, 2:], values[:, :, 5:])
    assert np.isnan(found.values[:, :2]).all()
    with pytest.raises(OutputError, match="would share chunks"):
        store.write(Box((0, 0, 0), (8, 70, 20)), values)
    with pytest.raises(OutputError, match=r"float32 of shape \(2, 8, 70, 20\) do not fit"):
        store.write(Box((32, 0, 0), (40, 70, 20)), values[:2])


def test_what_is_not_written_is_nodata(tmp_path: Path) -> None:
    grid = Grid((1500, 60), FLAT, ("y", "x"))
    create_labels(tmp_path / "mask.zarr", grid, U8, nodata=255, classes=CLASSES, provenance={})
    store = SlabStore(tmp_path / "mask.zarr")
    store.write(Box((1024, 0), (1500, 60)), np.full((476, 60), 3, np.uint8))
    values, valid = ZarrSource(tmp_path / "mask.zarr").read(Box((1000, 0), (1050, 60)))
    assert (values[0, :24] == 255).all()
    assert (values[0, 24:] == 3).all()
    np.testing.assert_array_equal(valid, values[0] == 3)


@pytest.mark.parametrize("slab", [Box((0, 0), (1000, 60)), Box((100, 0), (1500, 60)), Box((0, 0), (1024, 30))])
def test_slabs_that_would_share_a_chunk_are_refused(slab: Box, tmp_path: Path) -> None:
    create_labels(tmp_path / "mask.zarr", Grid((1500, 60), FLAT, ("y", "x")), U8, nodata=255, classes=(), provenance={})
    with pytest.raises(OutputError, match="would share chunks"):
        SlabStore(tmp_path / "mask.zarr").write(slab, np.zeros(slab.shape, np.uint8))


@pytest.mark.parametrize("values", [np.zeros((1500, 60), np.uint16), np.zeros((1500, 1), np.uint8), np.uint8(0)])
def test_labels_that_do_not_fit_are_refused(values: Any, tmp_path: Path) -> None:
    create_labels(tmp_path / "mask.zarr", Grid((1500, 60), FLAT, ("y", "x")), U8, nodata=255, classes=(), provenance={})
    with pytest.raises(OutputError, match="do not fit"):
        SlabStore(tmp_path / "mask.zarr").write(Box.whole((1500, 60)), np.asarray(values))


def test_a_store_that_is_none_is_named(tmp_path: Path) -> None:
    grid = Grid((15, 60), FLAT, ("y", "x"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"mask\.zarr: cannot be created"):
        create_labels(tmp_path / "file" / "mask.zarr", grid, U8, nodata=255, classes=(), provenance={})
    create_labels(tmp_path / "mask.zarr", grid, U8, nodata=255, classes=(), provenance={})
    with pytest.raises(OutputError, match=r"mask\.zarr: cannot be created"):
        create_labels(tmp_path / "mask.zarr", grid, U8, nodata=255, classes=(), provenance={})
    zarr.create_group(tmp_path / "other.zarr")
    for name in ("missing.zarr", "other.zarr"):
        with pytest.raises(OutputError, match=rf"{name}: is not an unfinished mask"):
            SlabStore(tmp_path / name)


IMAGE = np.arange(2 * 30 * 40, dtype=np.float32).reshape(2, 30, 40)


def picture(values: NDArray[Any] = IMAGE) -> xr.DataArray:
    """A scene as users of rioxarray have them."""
    axes = ("band", "y", "x")[-values.ndim :]
    at = {"y": 4e6 - 10 * np.arange(values.shape[-2]) - 5, "x": 5e5 + 10 * np.arange(values.shape[-1]) + 5}
    return xr.DataArray(values, dims=axes, coords=at, name="image").rio.write_crs(32633)


def put_xarray(path: Path, array: xr.DataArray, version: int) -> Path:
    array.to_dataset(name="image").to_zarr(path, zarr_format=version, consolidated=False)
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("transform", [True, False])
@pytest.mark.parametrize("inside", ["", "image"])
def test_a_scene_of_xarray_is_read(version: int, transform: bool, inside: str, tmp_path: Path) -> None:
    """Its place stands in `GeoTransform`, or only in its coordinates."""
    array = picture().rio.write_transform() if transform else picture()
    source = ZarrSource(put_xarray(tmp_path / "a.zarr", array, version) / inside)
    assert (source.channels, source.grid.shape, source.info.nodata is None) == (2, (30, 40), False)
    assert source.grid.affine == ((0.0, 10.0, 5e5 + 5), (-10.0, 0.0, 4e6 - 5), (0.0, 0.0, 1.0))
    assert source.grid.reference["gdal"]["transform"] == [10.0, 0.0, 5e5, 0.0, -10.0, 4e6]
    assert CRS.from_wkt(source.grid.crs or "") == CRS.from_epsg(32633)
    np.testing.assert_array_equal(source.read(Box.whole((30, 40))).values, IMAGE)


def test_a_rotated_scene_of_others_is_read(tmp_path: Path) -> None:
    array = picture().drop_vars(["x", "y"])
    array.spatial_ref.attrs["GeoTransform"] = "500000.1 8.66 -5.0 4100000.7 -5.0 -8.66"
    source = ZarrSource(put_xarray(tmp_path / "a.zarr", array, 3))
    assert source.grid.reference["gdal"]["transform"] == [8.66, -5.0, 500000.1, -5.0, -8.66, 4100000.7]
    assert source.grid.affine[0] == (-5.0, 8.66, 500000.1 + 1.83)


@pytest.mark.parametrize("word", ["nightly", {"version": 9, "array": "image", "grid": "?"}, {"array": "image"}, 3])
def test_attributes_of_our_name_that_are_not_ours_are_passed_over(word: Any, tmp_path: Path) -> None:
    path = put_xarray(tmp_path / "a.zarr", picture(), 3)
    zarr.open_group(path).attrs["pipeline"] = word
    assert ZarrSource(path).channels == 2


def test_a_record_that_tells_of_another_array_is_refused(tmp_path: Path) -> None:
    path = put_labels(tmp_path / "mask.zarr", volume_grid(), pixels((5, 6, 7)))
    attributes = zarr.open_group(path).attrs
    record: Any = attributes["pipeline"]
    attributes["pipeline"] = record | {"grid": record["grid"] | {"shape": [5, 6, 8]}}
    with pytest.raises(InputError, match=r"a grid of \(5, 6, 8\), but its array has \(5, 6, 7\)"):
        ZarrSource(path)


class TestContract(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> ZarrSource:
        path = tmp_path / "whole.zarr"
        zarr.create_array(path, data=IMAGE, chunks=(1, 7, 9), dimension_names=("band", "y", "x"))
        return ZarrSource(path)

    def test_its_values_and_blocks_are_those_of_the_array(self, source: ZarrSource) -> None:
        assert source.block == (7, 9)
        assert source.read(Box.whole((30, 40))).values.tobytes() == IMAGE.tobytes()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("dtype", "missing"), [("uint8", 7), ("float32", 7.0), ("float32", np.nan), ("int16", -9999)])
def test_a_fill_value_is_no_observation(version: int, dtype: str, missing: Any, tmp_path: Path) -> None:
    values = pixels((2, 30, 40), dtype)
    values[:, 4:9] = missing
    values[0, 20] = missing
    path = tmp_path / "a.zarr"
    picture(values).to_dataset(name="image").to_zarr(
        path, zarr_format=version, consolidated=False, encoding={"image": {"_FillValue": missing, "dtype": dtype}}
    )
    valid = ZarrSource(path).read(Box.whole((30, 40))).valid
    expected = np.isfinite(values).all(axis=0) if missing != missing else (values != missing).any(axis=0)
    assert valid is not None
    np.testing.assert_array_equal(valid, expected)


@pytest.mark.parametrize("version", [2, 3])
def test_zeros_of_a_plain_array_are_observed(version: int, tmp_path: Path) -> None:
    """Zarr fills what is missing with 0, which does not make 0 a mark of what is missing."""
    array = zarr.create_array(tmp_path / "a.zarr", shape=(30, 40), dtype="uint8", chunks=(7, 9), zarr_format=version)
    array[:20] = 1
    source = ZarrSource(tmp_path / "a.zarr")
    values, valid = source.read(Box.whole((30, 40)))
    assert (source.channels, source.info.nodata, valid) == (1, None, None)
    np.testing.assert_array_equal(values[0], array[...])
    assert source.grid.affine == FLAT


def put_ome(path: Path, version: str, axes: str, shape: tuple[int, ...], *, names: bool = False) -> NDArray[Any]:
    values = np.arange(np.prod(shape), dtype=">u2" if version == "0.4" else "<u2").reshape(shape)
    words = {"t": ("time", "second"), "c": ("channel", None)}
    image: dict[str, Any] = {
        "axes": [
            {"name": "dye" if a == "c" else a, "type": words.get(a, ("space",))[0]}
            | ({"unit": "micrometer"} if a in "zyx" else {})
            for a in axes
        ],
        "datasets": [
            {
                "path": f"level/{i}",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1.0] * (len(axes) - 3) + [2.0, 1.5, 1.25]},
                    {"type": "translation", "translation": [0.0] * (len(axes) - 3) + [7.0, 6.0, 5.0]},
                ],
            }
            for i in (0, 1)
        ],
        "coordinateTransformations": [{"type": "scale", "scale": [1.0] * (len(axes) - 3) + [1000.0] * 3}],
    }
    said = {"multiscales": [image]} if version == "0.4" else {"ome": {"version": "0.5", "multiscales": [image]}}
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3, attributes=said)
    for i in (0, 1):
        group.create_array(
            f"level/{i}",
            data=values,
            **({} if version == "0.4" else {"dimension_names": tuple(axes) if names else None}),
        )
    return values


@pytest.mark.parametrize(("version", "names"), [("0.4", False), ("0.5", False), ("0.5", True)])
@pytest.mark.parametrize(("axes", "shape"), [("zyx", (3, 4, 5)), ("czyx", (2, 3, 4, 5)), ("tczyx", (1, 2, 3, 4, 5))])
def test_ome_zarr_is_read(version: str, names: bool, axes: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    values = put_ome(tmp_path / "a.zarr", version, axes, shape, names=names)
    source = ZarrSource(tmp_path / "a.zarr")
    assert source.channels == (2 if "c" in axes else 1)
    assert source.grid.shape == (3, 4, 5)
    expected = [[0, 0, 1.25, 5], [0, 1.5, 0, 6], [2, 0, 0, 7], [0, 0, 0, 1]]
    np.testing.assert_allclose(source.grid.affine, expected)
    pixels_read = source.read(Box((1, 0, 2), (3, 4, 5)))
    assert pixels_read.values.dtype == source.dtype == np.uint16
    assert pixels_read.values.dtype.isnative
    np.testing.assert_array_equal(pixels_read.values, values.reshape(-1, 3, 4, 5)[:, 1:3, :, 2:5])


def test_an_array_within_a_store_keeps_its_place(tmp_path: Path) -> None:
    grid = volume_grid()
    put_labels(tmp_path / "mask.zarr", grid, pixels(grid.shape))
    assert ZarrSource(tmp_path / "mask.zarr" / "labels" / "mask" / "0").grid == grid
    assert ZarrSource(tmp_path / "mask.zarr" / "labels" / "mask").classes == CLASSES


def arrays(path: Path, **shapes: tuple[int, ...]) -> Path:
    group = zarr.create_group(path)
    for name, shape in shapes.items():
        group.create_array(name, shape=shape, dtype="uint8")
    return path


def test_a_group_of_several_arrays_lists_them(tmp_path: Path) -> None:
    path = arrays(tmp_path / "a.zarr", red=(4, 5), blue=(4, 5), y=(4,))
    with pytest.raises(InputError, match=r"a\.zarr: holds \['(red', 'blue|blue', 'red)'\]; name one") as caught:
        ZarrSource(path)
    assert f"{path}/<array>" in str(caught.value)
    assert ZarrSource(path / "blue").grid.shape == (4, 5)
    with pytest.raises(InputError, match="holds no arrays"):
        ZarrSource(arrays(tmp_path / "b.zarr", y=(4,)))
    zarr.create_group(tmp_path / "c.zarr").create_group("inside")
    with pytest.raises(InputError, match=r"holds \['inside/'\]"):
        ZarrSource(tmp_path / "c.zarr")


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((3, 4, 5), None),
        ((3, 4, 5), ("dim_0", "dim_1", "dim_2")),
        ((4, 5, 3), ("y", "x", "band")),
        ((4, 5), ("x", "y")),
        ((3, 4, 5), ("time", "y", "x")),
        ((2, 2, 4, 5), ("c", "band", "y", "x")),
        ((5,), ("x",)),
    ],
)
def test_axes_that_are_not_known_are_refused(shape: tuple[int, ...], names: Any, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=shape, dtype="uint8", dimension_names=names)
    with pytest.raises(InputError, match=r"a\.zarr: an array of shape .* expected \(y, x\), \(band, y, x\)"):
        ZarrSource(tmp_path / "a.zarr")


@pytest.mark.parametrize("dtype", ["complex64", "U4", [("a", "i4")]])
def test_cells_that_are_no_numbers_are_refused(dtype: Any, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(4, 5), dtype=np.dtype(dtype), zarr_format=2)
    with pytest.raises(InputError, match=r"a\.zarr"):
        ZarrSource(tmp_path / "a.zarr")


def test_chunks_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(1 << 16, 1 << 16), chunks=(1 << 16, 1 << 15), dtype="uint8")
    with pytest.raises(InputError, match=r"a\.zarr: is stored in chunks of .* 2\.0 GiB each"):
        ZarrSource(tmp_path / "a.zarr")


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text("{")
    for name in ("missing.zarr", "empty.zarr", "broken.zarr"):
        with pytest.raises(InputError, match=name):
            ZarrSource(tmp_path / name)


@given(data=st.data())
@settings(max_examples=60)
def test_damaged_metadata_are_refused_by_name(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any value of any record, replaced by any JSON: it opens or raises InputError, and nothing else."""
    path = put_labels(tmp_path_factory.mktemp("d") / "mask.zarr", volume_grid(), pixels((5, 6, 7)))
    file = data.draw(st.sampled_from([path / "zarr.json", path / "labels" / "mask" / "0" / "zarr.json"]))
    document = json.loads(file.read_text())
    place = document
    while isinstance(place, (dict, list)) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            place[key] = data.draw(st.sampled_from([None, -1, 0, 2, "x", [], {}, [1], {"a": 1}, 1e30]))
            break
        place = place[key]
    file.write_text(json.dumps(document))
    try:
        source = ZarrSource(path)
        source.read(Box((0, 0, 0), (1, 1, 1)))
    except InputError:
        return


@pytest.mark.parametrize("codec", ["zstd", "gzip", "blosc", "crc32c"])
def test_a_damaged_chunk_is_named(codec: str, tmp_path: Path) -> None:
    makers = {"zstd": zarr.codecs.ZstdCodec, "gzip": zarr.codecs.GzipCodec, "blosc": zarr.codecs.BloscCodec}
    making = makers.get(codec, zarr.codecs.Crc32cCodec)()
    values = np.random.default_rng(0).integers(0, 9, (40, 30), np.uint8)
    zarr.create_array(tmp_path / "a.zarr", data=values, chunks=(10, 30), compressors=making)
    chunk = tmp_path / "a.zarr" / "c" / "2" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-5] + b"x")
    source = ZarrSource(tmp_path / "a.zarr")
    np.testing.assert_array_equal(source.read(Box((0, 0), (20, 30))).values[0], values[:20])
    with pytest.raises(InputError, match=r"a\.zarr, rows 15 to 25: cannot be read"):
        source.read(Box((15, 0), (25, 30)))


@pytest.mark.parametrize("dtype", ["int16", "float32", "uint8"])
def test_a_staged_volume_is_the_volume(dtype: str, tmp_path: Path) -> None:
    values = pixels((1, 70, 9, 8), dtype)
    seen: list[NDArray[Any]] = []
    staged = stage_volume(ArraySource(values), tmp_path / "volume.zarr", seen.append)
    assert (staged.grid, staged.dtype) == (ArraySource(values).grid, values.dtype)
    np.testing.assert_array_equal(staged.read(Box((60, 2, 0), (70, 9, 8))).values, values[:, 60:70, 2:9])
    np.testing.assert_array_equal(np.concatenate(seen, axis=1), values)
    assert {slice_.shape for slice_ in seen} == {(1, 1, 9, 8)}


def test_a_staged_volume_keeps_what_was_not_observed(tmp_path: Path) -> None:
    source = ZarrSource(put_labels(tmp_path / "mask.zarr", volume_grid(), np.where(pixels((5, 6, 7)) == 2, 255, 1)))
    staged = stage_volume(source, tmp_path / "volume.zarr", lambda _: None)
    whole = Box.whole((5, 6, 7))
    np.testing.assert_array_equal(staged.read(whole).valid, source.read(whole).valid)


def test_chunks_are_no_larger_than_the_array() -> None:
    assert chunks_of((50, 3000)) == (50, 1024)
    assert chunks_of((50, 200, 300)) == (32, 200, 256)


def test_a_folder_of_other_files_is_not_called_a_store_that_is_broken(tmp_path: Path) -> None:
    (tmp_path / "series" / "one").mkdir(parents=True)
    with pytest.raises(InputError, match=r"series: is a folder, but neither a Zarr store nor .* one DICOM series"):
        ZarrSource(tmp_path / "series")
    (tmp_path / "series" / ".zgroup").write_text("{")
    with pytest.raises(InputError, match="series: not a Zarr store that can be read"):
        ZarrSource(tmp_path / "series")
