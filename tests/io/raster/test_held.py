"""What GDAL holds of a file while it is read: known from its header, planned, and held to."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy

from pipeline.engine.reader import READERS, readers_of
from pipeline.errors import InputError, RequestError
from pipeline.io.raster import RasterSource, held
from pipeline.io.raster.held import bytes_held
from pipeline.jobs.job import Job, Resources
from pipeline.runs.plan import plan
from tests.support.inputs import listing
from tests.support.rasters import put

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

HEIGHT, WIDTH = 2100, 96
IMAGE = HEIGHT * WIDTH
DEFLATED = {"compress": "deflate", "interleave": "pixel"}
TIFFS: dict[str, tuple[dict[str, Any], int]] = {
    "rows": ({"blockysize": 8}, 3 * 8 * WIDTH),
    "tiles": ({"tiled": True, "blockxsize": 32, "blockysize": 16, **DEFLATED}, 4 * 32 * 16),
    "two strips by pixel": ({"blockysize": HEIGHT // 2, **DEFLATED}, 4 * IMAGE // 2),
    "two strips by band": ({"blockysize": HEIGHT // 2, "compress": "lzw", "interleave": "band"}, IMAGE // 2),
    "one tile": ({"tiled": True, "blockxsize": 96, "blockysize": 2112, **DEFLATED}, 4 * 96 * 2112),
    "one strip": ({"blockysize": HEIGHT, **DEFLATED}, 4 * WIDTH),
    "one strip, not packed": ({"blockysize": HEIGHT}, WIDTH),
}
"""By name: how a file of three bands is written, and the bytes of a decoded block and of one band of it."""


@pytest.fixture(autouse=True)
def _count_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "CACHE", 0)


def noise(bands: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (bands, HEIGHT, WIDTH), np.uint8)


@pytest.mark.parametrize("name", TIFFS)
def test_a_tiff_holds_a_decoded_block_and_its_packed_bytes(name: str, tmp_path: Path) -> None:
    options, decoded = TIFFS[name]
    path = put(tmp_path / "a.tif", noise(), **options)
    with rasterio.open(path) as dataset:
        packed = int(dataset.get_tag_item("BLOCK_SIZE_0_0", "TIFF", bidx=1)) if "compress" in options else 0
        if "interleave" not in options:
            decoded = 4 * np.prod(dataset.block_shapes[0])
        assert bytes_held(dataset) == decoded + packed
    if name == "one strip":
        assert packed > 0.9 * 3 * IMAGE


def interlaced(path: Path) -> Path:
    """A PNG in seven passes, which rasterio does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    lines = [(-(-(WIDTH - x) // across), -(-(HEIGHT - y) // down)) for x, y, across, down in passes]
    data = b"".join(bytes(1 + 3 * width) * rows for width, rows in lines)
    head = WIDTH.to_bytes(4, "big") + HEIGHT.to_bytes(4, "big") + bytes([8, 2, 0, 0, 1])
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


PICTURES: dict[str, tuple[str, dict[str, str], int]] = {
    "PNG": ("PNG", {}, 0),
    "JPEG": ("JPEG", {}, 0),
    "progressive JPEG": ("JPEG", {"PROGRESSIVE": "YES", "QUALITY": "60"}, 2),
    "JPEG with a comment": ("JPEG", {"COMMENT": "x" * 900}, 0),
    "WEBP": ("WEBP", {}, 1),
    "BMP": ("BMP", {}, 0),
    "interlaced PNG": ("PNG", {}, 1),
}
"""By name: driver, options, and how many times the image is held."""


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_held_as_a_whole_where_it_is_decoded_at_once(name: str, tmp_path: Path) -> None:
    driver, options, times = PICTURES[name]
    if name == "interlaced PNG":
        interlaced(tmp_path / "a")
    else:
        copy(put(tmp_path / "a.tif", noise()), tmp_path / "a", driver=driver, **options)
    with rasterio.open(tmp_path / "a") as dataset:
        assert dataset.driver == driver
        rows = bytes_held(dataset) - 3 * IMAGE * times
        assert rows == 0 if times else rows <= 4 * WIDTH


def test_a_large_block_is_read_by_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "a.tif", noise(), **TIFFS["two strips by pixel"][0])
    assert readers_of(RasterSource(path).info) == 1
    monkeypatch.setattr(held, "CACHE", 32 << 20)
    assert RasterSource(path).info.held == 0
    assert readers_of(RasterSource(path).info) == READERS


@pytest.mark.parametrize("kind", ["file", "stack", "mosaic"])
def test_what_is_held_is_planned_and_the_memory_kept_or_refused(kind: str, models: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    bands = 1 if kind == "stack" else 2
    for name in "ab" if kind == "stack" else "a":
        put(tmp_path / "in" / f"{name}.tif", noise(bands), tiled=True, blockxsize=96, blockysize=2112)
    folder = tmp_path / "in"
    named = {
        "file": folder / "a.tif",
        "mosaic": f"mosaic:{folder}",
        "stack": f"stack:a={folder}/a.tif|b={folder}/b.tif",
    }

    def planned(memory: int | None) -> int:
        job = Job(str(named[kind]), tmp_path / "out.tif", str(models / "scene"))
        return plan(job, Resources(memory=memory), probe=False).memory_bytes

    whole = 2 * 96 * 2112 if kind == "stack" else 3 * 96 * 2112
    needed = planned(None)
    assert needed > whole
    assert planned(needed) == needed
    with pytest.raises(RequestError, match="of them for a block of the file; allow more"):
        planned(needed - 1)
    with pytest.raises(InputError, match=r"is stored in blocks so large.*gdal_translate -co TILED=YES"):
        planned(whole - 1)
    assert listing(tmp_path) == {"in", *(f"in/{name}.tif" for name in ("ab" if kind == "stack" else "a"))}
