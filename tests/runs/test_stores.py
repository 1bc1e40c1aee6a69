"""Unfinished work that is damaged in any way is noticed, slab by slab, and nothing else is taken away."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.ledger import Ledger
from pipeline.errors import DamagedError
from pipeline.geometry import Box, cut_slabs
from pipeline.io.zarr import SlabStore, create_labels, create_layer
from pipeline.runs.stores import Part, check
from pipeline.runs.work_folder import CommittingSink
from tests.support.fakes import grid_of
from tests.support.inputs import pixels

GRID = grid_of((5000, 7))
SLABS = cut_slabs(GRID.shape, 1024)
EMPTY = SLABS[3]
"""The slab that is nodata alone, whose chunks are not stored."""
STORES = ("mask.zarr", "confidence.zarr")


def create(folder: Path) -> None:
    create_labels(folder / STORES[0], GRID, np.dtype("u1"), nodata=255, classes=(), provenance={}, checksums=True)
    layer = {"bands": ["confidence"], "nodata": 0, "scaling": None, "provenance": {}}
    create_layer(folder / STORES[1], GRID, np.dtype("u1"), name="confidence", **layer)


def part_of(folder: Path) -> Part:
    return Part(Ledger(folder), tuple(folder / name for name in STORES), partial(create, folder))


def sink_of(folder: Path) -> CommittingSink:
    return CommittingSink(tuple(SlabStore(folder / name) for name in STORES), Ledger(folder))


def values_of(slab: Box) -> list[np.ndarray]:
    values = pixels(GRID.shape)[slab.slices]
    return [np.full_like(values, 255), np.zeros_like(values)] if slab == EMPTY else [values // 90, values]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A work folder with all of its slabs marked."""
    folder = tmp_path_factory.mktemp("whole") / "work"
    create(folder)
    Ledger(folder).begin({"a": 1})
    for slab in SLABS:
        sink_of(folder).write(slab, values_of(slab))
    return folder


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch") / "work"


@pytest.fixture
def folder(whole, scratch):
    return copied(whole, scratch)


def copied(whole: Path, scratch: Path) -> Path:
    shutil.rmtree(scratch, ignore_errors=True)
    return shutil.copytree(whole, scratch)


def chunk(store: str, row: int) -> str:
    return f"{store}/{store.removesuffix('.zarr')}/c/{row}/0"


def flip(file: Path, share: float, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[int(share * len(content))] ^= 1 << bit
    file.write_bytes(content)


def swap(one: Path, other: Path) -> None:
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


CHUNKS = st.sampled_from([(store, row) for store in STORES for row in range(len(SLABS)) if SLABS[row] != EMPTY])
SHARES = st.floats(0, 1, exclude_max=True)


def damages(file: Path, neighbor: Path, share: float, bit: int) -> dict[str, Callable[[], object]]:
    """What may happen to a chunk, by name."""
    return {
        "flip": lambda: flip(file, share, bit),
        "cut": lambda: file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)]),
        "empty": lambda: file.write_bytes(b""),
        "delete": file.unlink,
        "replace": lambda: file.write_bytes(neighbor.read_bytes()),
    }


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "delete", "replace"])
@given(at=CHUNKS, share=SHARES, bit=st.integers(0, 7))
@settings(max_examples=4)
def test_a_damaged_chunk_takes_the_mark_of_its_slab_away_and_no_other(whole, scratch, at, share, bit, damage):
    folder, (store, row) = copied(whole, scratch), at
    file = folder / chunk(store, row)
    neighbor = folder / chunk(store, (row + 1) % 3)
    damages(file, neighbor, share, bit)[damage]()
    part = part_of(folder)
    if damage != "flip":
        with pytest.raises(DamagedError, match=r"mask\.zarr: .* not as it was written"):
            check([part])
    assert part.mend() == [SLABS[row]]
    assert Ledger(folder).done(SLABS) == {*SLABS} - {SLABS[row]}
    sink_of(folder).write(SLABS[row], values_of(SLABS[row]))
    assert file.read_bytes() == (whole / chunk(store, row)).read_bytes()


TILED = grid_of((3000, 1101))


@pytest.fixture(scope="module")
def tiled(tmp_path_factory):
    """A work folder of tiles with their overview; the second slab is nodata alone."""
    folder = tmp_path_factory.mktemp("tiled") / "work"
    part = part_of_tiles(folder)
    part.create()
    part.ledger.begin({"a": 1})
    sink = CommittingSink((SlabStore(folder / STORES[0]),), part.ledger)
    for slab in cut_slabs(TILED.shape, 1024):
        values = pixels(TILED.shape)[slab.slices] // 90
        sink.write(slab, [np.full_like(values, 255) if slab.start[0] == 1024 else values])
    return folder


def part_of_tiles(folder: Path) -> Part:
    words = {"nodata": 255, "classes": (), "provenance": {}, "checksums": True, "tiled": True}
    create = partial(create_labels, folder / STORES[0], TILED, np.dtype("u1"), **words)
    return Part(Ledger(folder), (folder / STORES[0],), create)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "delete", "replace", "add"])
@pytest.mark.parametrize("array", ["overview", "edges"])
@given(share=SHARES, bit=st.integers(0, 7))
@settings(max_examples=2)
def test_a_damaged_tile_of_the_overview_takes_the_mark_of_its_slab_away(tiled, scratch, array, damage, share, bit):
    folder = copied(tiled, scratch)
    file, neighbor, absent = (folder / "mask.zarr" / array / "c" / place for place in ("0/1", "2/1", "1/1"))
    made = damages(file, neighbor, share, bit)
    made["add"] = lambda: [absent.parent.mkdir(exist_ok=True), shutil.copy(file, absent)]
    made[damage]()
    first, second, _ = cut_slabs(TILED.shape, 1024)
    assert part_of_tiles(folder).mend() == [second if damage == "add" else first]


@pytest.mark.parametrize("array", ["overview", "edges"])
@pytest.mark.parametrize("damage", ["flip", "delete", "empty", "whole"])
def test_an_overview_whose_metadata_are_damaged_is_created_again(tiled, scratch, array, damage):
    folder = copied(tiled, scratch)
    file = folder / "mask.zarr" / array / "zarr.json"
    {
        "flip": lambda: flip(file, 0.6, 1),
        "delete": file.unlink,
        "empty": lambda: file.write_bytes(b""),
        "whole": lambda: shutil.rmtree(file.parent),
    }[damage]()
    assert part_of_tiles(folder).mend() == [*cut_slabs(TILED.shape, 1024)]
    assert file.read_bytes() == (tiled / "mask.zarr" / array / "zarr.json").read_bytes()


def test_swapped_chunks_take_both_marks_away(folder):
    swap(folder / chunk("mask.zarr", 0), folder / chunk("mask.zarr", 2))
    assert part_of(folder).mend() == [SLABS[0], SLABS[2]]


def test_a_chunk_where_nodata_alone_was_written_is_noticed(folder):
    shutil.copytree(folder / "mask.zarr/mask/c/0", folder / "mask.zarr/mask/c/3")
    assert part_of(folder).mend() == [EMPTY]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other"])
@given(slab=st.sampled_from(SLABS), share=SHARES, bit=st.integers(0, 7))
@settings(max_examples=3)
def test_a_damaged_mark_is_taken_away(whole, scratch, slab, share, bit, damage):
    folder = copied(whole, scratch)
    mark = folder / "done" / f"{slab.start[0]}-{slab.stop[0]}_0-7"
    if damage == "flip":
        flip(mark, share, bit)
    elif damage == "other":
        shutil.copy(folder / "done" / ("0-1024_0-7" if slab.start[0] else "1024-2048_0-7"), mark)
    else:
        mark.write_bytes(mark.read_bytes()[: int(share * mark.stat().st_size) if damage == "cut" else 0])
    part = part_of(folder)
    mended = part.mend()
    assert mended in ([slab], []), "a flip may leave the key of the seal alone damaged"
    assert damage == "flip" or mended
    assert Ledger(folder).done(SLABS) >= {*SLABS} - {slab}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("mask.zarr/zarr.json", "empty"),
        ("mask.zarr/mask/zarr.json", "flip"),
        ("confidence.zarr/spatial_ref/zarr.json", "flip"),
        ("confidence.zarr/confidence/zarr.json", "delete"),
    ],
)
def test_stores_whose_metadata_are_damaged_are_created_again(folder, whole, name, damage):
    file = folder / name
    {"flip": lambda: flip(file, 0.6, 1), "delete": file.unlink, "empty": lambda: file.write_bytes(b"")}[damage]()
    assert part_of(folder).mend() == list(SLABS)
    assert file.read_bytes() == (whole / name).read_bytes()
    assert not Ledger(folder).any_done


def test_files_of_other_programs_do_not_matter(folder):
    (folder / "done/.DS_Store").write_bytes(b"\0")
    (folder / "done/.nfs0001").touch()
    (folder / "done/Thumbs.db").touch()
    (folder / "mask.zarr/.DS_Store").touch()
    (folder / "mask.zarr/mask/c/0/.nfs0002").touch()
    assert part_of(folder).mend() == []
    assert Ledger(folder).done(SLABS) == {*SLABS}


def test_marks_of_what_are_no_slabs_of_the_store_are_taken_away(folder):
    for name in ("0-9000_0-7", "0-1024_0-9", "0-1024", "0-1024_0-3_0-7", "7-3_0-7"):
        shutil.copy(folder / "done/0-1024_0-7", folder / "done" / name)
    part_of(folder).mend()
    assert Ledger(folder).marked == list(SLABS)


def test_without_its_marks_everything_is_computed_again(folder):
    shutil.rmtree(folder / "done")
    assert Ledger(folder).done(SLABS) == set()
    assert part_of(folder).mend() == []
    sink_of(folder).write(SLABS[0], values_of(SLABS[0]))
    assert Ledger(folder).marked == [SLABS[0]]
