"""The door of rasters out: the same place, cells and meaning come back, and a file is whole or is not there."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS

from pipeline.classes import LabelClass
from pipeline.errors import InputError, OutputError
from pipeline.geometry import Box, Grid
from pipeline.io.raster import RasterSource, write_cog, write_png, write_scene
from pipeline.io.raster.verify import check_blocks, checksums, verify_written
from tests.support.rasters import NORTH_UP, PLACES, pixels, put

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

CLASSES = (LabelClass(0, "water & ice", (10, 20, 30)), LabelClass(3, "<road>", (200, 0, 7)))
U8 = np.dtype(np.uint8)


def grid_of(shape: tuple[int, ...], transform: Affine = NORTH_UP) -> Grid:
    a, b, c, d, e, f = tuple(transform)[:6]
    affine = ((b, a, c + (a + b) / 2), (e, d, f + (d + e) / 2), (0.0, 0.0, 1.0))
    return Grid(shape, affine, ("y", "x"), CRS.from_epsg(32633).to_wkt())


def slabs_of(values: NDArray[Any], height: int = 100) -> Iterator[NDArray[Any]]:
    return (values[..., top : top + height, :] for top in range(0, values.shape[-2], height))


def write(path: Path, values: NDArray[Any], grid: Grid | None = None, **options: Any) -> Path:
    said: dict[str, Any] = {"nodata": 255, "classes": CLASSES, "tags": {"PIPELINE": '{"ä": 1}'}} | options
    write_cog(path, grid or grid_of(values.shape), slabs_of(values), values.dtype, **said)
    return path


@pytest.mark.parametrize("place", PLACES)
def test_the_place_of_an_input_comes_back_exactly(place: str, tmp_path: Path) -> None:
    source = RasterSource(put(tmp_path / "in.tif", pixels((2, 30, 40)), **PLACES[place]))
    values = pixels((30, 40), seed=1)
    mask = RasterSource(write(tmp_path / "mask.tif", values, source.grid))
    assert mask.grid == source.grid
    assert mask.grid.reference == source.grid.reference
    np.testing.assert_array_equal(mask.read(Box.whole((30, 40))).values[0], values)
    with rasterio.open(tmp_path / "in.tif") as before, rasterio.open(tmp_path / "mask.tif") as after:
        assert after.transform == before.transform
        assert after.crs == before.crs
        if not before.gcps[0]:
            assert after.tags().get("AREA_OR_POINT", "Area") == before.tags().get("AREA_OR_POINT", "Area")
        assert [p.asdict() for p in after.gcps[0]] == [p.asdict() for p in before.gcps[0]]
        assert after.gcps[1] == before.gcps[1]
        assert (after.rpcs and after.rpcs.to_gdal()) == (before.rpcs and before.rpcs.to_gdal())


@settings(max_examples=15)
@given(
    scale=st.sampled_from([0.3, 1 / 3, 10.0, 1 / 3600, 0.1492910708707]),
    corner=st.tuples(st.floats(-2e7, 2e7), st.floats(-2e7, 2e7)),
    degrees=st.sampled_from([0.0, 0.0, 12.3, 90.0, 179.99]),
    point=st.booleans(),
)
def test_any_transform_comes_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, scale: float, corner: tuple[float, float], degrees: float, point: bool
) -> None:
    folder = tmp_path_factory.mktemp("any")
    transform = Affine.translation(*corner) @ Affine.rotation(degrees) @ Affine.scale(scale, -scale)
    source = RasterSource(put(folder / "in.tif", pixels((1, 3, 4)), transform=transform, point=point))
    mask = RasterSource(write(folder / "mask.tif", pixels((3, 4)), source.grid))
    assert mask.grid == source.grid
    assert mask.grid.reference == source.grid.reference


@pytest.mark.parametrize("place", ["north-up", "south-up", "rotated", "sheared", "degrees"])
def test_a_grid_without_words_of_gdal_is_written_too(place: str, tmp_path: Path) -> None:
    grid = grid_of((20, 30), PLACES[place]["transform"])
    written = RasterSource(write(tmp_path / "mask.tif", pixels((20, 30)), grid)).grid
    np.testing.assert_allclose(written.affine, grid.affine, rtol=1e-12)
    assert written.crs == grid.crs


def test_a_mask_says_what_it_means(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.tif", pixels((700, 600)))
    with rasterio.open(path) as dataset:
        assert dataset.nodata == 255
        assert dataset.tags()["PIPELINE"] == '{"ä": 1}'
        assert dataset.tags(1) == {"CLASS_0": "water & ice", "CLASS_3": "<road>"}
        assert dataset.colormap(1)[3] == (200, 0, 7, 255)
        assert dataset.colormap(1)[255][3] == 0
        assert dataset.descriptions == ("class",)
        rasterio.shutil.copy(dataset, tmp_path / "mask.vrt", driver="VRT")
    words = ElementTree.parse(tmp_path / "mask.vrt").getroot().iter("Category")
    assert [word.text or "" for word in words] == ["water & ice", "", "", "<road>"]
    source = RasterSource(path)
    assert (source.info.nodata, source.classes, source.tags["PIPELINE"]) == (255, CLASSES, '{"ä": 1}')


def test_a_mask_is_a_cloud_optimized_geotiff(tmp_path: Path) -> None:
    with rasterio.open(write(tmp_path / "mask.tif", pixels((1100, 2100)))) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.compression.name == "deflate"
        assert dataset.overviews(1) == [2, 4, 8]


def test_overviews_show_the_majority(tmp_path: Path) -> None:
    """One cell of four differs, at any corner: neither the nearest cell nor the average is the majority."""
    most = np.kron(pixels((300, 300)), np.full((4, 4), 1, np.uint8))
    values = most.copy()
    rng = np.random.default_rng(3)
    odd = rng.integers(0, 2, (600, 600)) * 2, rng.integers(0, 2, (600, 600))
    values[np.arange(600)[:, None] * 2 + odd[0] // 2, np.arange(600)[None] * 2 + odd[1]] = 200
    path = write(tmp_path / "mask.tif", values)
    for level, step in ((0, 2), (1, 4)):
        with rasterio.open(path, overview_level=level) as dataset:
            np.testing.assert_array_equal(dataset.read(1), most[::step, ::step])


def test_classes_beyond_255_are_written_as_they_are(tmp_path: Path) -> None:
    values = np.arange(400 * 300, dtype=np.uint16).reshape(300, 400) % 1000
    source = RasterSource(write(tmp_path / "mask.tif", values, nodata=65535))
    np.testing.assert_array_equal(source.read(Box.whole((300, 400))).values[0], values)
    assert (source.dtype, source.info.nodata, source.classes[1].name) == (np.uint16, 65535, "<road>")


@settings(max_examples=15)
@given(shape=st.tuples(st.integers(1, 1100), st.integers(1, 1100)), height=st.integers(1, 700))
def test_slabs_of_any_height_make_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int], height: int
) -> None:
    folder = tmp_path_factory.mktemp("slabs")
    values = pixels(shape)
    write(folder / "a.tif", values)
    said: dict[str, Any] = {"nodata": 255, "classes": CLASSES, "tags": {"PIPELINE": '{"ä": 1}'}}
    write_cog(folder / "b.tif", grid_of(shape), slabs_of(values, height), U8, **said)
    assert (folder / "a.tif").read_bytes() == (folder / "b.tif").read_bytes()


@pytest.mark.parametrize("rows", [[3, 3], [3, 4, 4], [0], []])
def test_too_few_or_too_many_rows_are_an_error(rows: list[int], tmp_path: Path) -> None:
    slabs = (np.zeros((n, 8), np.uint8) for n in rows)
    with pytest.raises(OutputError, match=r"mask\.tif: .*of (a grid of \(10|10 rows)"):
        write_cog(tmp_path / "mask.tif", grid_of((10, 8)), slabs, U8, nodata=255, classes=(), tags={})
    assert not list(tmp_path.iterdir())


def test_labels_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    for values in (np.full((10, 8), 300, np.uint16), np.zeros((10, 7), np.uint8)):
        with pytest.raises(OutputError, match=r"mask\.tif"):
            write_cog(tmp_path / "mask.tif", grid_of((10, 8)), iter([values]), U8, nodata=255, classes=(), tags={})
    assert not list(tmp_path.iterdir())


def test_a_failure_halfway_leaves_the_older_file_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.tif", pixels((600, 700)))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def failing() -> Iterator[NDArray[Any]]:
        yield np.zeros((300, 700), np.uint8)
        assert {name for name in before if not (tmp_path / name).exists()} == set()
        raise InputError("in.tif, rows 300 to 600: damaged")

    with pytest.raises(InputError, match=r"in\.tif"):
        write_cog(path, grid_of((600, 700)), failing(), U8, nodata=255, classes=(), tags={})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_what_an_older_mask_said_beside_it_goes_with_it(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.tif", pixels((20, 30)))
    assert (tmp_path / "mask.tif.aux.xml").exists()
    write(path, pixels((20, 30)), classes=())
    assert [file.name for file in tmp_path.iterdir()] == ["mask.tif"]


@pytest.mark.parametrize("name", ["mask.tif", "scene.tif", "picture.png"])
def test_a_place_that_cannot_be_written_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / name, tmp_path / "folder" / name):
        (tmp_path / "folder" / name).mkdir(parents=True, exist_ok=True)
        with pytest.raises(OutputError, match=name):
            WRITERS[name](path)
    assert [file.name for file in (tmp_path / "folder").iterdir()] == [name]


NOISE = np.random.default_rng(0).integers(0, 200, (3, 1040, 520), np.uint8)
WRITERS: dict[str, Callable[[Path], Any]] = {
    "mask.tif": lambda path: write(path, NOISE[0], classes=(), tags={"PIPELINE": "long " * 999}),
    "scene.tif": lambda path: write_scene(path, grid_of(NOISE.shape[1:]), slabs_of(NOISE), 3, U8),
    "picture.png": lambda path: write_png(path, NOISE),
}


SHARES = (*np.linspace(0.001, 0.9, 10), *np.linspace(0.92, 1.2, 40))
"""Room on the disk, as a share of what the file takes: the stage of a mask takes a little more than the mask."""


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_on_a_full_disk_a_file_is_whole_or_not_there(name: str, tmp_path: Path) -> None:
    """GDAL itself says nothing if what it holds back cannot be written when it closes the file."""
    path = tmp_path / name
    WRITERS[name](path)
    whole = path.read_bytes()
    path.unlink()
    outcomes = set()
    for share in SHARES if name.endswith(".tif") else SHARES[::8]:
        try:
            with room_for(int(share * len(whole))):
                WRITERS[name](path)
        except OutputError:
            assert not list(tmp_path.iterdir())
            outcomes.add("refused")
        else:
            assert path.read_bytes() == whole
            path.unlink()
            outcomes.add("whole")
    assert outcomes == {"refused", "whole"}


def test_what_is_missing_in_a_file_is_found(tmp_path: Path) -> None:
    values, draft, path = pixels((1, 1100, 700)), tmp_path / "draft.tif", Path("mask.tif")
    sums = checksums(values, [0])
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    with rasterio.open(put(draft, values, **tiles), "r+") as dataset:
        dataset.build_overviews([2, 4])
    verify_written(draft, path, 2, sums)
    with pytest.raises(OutputError, match=r"mask\.tif: only 2 of 3 overviews"):
        check_blocks(draft, path, 3)
    with pytest.raises(OutputError, match=r"mask\.tif: its cells differ from those that were written"):
        verify_written(draft, path, 2, [sums[0] + 1])
    whole = draft.read_bytes()
    draft.write_bytes(whole[:-1])
    with pytest.raises(OutputError, match=r"mask\.tif: block \(1, \d, \d\) of level 2"):
        check_blocks(draft, path, 2)
    with rasterio.open(
        draft, "w", driver="GTiff", count=1, height=1100, width=700, dtype="uint8", sparse_ok=True, **tiles
    ):
        pass
    with pytest.raises(OutputError, match=r"mask\.tif: block \(1, 0, 0\) of level 0"):
        check_blocks(draft, path, 0)


def test_a_scene_comes_back(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene.tif", grid_of(NOISE.shape[1:]), slabs_of(NOISE), 3, U8)
    source = RasterSource(tmp_path / "scene.tif")
    np.testing.assert_array_equal(source.read(Box.whole(source.grid.shape)).values, NOISE)


def test_a_picture_comes_back(tmp_path: Path) -> None:
    write_png(tmp_path / "picture.png", NOISE)
    with rasterio.open(tmp_path / "picture.png") as dataset:
        np.testing.assert_array_equal(dataset.read(), NOISE)
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]
