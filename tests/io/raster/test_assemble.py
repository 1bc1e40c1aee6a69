"""A GeoTIFF of tiles that are compressed already: all that GDAL reads in it is as in the one that GDAL writes."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import rasterio
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import Resampling

from pipeline.classes import LabelClass
from pipeline.errors import DamagedError, OutputError
from pipeline.files import atomic
from pipeline.geometry import Grid, cut_slabs
from pipeline.io import majority
from pipeline.io.majority import halve
from pipeline.io.raster import RasterSource, assemble_cog, write_cog
from pipeline.io.raster import assemble as assembling
from pipeline.io.raster import pyramid as making
from pipeline.io.raster.gdal import reading
from pipeline.io.raster.layout import LevelSizes, Template, header
from pipeline.io.tiles import TILE, Packed, Tail, pack, unpack
from pipeline.io.zarr import SlabStore, StoredTiles, WorkSource, create_labels, tiles_of
from pipeline.io.zarr.tiles import StoredOverview
from pipeline.sources.reoriented import ReorientedSource
from tests.io.raster.test_write import room_for
from tests.support.fakes import grid_of
from tests.support.rasters import PLACES, put
from tests.support.remote import served

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

CLASSES = (LabelClass(0, "water & ice", (10, 20, 30)), LabelClass(3, "<road>", (200, 0, 7)))
TAGS = {"PIPELINE": '{"ä": "' + "long " * 99 + '"}'}
SIDES = st.sampled_from([1, 7, 511, 512, 513, 514, 1023, 1025, 1300])


def blobs(shape: tuple[int, int], dtype: str = "u1", seed: int = 0, empty: float = 0.3) -> NDArray[Any]:
    """Labels in blobs and single cells, with a large part that is nodata, and single cells that are."""
    rng, nodata = np.random.default_rng(seed), np.iinfo(dtype).max
    coarse = rng.integers(0, 5, (shape[0] // 9 + 1, shape[1] // 9 + 1))
    values = np.kron(coarse, np.ones((9, 9), int))[: shape[0], : shape[1]].astype(dtype)
    noisy = rng.random(shape) < 0.2
    values[noisy] = rng.integers(0, 5, noisy.sum())
    values[rng.random(shape) < 0.05] = nodata
    values[: int(empty * shape[0])] = nodata
    return values


def stored(folder: Path, values: NDArray[Any], grid: Grid) -> StoredTiles:
    """Write labels to a work store, and open its tiles."""
    path, nodata = folder / "mask.zarr", int(np.iinfo(values.dtype).max)
    create_labels(path, grid, values.dtype, nodata=nodata, classes=CLASSES, provenance={}, checksums=True, tiled=True)
    for slab in cut_slabs(values.shape, 1024):
        SlabStore(path).write(slab, values[slab.slices])
    tiles = tiles_of(WorkSource(path))
    assert tiles is not None
    return tiles


def assembled(path: Path, values: NDArray[Any], grid: Grid) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tiles = stored(path.parent, values, grid)
    assemble_cog(path, grid, tiles, nodata=int(np.iinfo(values.dtype).max), classes=CLASSES, tags=TAGS)
    return path


def published(path: Path, tiles: StoredTiles) -> bytes:
    """What is written of tiles, as bytes."""
    nodata = int(np.iinfo(tiles.dtype).max)
    assemble_cog(path, grid_of(tiles.shape), tiles, nodata=nodata, classes=CLASSES, tags=TAGS)
    return path.read_bytes()


def by_gdal(path: Path, values: NDArray[Any], grid: Grid) -> Path:
    nodata = int(np.iinfo(values.dtype).max)
    write_cog(path, grid, iter([values]), values.dtype, nodata=nodata, classes=CLASSES, tags=TAGS)
    return path


def read(path: Path) -> dict[str, Any]:
    """All that GDAL reads in a file."""
    with rasterio.open(path) as dataset:
        spaces = ("", *(space for space in dataset.tag_namespaces() if space != "DERIVED_SUBDATASETS"))
        sidecar = path.with_name(path.name + ".aux.xml")
        return {
            "profile": {**dataset.profile},
            "places": [dataset.transform, dataset.gcps[1], [point.asdict() for point in dataset.gcps[0]]],
            "rpcs": dataset.rpcs and dataset.rpcs.to_gdal(),
            "tags": [{space: of.tags(ns=space) for space in spaces} for of in [dataset]],
            "bands": [dataset.tags(1), dataset.descriptions, dataset.colorinterp],
            "colors": dataset.colormap(1) if dataset.dtypes[0] == "uint8" else None,
            "levels": dataset.overviews(1),
            "blocks": dataset.block_shapes,
            "mask": dataset.mask_flag_enums,
            "sidecar": sidecar.read_text() if sidecar.exists() else None,
        }


def levels_of(path: Path) -> list[NDArray[Any]]:
    with rasterio.open(path) as dataset:
        found, count = [dataset.read(1)], len(dataset.overviews(1))
    for level in range(count):
        with rasterio.open(path, overview_level=level) as dataset:
            found.append(dataset.read(1))
    return found


@pytest.mark.parametrize("place", PLACES)
def test_all_that_a_file_says_is_as_gdal_says_it(place: str, tmp_path: Path) -> None:
    source = RasterSource(put(tmp_path / "in.tif", np.zeros((1, 530, 40), "u1"), **PLACES[place]))
    values = blobs((530, 40))
    ours = assembled(tmp_path / "ours" / "mask.tif", values, source.grid)
    theirs = by_gdal(tmp_path / "theirs" / "mask.tif", values, source.grid)
    assert read(ours) == read(theirs)
    assert RasterSource(ours).grid == source.grid


@settings(max_examples=8)
@given(
    shape=st.tuples(SIDES, SIDES),
    dtype=st.sampled_from(["u1", "u2"]),
    seed=st.integers(0, 99),
    empty=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_every_level_is_as_gdal_makes_it(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int], dtype: str, seed: int, empty: float
) -> None:
    folder, values, grid = tmp_path_factory.mktemp("any"), blobs(shape, dtype, seed, empty), grid_of(shape)
    ours = assembled(folder / "ours" / "mask.tif", values, grid)
    theirs = by_gdal(folder / "theirs" / "mask.tif", values, grid)
    assert read(ours) == read(theirs)
    for one, other in zip(levels_of(ours), levels_of(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=50)
@given(
    shape=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    seed=st.integers(0, 999),
    labels=st.integers(1, 9),
    cells=st.sampled_from([1, 60, majority._CELLS]),
)
def test_a_majority_is_that_of_gdal(shape: tuple[int, int], seed: int, labels: int, cells: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, labels, shape).astype(np.uint8)
    values[rng.random(shape) < 0.3] = 255
    before = (shape[0] % 2, shape[1] % 2)
    first = np.pad(values, [(side, 0) for side in before], constant_values=255)
    profile = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            dataset.write(values, 1)
        with rasterio.open(memory.name, "r+") as dataset:
            dataset.build_overviews([2], Resampling.mode)
        with rasterio.open(memory.name, overview_level=0) as dataset, patch.object(majority, "_CELLS", cells):
            np.testing.assert_array_equal(halve(first, 255, before), dataset.read(1))


def test_tiles_are_the_bytes_of_the_chunks(tmp_path: Path) -> None:
    values = blobs((1300, 700), empty=0.5)
    content = assembled(tmp_path / "mask.tif", values, grid_of(values.shape)).read_bytes()
    chunks = [file.read_bytes()[:-4] for file in sorted((tmp_path / "mask.zarr/mask/c").rglob("*")) if file.is_file()]
    assert len(chunks) == 4  # of six: two are nodata alone
    assert all(struct.pack("<I", len(chunk)) + chunk + chunk[-4:] in content for chunk in chunks)


def test_the_layout_is_that_of_a_cloud_optimized_geotiff(tmp_path: Path) -> None:
    """What GDAL's own script checks: directories first, then tiles in order, the largest level last, each framed."""
    path = assembled(tmp_path / "mask.tif", blobs((2100, 1300)), grid_of((2100, 1300)))
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        count = len(dataset.overviews(1))
    places = []
    for level in (*reversed(range(count)), None):
        options = {} if level is None else {"overview_level": level}
        with rasterio.open(path, **options) as dataset:
            places += list(tiles_in(dataset))
    content = path.read_bytes()
    assert all(one + size + 8 == other for (one, size), (other, _) in pairwise(places))
    assert sum(places[-1]) + 4 == len(content)
    assert all(struct.unpack_from("<I", content, at - 4) == (size,) for at, size in places)
    assert all(content[at + size : at + size + 4] == content[at + size - 4 : at + size] for at, size in places)


def tiles_in(dataset: Any) -> Iterator[tuple[int, int]]:
    for row in range(-(-dataset.height // TILE)):
        for column in range(-(-dataset.width // TILE)):
            yield tuple(
                int(dataset.get_tag_item(f"BLOCK_{word}_{column}_{row}", "TIFF", bidx=1)) for word in ("OFFSET", "SIZE")
            )


def test_what_does_not_fit_32_bits_is_a_bigtiff(tmp_path: Path) -> None:
    """A file that says of itself that its tiles are large: only its directories are written, and GDAL reads them."""
    path = assembled(tmp_path / "mask.tif", blobs((600, 700)), grid_of((600, 700)))
    template = assembling.read_template(path.read_bytes())
    small = [LevelSizes((600, 700), [10] * 4), LevelSizes((300, 350), [10])]
    large = [LevelSizes((600, 700), [(1 << 30) - 9] * 4), LevelSizes((300, 350), [77])]
    for levels, magic in ((small, b"II*\0"), (large, b"II+\0")):
        content = header(template, levels)
        assert content[:4] == magic
        path.write_bytes(content)
        with rasterio.open(path) as dataset:
            assert (dataset.shape, dataset.overviews(1), dataset.tags()["PIPELINE"]) == (
                (600, 700),
                [2],
                TAGS["PIPELINE"],
            )
            offsets = [at for at, _ in tiles_in(dataset)]
            assert [size for _, size in tiles_in(dataset)] == [*levels[0].tiles]
        first = len(content) + levels[1].tiles[0] + 2 * 4 + 4
        assert offsets == [first + place * (levels[0].tiles[0] + 8) for place in range(4)]


def test_the_same_labels_in_other_slabs_make_the_same_bytes(tmp_path: Path) -> None:
    values = blobs((2101, 1301))
    one = assembled(tmp_path / "one" / "mask.tif", values, grid_of(values.shape))
    tiles = stored(tmp_path / "other", np.full_like(values, 1), grid_of(values.shape))
    store = SlabStore(tmp_path / "other" / "mask.zarr")
    for slab in (*cut_slabs(values.shape, 1024, 1024)[:2], *cut_slabs(values.shape, 3072, 1024)):
        store.write(slab, values[slab.slices])
    assert one.read_bytes() == published(tmp_path / "other" / "mask.tif", tiles)


@settings(max_examples=8)
@given(
    shape=st.tuples(SIDES, SIDES | st.integers(2030, 2070)),
    dtype=st.sampled_from(["u1", "u2"]),
    seed=st.integers(0, 99),
    empty=st.floats(0, 1),
    turned=st.booleans(),
)
def test_a_stored_overview_makes_the_same_bytes_as_none(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int], dtype: str, seed: int, empty: float, turned: bool
) -> None:
    folder, shape = tmp_path_factory.mktemp("any"), shape[:: -1 if turned else 1]
    tiles = stored(folder, blobs(shape, dtype, seed, empty), grid_of(shape))
    kept = published(folder / "kept.tif", tiles)
    shutil.rmtree(folder / "mask.zarr/overview", ignore_errors=True)
    assert (reopened := tiles_of(WorkSource(folder / "mask.zarr"))) is not None
    assert reopened.overview is None
    assert kept == published(folder / "made.tif", reopened)


def test_the_overview_is_stored_with_edges_where_windows_reach_another_slab(tmp_path: Path) -> None:
    found = {}
    for shape in ((512, 512), (514, 40), (1301, 700), (1300, 701)):
        overview = stored(tmp_path / str(shape), blobs(shape), grid_of(shape)).overview
        edges = (tmp_path / str(shape) / "mask.zarr/edges").exists()
        found[shape] = (overview and overview.shape, edges)
    assert found == {
        (512, 512): (None, False),
        (514, 40): ((257, 20), False),
        (1301, 700): ((651, 350), True),
        (1300, 701): ((650, 351), True),
    }


@pytest.mark.parametrize("shape", [(1200, 1300), (1201, 1300)])
def test_a_stored_overview_is_copied_and_the_labels_are_not_decompressed(
    shape: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, read = blobs(shape, empty=0), list[int]()
    tiles = stored(tmp_path, values, grid_of(values.shape))

    def unpack_and_tell(packed: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
        read.append(len(packed))
        return unpack(packed, dtype)

    monkeypatch.setattr(making, "unpack", unpack_and_tell)
    content = published(tmp_path / "mask.tif", tiles)
    chunks = [file.read_bytes()[:-4] for file in (tmp_path / "mask.zarr/overview/c").glob("*/*")]
    assert len(read) == len(chunks) == 4
    copied = [struct.pack("<I", len(chunk)) + chunk + chunk[-4:] in content for chunk in chunks]
    assert sum(copied) >= (1 if shape[0] % 2 else 4)  # others are mended where windows reach the block above


@pytest.mark.parametrize("damage", ["flip", "cut", "replace", "empty"])
@pytest.mark.parametrize("name", ["mask/c/1/0", "overview/c/1/0", "edges/c/1/0"])
def test_a_damaged_chunk_is_noticed_and_nothing_is_written(name: str, damage: str, tmp_path: Path) -> None:
    values = blobs((1301, 700), empty=0)
    tiles = stored(tmp_path, values, grid_of(values.shape))
    file = tmp_path / "mask.zarr" / name
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 8
    made = {"flip": content, "cut": content[:-1], "replace": pack(np.zeros(9)) + content[-4:], "empty": b""}
    file.write_bytes(made[damage])
    (tmp_path / "out").mkdir()
    with pytest.raises(DamagedError, match=r"c/1/0: .* not as it was written"):
        assemble_cog(tmp_path / "out/mask.tif", grid_of(values.shape), tiles, nodata=255, classes=CLASSES, tags=TAGS)
    assert not list((tmp_path / "out").iterdir())


class Changing(StoredOverview):
    """Tiles of which another one is in the place of one, once that was counted."""

    def tail(self, row: int, column: int) -> Tail | None:
        self._count(row, column)
        return super().tail(row, column)

    def packed(self, row: int, column: int) -> Packed | None:
        self._count(row, column)
        return super().packed(0, 1) if self.seen.count((1, 0)) == 2 else super().packed(row, column)

    @cached_property
    def seen(self) -> list[tuple[int, int]]:
        return []

    def _count(self, row: int, column: int) -> None:
        self.seen.append((row, column))


@pytest.mark.parametrize("level", [0, 1, None])
def test_a_chunk_that_changes_after_it_was_counted_is_noticed(level: int | None, tmp_path: Path) -> None:
    """Whether the overview is stored, or made of the labels."""
    values = blobs((1300, 1300), empty=0)
    tiles = stored(tmp_path, values, grid_of(values.shape))
    assert tiles.overview is not None
    kept = {0: tiles.overview, 1: changing(tiles.overview), None: None}[level]
    tiles = replace(tiles if level else changing(tiles), overview=kept)
    with pytest.raises(DamagedError, match=f"tile 1, 0 of level {level or 0} changed"):
        published(tmp_path / "mask.tif", tiles)
    assert not (tmp_path / "mask.tif").exists()


def changing(tiles: StoredTiles) -> Changing:
    return Changing(tiles.shape, tiles.dtype, tiles.chunk_file, None, tiles.chunk_file, 255)


def test_bytes_that_do_not_reach_the_disk_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that says it wrote what it did not."""
    values = blobs((600, 700), empty=0)
    write = assembling._write

    def lose(temporary: Path, template: Template, *rest: Any) -> int:
        checksum = write(temporary, template, *rest)
        content = bytearray(temporary.read_bytes())
        content[-100] ^= 1
        temporary.write_bytes(content)
        return checksum

    monkeypatch.setattr(assembling, "_write", lose)
    with pytest.raises(OutputError, match="its bytes differ"):
        assembled(tmp_path / "mask.tif", values, grid_of(values.shape))
    assert not (tmp_path / "mask.tif").exists()
    assert not list(tmp_path.glob(f"*{atomic.temporary_name(tmp_path / 'x').suffix}"))


def test_stores_of_earlier_versions_have_no_tiles(tmp_path: Path) -> None:
    grid = grid_of((600, 700))
    create_labels(tmp_path / "old.zarr", grid, np.dtype("u1"), nodata=255, classes=(), provenance={}, checksums=True)
    assert tiles_of(WorkSource(tmp_path / "old.zarr")) is None
    tiles = stored(tmp_path, blobs((600, 700)), grid)
    assert (tiles.shape, tiles.dtype) == ((600, 700), np.dtype("u1"))
    assert tiles_of(ReorientedSource(WorkSource(tmp_path / "mask.zarr"), (1, 0), (False, True))) is None


@given(
    values=st.binary(min_size=1, max_size=40).map(lambda text: np.resize(np.frombuffer(text, "u1"), (TILE, TILE))),
    dtype=st.sampled_from(["u1", "u2"]),
)
@settings(max_examples=12)
def test_a_packed_tile_is_a_zlib_stream(values: NDArray[Any], dtype: str) -> None:
    tile = values.astype(dtype)
    assert zlib.decompress(pack(tile)) == tile.tobytes()
    np.testing.assert_array_equal(unpack(pack(tile), tile.dtype), tile)


@pytest.mark.parametrize(
    ("tile", "largest"),
    [
        (np.kron(np.arange(1024).reshape(32, 32) * 7 % 5, np.ones((16, 16), int)).astype("u1"), 1.05),
        (np.tile(np.random.default_rng(0).integers(0, 9, (8, 512)), (64, 1)).astype("u1"), 1.05),
        (np.full((512, 512), 65535, "u2"), 1.05),
        (np.random.default_rng(0).integers(0, 250, (512, 512)).astype("u1"), 1.05),
        (np.add.outer(np.arange(512) ** 2 // 800, np.arange(512) // 40).astype("u1") // 100, 1.6),
    ],
    ids=["squares", "repeated rows", "several bytes", "noise", "borders"],
)
def test_no_tile_is_much_larger_than_zlib_makes_it(tile: NDArray[Any], largest: float) -> None:
    assert len(pack(tile)) <= largest * len(zlib.compress(tile)) + 500


def test_chunks_are_what_zarr_writes(tmp_path: Path) -> None:
    values, grid = blobs((1300, 700), "u2", empty=0.5), grid_of((1300, 700))
    stored(tmp_path / "ours", np.zeros_like(values), grid)
    stored(tmp_path / "theirs", np.zeros_like(values), grid)
    for slab in cut_slabs(values.shape, 1024):
        SlabStore(tmp_path / "ours/mask.zarr").write(slab, values[slab.slices])
    zarr.open_array(tmp_path / "theirs/mask.zarr/mask", mode="r+")[:] = values
    zarr.open_array(tmp_path / "theirs/mask.zarr/overview", mode="r+")[:] = halve(values, 65535)
    ours, theirs = (
        {str(file.relative_to(tmp_path / name)): file.read_bytes() for file in tmp_path.glob(f"{name}/**/c/*/*")}
        for name in ("ours", "theirs")
    )
    assert len(ours) == 4 + 2  # of six: two are nodata alone; and of the overview
    assert ours == theirs


def test_a_tiled_store_reads_as_any_store(tmp_path: Path) -> None:
    values = blobs((1300, 700), "u2")
    stored(tmp_path, values, grid_of(values.shape))
    source = WorkSource(tmp_path / "mask.zarr")
    np.testing.assert_array_equal(source.read(SlabStore(tmp_path / "mask.zarr").whole).values[0], values)


def test_overviews_that_are_kept_on_the_disk_make_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = blobs((2100, 700))
    held = assembled(tmp_path / "held" / "mask.tif", values, grid_of(values.shape))
    monkeypatch.setattr(assembling, "_HELD", 1)
    kept = assembled(tmp_path / "kept" / "mask.tif", values, grid_of(values.shape))
    assert held.read_bytes() == kept.read_bytes()
    assert {file.name for file in kept.parent.iterdir()} == {"mask.tif", "mask.tif.aux.xml", "mask.zarr"}


@pytest.mark.parametrize("held", [1, 4 << 20])
def test_on_a_full_disk_a_file_is_whole_or_not_there(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembling, "_HELD", held)
    values = np.random.default_rng(0).integers(0, 200, (1300, 700), np.uint8)
    grid, path = grid_of(values.shape), tmp_path / "out" / "mask.tif"
    tiles = stored(tmp_path, values, grid)
    said: dict[str, Any] = {"nodata": 255, "classes": (), "tags": {"PIPELINE": "long " * 999}}
    assemble_cog(path, grid, tiles, **said)
    whole = path.read_bytes()
    path.unlink()
    outcomes = set()
    for share in (0.001, 0.005, 0.01, 0.1, 0.3, 0.7, 0.99, 0.999, 1.0, 1.1):
        try:
            with room_for(int(share * len(whole))):
                assemble_cog(path, grid, tiles, **said)
        except OutputError:
            assert not list(path.parent.iterdir())
            outcomes.add("refused")
        else:
            assert path.read_bytes() == whole
            path.unlink()
            outcomes.add("whole")
    assert outcomes == {"refused", "whole"}


def test_a_server_of_ranges_serves_every_level(tmp_path: Path) -> None:
    values = blobs((1300, 1100))
    path = assembled(tmp_path / "served" / "assembled.tif", values, grid_of(values.shape))
    with served(path.parent) as server, reading(server.address):
        for level, labels in enumerate(levels_of(path)):
            options = {"overview_level": level - 1} if level else {}
            with rasterio.open(f"{server.address}/assembled.tif", **options) as dataset:
                np.testing.assert_array_equal(dataset.read(1), labels)
