"""The door of rasters in: what it reads, against rasterio; what it sees as observed; what it refuses, and how."""

from __future__ import annotations

import gc
import json
import os
import struct
import subprocess
import sys
import threading
import weakref
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.env import get_gdal_config, getenv
from rasterio.io import MemoryFile
from rasterio.session import DummySession, Session
from rasterio.windows import Window

from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.io.opening import open_source
from pipeline.io.raster import RasterSource
from pipeline.io.raster import source as source_module
from pipeline.io.raster.drivers import open_dataset
from pipeline.io.raster.gdal import CACHE, reading, writing
from pipeline.testing import SourceContract, boxes
from tests.support.rasters import MASKS, PLACES, pixels, put

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

LAYOUTS: dict[str, dict[str, Any]] = {
    "striped": {},
    "striped by band": {"interleave": "band", "compress": "lzw"},
    "tiled": {"tiled": True, "blockxsize": 32, "blockysize": 16, "interleave": "pixel", "compress": "deflate"},
    "tiled by band": {"tiled": True, "blockxsize": 16, "blockysize": 32, "interleave": "band", "nodata": 3},
}
TYPES = ("uint8", "uint16", "int16", "float32", "int8", "uint32", "float64")
HEIGHT, WIDTH = 70, 90


def shown(source: RasterSource, box: Box | None = None) -> tuple[Any, Any]:
    """Values, and which were observed as a full array."""
    box = box or Box.whole(source.grid.shape)
    values, valid = source.read(box)
    return values, np.ones(box.shape, np.bool_) if valid is None else valid


@pytest.fixture(scope="module", params=[*((layout, "uint8") for layout in LAYOUTS), *(("tiled", t) for t in TYPES[1:])])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout, dtype = request.param
    values = pixels((3, HEIGHT, WIDTH), dtype)
    if dtype == "float32":
        values[1, 20:40][values[1, 20:40] == 2] = np.nan
    return put(tmp_path_factory.mktemp("in") / "scene.tif", values, **LAYOUTS[layout])


def test_a_file_reads_as_rasterio_reads_it(path: Path) -> None:
    source = RasterSource(path)
    with rasterio.open(path) as dataset:
        expected = dataset.read()
        assert source.grid.shape == dataset.shape
        assert source.block == dataset.block_shapes[0]
    values = source.read(Box.whole(source.grid.shape)).values
    assert values.dtype == expected.dtype == source.dtype
    np.testing.assert_array_equal(values, expected)


class TestContract(SourceContract):
    @pytest.fixture
    def source(self, path: Path) -> RasterSource:
        return RasterSource(path)


@given(bands=st.lists(st.integers(1, 3), min_size=1, max_size=4), box=boxes((HEIGHT, WIDTH)))
def test_bands_are_read_in_the_order_asked_for(path: Path, bands: list[int], box: Box) -> None:
    source = RasterSource(path, bands)
    window = Window(box.start[1], box.start[0], box.shape[1], box.shape[0])
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(source.read(box).values, dataset.read(bands, window=window))
    assert source.channels == len(bands)
    source.close()


@pytest.mark.parametrize("kind", MASKS)
def test_what_was_observed_agrees_with_rasterio(kind: str, tmp_path: Path) -> None:
    path = MASKS[kind](tmp_path / "scene.tif")
    source = RasterSource(path)
    values, valid = shown(source)
    with rasterio.open(path) as dataset:
        expected = dataset.dataset_mask() > 0
        bands = [i for i in dataset.indexes if dataset.colorinterp[i - 1].name != "alpha"]
        pictures = np.stack([dataset.read(band, out_dtype=source.dtype) for band in bands])
    expected &= np.isfinite(pictures).all(axis=0)
    np.testing.assert_array_equal(values, pictures)
    np.testing.assert_array_equal(valid, expected)
    assert expected.all() == (kind in ("no nodata", "nodata of one band", "nodata out of range"))


def test_alpha_is_no_channel_unless_asked_for(tmp_path: Path) -> None:
    path = MASKS["alpha of RGB"](tmp_path / "scene.tif")
    assert RasterSource(path).channels == 3
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(RasterSource(path, [4, 1]).read(Box.whole((40, 50))).values, dataset.read([4, 1]))


@given(
    numbers=st.tuples(
        *[st.floats(-1e3, 1e3)] * 2, st.floats(-1e7, 1e7), *[st.floats(-1e3, 1e3)] * 2, st.floats(-1e7, 1e7)
    ),
    cell=st.tuples(st.integers(0, 200), st.integers(0, 300)),
)
def test_cells_lie_where_rasterio_puts_their_centres(numbers: tuple[float, ...], cell: tuple[int, int]) -> None:
    transform = Affine(*numbers)
    if abs(transform.determinant) < 1e-3:
        return
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", height=2, width=3, count=1, dtype="uint8", transform=transform):
            pass
        grid = RasterSource(memory.name).grid
        x, y = rasterio.open(memory.name).xy(*cell)
    ours = np.array(grid.affine) @ (*cell, 1)
    np.testing.assert_allclose(ours[:2], (x, y), rtol=1e-9, atol=1e-9)
    assert ours[2] == 1


def test_threads_read_the_same_bytes_by_a_handle_each(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[int, Any]] = []
    open_dataset = source_module.open_dataset

    def counting(*args: Any, **options: Any) -> Any:
        dataset = open_dataset(*args, **options)
        opened.append((threading.get_ident(), weakref.ref(dataset)))
        return dataset

    monkeypatch.setattr(source_module, "open_dataset", counting)
    source = RasterSource(path)
    boxes = [Box((i % 60, i % 70), (i % 60 + 10, i % 70 + 20)) for i in range(200)]
    expected = [source.read(box).values.tobytes() for box in boxes]
    together = threading.Barrier(4)
    with ThreadPoolExecutor(4, initializer=together.wait) as pool:
        assert list(pool.map(lambda box: source.read(box).values.tobytes(), boxes)) == expected
    threads = [thread for thread, _ in opened]
    assert len(threads) == len(set(threads)) > 2
    gc.collect()
    assert sum(dataset() is not None for _, dataset in opened) == 1  # those of the threads that ended are gone


def test_a_closed_source_is_not_read_again(path: Path) -> None:
    source = RasterSource(path)
    source.close()
    with pytest.raises(ValueError, match="is closed") as caught:
        source.read(Box((0, 0), (1, 1)))
    assert not isinstance(caught.value, InputError)


def test_the_cache_of_gdal_is_bounded_in_every_thread(path: Path) -> None:
    source = RasterSource(path)

    def limit(_: int) -> Any:
        source.read(Box((0, 0), (HEIGHT, WIDTH)))
        with reading(str(path)):
            inside = get_gdal_config("GDAL_CACHEMAX")
        return inside, get_gdal_config("GDAL_CACHEMAX")

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(limit, range(40))) == {(CACHE, CACHE)}


def test_the_cache_that_the_user_asks_for_is_left_to_rule() -> None:
    code = "import pipeline.io.raster; from rasterio.env import get_gdal_config as g; print(g('GDAL_CACHEMAX'))"
    told = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "GDAL_CACHEMAX": "100"}, capture_output=True, check=True
    )
    assert int(told.stdout) in (100, 100 << 20)


def test_a_program_that_shows_warnings_hears_nothing_of_drivers_that_gdal_lacks(tmp_path: Path) -> None:
    scene = put(tmp_path / "scene.tif", pixels((1, 20, 30)))
    code = "import logging, sys; logging.basicConfig(); import pipeline; pipeline.open_source(sys.argv[1])"
    told = subprocess.run([sys.executable, "-c", code, scene], capture_output=True, text=True, check=True)
    assert told.stderr == ""


def test_credentials_of_servers_are_prepared_for_addresses_alone_and_once(tmp_path: Path, monkeypatch: Any) -> None:
    """It takes some 40 ms each time, where boto3 is installed."""
    scene = put(tmp_path / "scene.tif", pixels((1, 20, 30)))
    prepared = []
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(Session, "from_environ", lambda: prepared.append(True) or DummySession())
    RasterSource(scene).read(Box((0, 0), (20, 30)))
    with writing(tmp_path / "other.tif"):
        assert prepared == []
    for _ in range(2):
        with reading("/vsis3/bucket/scene.tif"):
            assert prepared == [True]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with reading("/vsis3/bucket/scene.tif"):
        assert prepared == [True, True]


def test_addresses_are_left_to_gdal(tmp_path: Path) -> None:
    inside = put(tmp_path / "scene.tif", pixels((1, 20, 30)))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(inside, "scene.tif")
    source = open_source(f"/vsizip/{tmp_path}/a.zip/scene.tif")
    np.testing.assert_array_equal(source.read(Box.whole((20, 30))).values, pixels((1, 20, 30)))
    with pytest.raises(InputError, match="GDAL cannot read it"):
        open_source(f"/vsizip/{tmp_path}/a.zip/other.tif")
    with reading("https://example.org/scene.tif"):
        assert getenv()["GDAL_DISABLE_READDIR_ON_OPEN"] == "EMPTY_DIR"
    with reading(str(tmp_path / "scene.tif")):
        assert "GDAL_DISABLE_READDIR_ON_OPEN" not in getenv()


@pytest.mark.parametrize("bands", [[0], [4], [-1], [1, 9], []])
def test_a_band_that_is_not_there_is_named(bands: list[int], tmp_path: Path) -> None:
    path = put(tmp_path / "scene.tif", pixels((3, 20, 30)))
    with pytest.raises(InputError, match=r"scene.tif: there is no band .*it has the bands 1 red, 2 green, 3 blue$"):
        RasterSource(path, bands)


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
def test_complex_pixels_are_refused(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    rasterio.open(path, "w", driver="GTiff", height=4, width=5, count=1, dtype=dtype).close()
    with pytest.raises(InputError, match=rf"scene.tif: pixels are {dtype}"):
        RasterSource(path)


def test_what_is_no_image_is_refused_at_once(tmp_path: Path) -> None:
    for name, content in (("a.tif", b"no image"), ("b.tif", b"II*\0\x08\0\0\0"), ("c.tif", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            RasterSource(tmp_path / name)
    with pytest.raises(InputError, match=r"missing\.tif"):
        RasterSource(tmp_path / "missing.tif")


@pytest.mark.parametrize("words", ["nan,1,0,0,0,-1", "0,0,0,0,0,0", "5,1,2,5,2,4", "0,inf,0,0,0,1"])
def test_a_transform_that_folds_the_scene_is_refused(words: str, tmp_path: Path) -> None:
    (tmp_path / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="5" rasterYSize="4"><GeoTransform>{words}</GeoTransform>'
        '<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    )
    with pytest.raises(InputError, match="folds the scene flat"):
        RasterSource(tmp_path / "a.vrt")


def test_damaged_coefficients_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="5" rasterYSize="4"><Metadata domain="RPC"><MDI key="LINE_OFF">abc</MDI></Metadata>'
        '<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    )
    with pytest.raises(InputError, match=r"a.vrt: its RPC coefficients are damaged"):
        RasterSource(tmp_path / "a.vrt")


def test_blocks_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    path, side = tmp_path / "scene.tif", 1 << 15
    tiles = {"tiled": True, "blockxsize": side, "blockysize": side, "sparse_ok": True, "interleave": "pixel"}
    rasterio.open(path, "w", driver="GTiff", height=side, width=side, count=3, dtype="uint8", **tiles).close()
    with pytest.raises(InputError, match=r"3.0 GiB each.*gdal_translate -co TILED=YES"):
        RasterSource(path)


@pytest.mark.parametrize("compress", ["deflate", "lzw", "zstd", None])
def test_damage_is_found_at_the_rows_where_it_is(compress: str | None, tmp_path: Path) -> None:
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": compress}
    values = np.random.default_rng(0).integers(0, 255, (1, 256, 64), np.uint8)
    whole = put(tmp_path / "whole.tif", values, **tiles).read_bytes()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(whole[: len(whole) // 2])
    source = RasterSource(cut)
    np.testing.assert_array_equal(source.read(Box((0, 0), (64, 64))).values, values[:, :64])
    with pytest.raises(InputError, match=r"cut.tif, rows 192 to 256: GDAL cannot read it"):
        source.read(Box((192, 0), (256, 64)))


@pytest.mark.parametrize("compress", ["deflate", "lzw", "zstd"])
def test_a_tile_of_rubbish_is_found(compress: str, tmp_path: Path) -> None:
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": compress}
    path = put(tmp_path / "scene.tif", np.random.default_rng(0).integers(0, 50, (1, 256, 64), np.uint8), **tiles)
    with rasterio.open(path) as dataset:
        offset, size = (int(dataset.get_tag_item(f"BLOCK_{word}_0_2", "TIFF", bidx=1)) for word in ("OFFSET", "SIZE"))
    whole = bytearray(path.read_bytes())
    whole[offset : offset + size] = b"\xff" * size
    path.write_bytes(whole)
    source = RasterSource(path)
    source.read(Box((0, 0), (128, 64)))
    with pytest.raises(InputError, match=r"rows 120 to 200"):
        source.read(Box((120, 0), (200, 64)))


@pytest.mark.parametrize("place", PLACES)
def test_the_words_of_a_place_are_json(place: str, tmp_path: Path) -> None:
    grid = RasterSource(put(tmp_path / "scene.tif", pixels((1, 10, 10)), **PLACES[place])).grid
    assert json.loads(json.dumps(grid.reference)) == grid.reference


def claiming(path: Path, bands: int) -> Path:
    """A TIFF of a single pixel, without pixels, that claims to have many bands."""
    shorts = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 277: bands, 278: 1, 284: 2}
    longs = {273: 8, 279: 1}
    entries = [(tag, 3, value) for tag, value in shorts.items()] + [(tag, 4, value) for tag, value in longs.items()]
    fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(entries))
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + fields + bytes(4))
    return path


def test_more_bands_than_any_scene_has_are_refused_with_the_limit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has 65,535 bands; the most is 16,384") as caught:
        RasterSource(claiming(tmp_path / "a.tif", 65535))
    assert caught.value.code == "unsuitable"


class Counting:
    """A dataset that counts which of its attributes are asked for."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.asked = dataset, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self.dataset, name)


def test_what_gdal_tells_of_all_bands_is_asked_for_a_few_times_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_dataset
    datasets: list[Counting] = []

    def counting(*args: Any, **options: Any) -> Any:
        datasets.append(Counting(opened(*args, **options)))
        return datasets[-1]

    monkeypatch.setattr("pipeline.io.raster.source.open_dataset", counting)
    source = RasterSource(claiming(tmp_path / "a.tif", 300), [*range(300, 0, -1)])
    assert source.channels == 300
    (dataset,) = datasets
    per_band = ("dtypes", "colorinterp", "scales", "offsets", "nodatavals", "mask_flag_enums", "descriptions")
    assert {name: count for name in per_band if (count := dataset.asked[name]) > 4} == {}
    monkeypatch.undo()
    source.close()
