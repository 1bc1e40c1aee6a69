"""Masks of volumes as NRRD, segmentations of 3D Slicer and MetaImage are what pynrrd and SimpleITK read."""

from __future__ import annotations

import json
import tracemalloc

import nrrd
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.classes import Concept, LabelClass, Snomed
from pipeline.cli import app
from pipeline.errors import RequestError
from pipeline.geometry import Box, Grid
from pipeline.geometry.affine import from_directions, to_directions
from pipeline.io.mask import Mask
from pipeline.io.mask_files import check_output, mask_info, publish
from pipeline.io.opening import open_source
from pipeline.jobs.inputs import find_inputs
from pipeline.masks.export import export
from tests.support.fakes import ArraySource
from tests.support.inputs import put_volume
from tests.support.niftis import SHEARED

KIDNEY = Snomed(Concept("123037004", "Anatomical Structure"), Concept("64033007", "Kidney"))
CLASSES = (
    LabelClass(0, "background", (0, 0, 0)),
    LabelClass(1, "left kidney\nlower \\ pole", (255, 128, 0), KIDNEY),
    LabelClass(2, "Leber µ", (10, 200, 30)),
    LabelClass(255, "nodata", (1, 2, 3)),
)
SUFFIXES = [".nrrd", ".seg.nrrd", ".mha"]


TURNED = ((0.0, -0.6, 0.4, 9.25), (0.0, 0.8, 0.3, -8.5), (3.0, 0.0, 0.0, 7.0), (0.0, 0.0, 0.0, 1.0))
"""Rotated about z: rows and columns at right angles."""


def mask_of(values: np.ndarray, affine=TURNED) -> Mask:
    grid = Grid(values.shape, affine, ("z", "y", "x"))
    return Mask(ArraySource(values[None], block=(1, *values.shape[1:])), grid, 255, CLASSES, {"model": "m"})


def random(shape=(4, 5, 6), kind=np.uint8) -> np.ndarray:
    return np.random.default_rng(0).choice([0, 1, 2, 255], shape).astype(kind)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_simpleitk_reads_the_same_labels_in_the_same_place(suffix, kind, tmp_path):
    values, path = random(kind=kind), tmp_path / f"mask{suffix}"
    publish(mask_of(values), path)
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), values)
    assert SimpleITK.GetArrayFromImage(image).dtype == kind
    for z, y, x in ((0, 0, 0), (3, 4, 5), (1, 0, 4)):
        world = np.array(TURNED) @ (z, y, x, 1)
        place = image.TransformIndexToPhysicalPoint((x, y, z))
        np.testing.assert_allclose(place, world[:3] * (-1, -1, 1), atol=1e-9)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_mask_comes_back_with_what_is_known_of_it(suffix, tmp_path):
    values, path = random(), tmp_path / f"ct_mask{suffix}"
    mask = mask_of(values, tuple(map(tuple, SHEARED[:, [2, 1, 0, 3]].tolist())))
    publish(mask, path)
    source = open_source(path)
    np.testing.assert_array_equal(source.read(Box.whole(values.shape)).values[0], values)
    np.testing.assert_allclose(source.grid.affine, mask.grid.affine, rtol=1e-12, atol=0 if "nrrd" in suffix else 1e-12)
    assert source.grid == mask.grid or suffix == ".mha"
    source.close()
    info = mask_info(path)
    assert (info.nodata, info.classes, info.provenance) == (255, CLASSES, {"model": "m"})
    assert json.loads((tmp_path / "ct_mask.json").read_text())["nodata"] == 255


def test_pynrrd_reads_the_header(tmp_path):
    publish(mask_of(random()), tmp_path / "mask.nrrd")
    values, header = nrrd.read(str(tmp_path / "mask.nrrd"))
    np.testing.assert_array_equal(values.T, random())
    assert (header["space"], header["encoding"]) == ("left-posterior-superior", "gzip")
    assert not [key for key in header if key.startswith("Segment")]


def test_3d_slicer_finds_its_segments(tmp_path):
    """By the names in https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html."""
    publish(mask_of(random()), tmp_path / "mask.seg.nrrd")
    values, header = nrrd.read(str(tmp_path / "mask.seg.nrrd"))
    np.testing.assert_array_equal(values.T, random())
    assert header["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert {key.partition("_")[0] for key in header if key.startswith("Segment")} == {
        "Segmentation", "Segment0", "Segment1"
    }  # fmt: skip
    for number, entry in enumerate(CLASSES[1:3]):
        found = {key.partition("_")[2]: value for key, value in header.items() if key.startswith(f"Segment{number}_")}
        assert found["ID"] == f"Segment_{entry.value}"
        assert found["LabelValue"] == str(entry.value)
        assert found["Layer"] == "0"
        assert found["Extent"] == "0 5 0 4 0 3"
        assert [round(255 * float(part)) for part in found["Color"].split()] == list(entry.color)
        assert found["Tags"].startswith("TerminologyEntry:")
        assert found["Tags"].count("~") == 6
    assert "~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~" in header["Segment0_Tags"]
    assert "~SCT^85756007^Tissue~SCT^85756007^Tissue~" in header["Segment1_Tags"]
    assert SimpleITK.ReadImage(str(tmp_path / "mask.seg.nrrd")).GetMetaData("Segment1_Name") == "Leber µ"
    raw = (tmp_path / "mask.seg.nrrd").read_bytes()
    assert rb"Segment0_Name:=left kidney\nlower \\ pole" in raw


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_labels_are_the_same_bytes_in_bounded_memory(suffix, tmp_path):
    values = np.broadcast_to(random((1, 200, 300)), (300, 200, 300))
    mask = mask_of(values)
    tracemalloc.start()
    try:
        publish(mask, tmp_path / f"a{suffix}")
        assert tracemalloc.get_traced_memory()[1] < values.nbytes / 2
    finally:
        tracemalloc.stop()
    publish(mask, tmp_path / f"b{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_the_old_mask_and_nothing_else(suffix, tmp_path):
    class Failing(ArraySource):
        def read(self, box):
            raise KeyboardInterrupt

    path = tmp_path / f"mask{suffix}"
    path.write_bytes(b"old")
    mask = mask_of(random())
    failing = Mask(Failing(mask.labels.values), mask.grid, mask.nodata, mask.classes, mask.provenance)
    with pytest.raises(KeyboardInterrupt):
        publish(failing, path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(f"mask{suffix}", b"old")]


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd", ".nrrd.gz"])
def test_headers_without_voxels_are_no_masks(suffix, tmp_path):
    with pytest.raises(RequestError, match=r"written as .*\.nrrd, \.seg\.nrrd, \.mha"):
        check_output(Grid((2, 3, 4), TURNED, ("z", "y", "x")), tmp_path / f"mask{suffix}")


@given(
    affine=st.lists(st.floats(-9, 9).map(lambda x: x + 0.0), min_size=12, max_size=12), sign=st.sampled_from([1, -1])
)
def test_directions_and_affines_are_each_other(affine, sign):
    matrix = (*(tuple(affine[row : row + 4]) for row in (0, 4, 8)), (0.0, 0.0, 0.0, 1.0))
    signs = (sign, -1, 1)
    assert from_directions(*to_directions(matrix, signs), signs) == matrix


def test_verbs_write_and_read_them(tmp_path, models):
    put_volume(
        tmp_path / "ct.nii.gz", np.random.default_rng(0).integers(0, 99, (30, 40, 5)).astype(np.int16), np.eye(4)
    )
    words = ["run", "--model", str(models / "volume"), "--no-prefect", "--input", str(tmp_path / "ct.nii.gz")]
    for suffix in (".nii.gz", ".seg.nrrd"):
        ended = CliRunner().invoke(app, [*words, "--output", str(tmp_path / f"ct_mask{suffix}")])
        assert ended.exit_code == 0, ended.output
    export(tmp_path / "ct_mask.seg.nrrd", tmp_path / "other.mha")
    export(tmp_path / "other.mha", tmp_path / "other.nii.gz")
    values = [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / name))) for name in (
        "ct_mask.nii.gz", "ct_mask.seg.nrrd", "other.mha", "other.nii.gz"
    )]  # fmt: skip
    assert len(np.unique(values[0])) > 1
    assert all(np.array_equal(values[0], each) for each in values)
    assert find_inputs([str(tmp_path)])[:1] == (str(tmp_path / "ct.nii.gz"),)
