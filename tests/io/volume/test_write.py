from __future__ import annotations

import gzip
import tracemalloc
from contextlib import closing

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import OutputError
from pipeline.geometry import Box, Grid
from pipeline.io.volume.nifti import open_volume, write_nifti
from tests.support.niftis import MOVED

SMALL = Grid((3, 4, 5), MOVED, ("z", "y", "x"))


def test_the_same_labels_are_the_same_bytes_however_they_are_cut_and_named(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, SMALL.shape).astype(np.uint8)
    for name, rows in [("a.nii.gz", 1), ("another.nii.gz", 3)]:
        write_nifti(tmp_path / name, SMALL, (labels[z : z + rows] for z in range(0, 3, rows)), "u1")
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content[3:8] == bytes(5)  # no flags, hence no name; no time
    assert gzip.decompress(content) == gzip.decompress((tmp_path / "another.nii.gz").read_bytes())
    write_nifti(tmp_path / "again.nii.gz", SMALL, iter(labels[:, None]), "u1")
    assert (tmp_path / "again.nii.gz").read_bytes() == content


def test_a_failure_leaves_nothing_and_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "out.nii.gz"
    path.write_bytes(b"old")

    def failing():
        yield np.zeros((1, 4, 5), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_nifti(path, SMALL, failing(), "u1")
    assert [p.name for p in tmp_path.iterdir()] == ["out.nii.gz"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("slabs", "dtype", "words"),
    [
        ([np.zeros((2, 4, 5), np.uint8)], "u1", "2 of 3"),
        ([np.zeros((3, 4, 5), np.uint8)] * 2, "u1", "slice 6"),
        ([np.zeros((3, 5, 4), np.uint8)], "u1", r"\(3, 5, 4\)"),
        ([np.zeros((3, 4, 5), np.uint16)], "u1", "uint16"),
        ([np.zeros((3, 4, 5), np.int16)], "u2", "int16"),
        ([np.zeros((3, 4, 5), np.float32)], "f4", "float32"),
    ],
)
def test_labels_that_do_not_fill_the_grid_are_refused(tmp_path, slabs, dtype, words):
    with pytest.raises(OutputError, match=words):
        write_nifti(tmp_path / "out.nii", SMALL, slabs, dtype)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_by_a_folder_is_refused(tmp_path):
    (tmp_path / "out.nii").mkdir()
    with pytest.raises(OutputError, match=r"out\.nii: "):
        write_nifti(tmp_path / "out.nii", SMALL, [np.zeros(SMALL.shape, np.uint8)], "u1")
    assert [p.name for p in tmp_path.iterdir()] == ["out.nii"]


def test_a_scene_is_refused(tmp_path):
    scene = Grid((2, 2), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), ("y", "x"))
    with pytest.raises(OutputError, match="scene"):
        write_nifti(tmp_path / "out.nii", scene, [np.zeros((2, 2), np.uint8)], "u1")


def test_memory_is_a_slab_both_ways(tmp_path):
    grid = Grid((256, 128, 128), MOVED, ("z", "y", "x"))
    path = tmp_path / "v.nii.gz"
    tracemalloc.start()
    try:
        write_nifti(path, grid, (np.full((4, 128, 128), z % 7, np.uint8) for z in range(0, 256, 4)), "u1")
        with closing(open_volume(path)) as source:
            for z in range(0, 256, 4):
                assert source.read(Box((z, 0, 0), (z + 4, 128, 128))).values[0, 0, 0, 0] == z % 7
        assert (
            tracemalloc.get_traced_memory()[1] < 2.5 * 2**20
        )  # the volume is 4 MiB, and buffers of 0.5 MiB are isal's
    finally:
        tracemalloc.stop()


def test_an_image_is_no_label_volume(tmp_path):
    values = np.arange(-30, 30, dtype=np.int16).reshape(3, 4, 5)
    grid = Grid(values.shape, tuple(map(tuple, np.eye(4))), ("z", "y", "x"))
    write_nifti(tmp_path / "image.nii", grid, [values], np.int16)
    image = nib.load(tmp_path / "image.nii")
    assert int(image.header["intent_code"]) == 0
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, values)
