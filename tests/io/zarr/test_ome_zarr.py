"""Masks of volumes in Zarr, as the OME-Zarr and nifti-zarr packages see them, and theirs as inputs."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import zarr
from niizarr import nii2zarr, zarr2nii
from ome_zarr_models.v05.image import Image
from ome_zarr_models.v05.image_label import ImageLabel
from ome_zarr_models.v05.labels import Labels

from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.io.mask_files import mask_info
from pipeline.io.opening import open_source
from pipeline.io.volume.nifti_header import grid_in
from pipeline.io.zarr import ZarrSource
from pipeline.jobs.job import Job
from pipeline.masks.export import export
from pipeline.masks.structures import measure
from pipeline.runs.segment import segment
from tests.support.inputs import pixels

SHEARED = np.array([[-0.9, 0.2, 0.1, 20], [0.1, 1.1, 0, -30], [0, 0.3, 2.5, 5], [0, 0, 0, 1]])
VALUES = pixels((4, 30, 40), seed=3).T.astype(np.int16)
"""(x, y, z)"""

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
"""Of the packages that look at our files."""


def scan(path: Path, affine: np.ndarray = SHEARED, kind: type = nibabel.Nifti1Image) -> Path:
    image = kind(VALUES, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, 1)
    nibabel.save(image, path)
    return path


@pytest.fixture(params=["by the run", "by the export"])
def mask(request, models, tmp_path):
    """A mask in Zarr, and the same in NIfTI."""
    path = scan(tmp_path / "scan.nii.gz")
    model = str(models / "volume")
    segment(Job(str(path), tmp_path / "mask.nii.gz", model))
    if request.param == "by the run":
        segment(Job(str(path), tmp_path / "mask.zarr", model))
    else:
        export(tmp_path / "mask.nii.gz", tmp_path / "mask.zarr")
    return tmp_path / "mask.zarr"


def test_a_mask_is_an_image_with_a_labels_group_of_ome_zarr(mask):
    root = zarr.open_group(mask, mode="r")
    assert Image.from_zarr(root).attributes.ome.version == "0.5"
    assert Labels.from_zarr(root["labels"]).attributes.ome.labels == ["mask"]
    label = ImageLabel.from_zarr(root["labels/mask"]).attributes.ome.image_label
    assert [(entry.label_value, entry.name) for entry in label.properties] == [
        (0, "background"),
        (1, "organ"),
        (255, "nodata"),
    ]
    assert {colour.label_value: colour.rgba for colour in label.colors}[1] == (255, 0, 0, 255)


def test_nifti_zarr_finds_the_whole_affine_and_its_codes(mask):
    expected = nibabel.load(mask.with_name("mask.nii.gz"))
    for place in (mask, mask / "labels" / "mask"):
        found = zarr2nii(str(place))
        np.testing.assert_array_equal(found.header.get_best_affine(), expected.affine)
        assert [int(found.header[f"{form}_code"]) for form in ("sform", "qform")] == [
            int(expected.header[f"{form}_code"]) for form in ("sform", "qform")
        ]
        np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_what_nifti_zarr_wrote_lies_where_its_header_says(kind, tmp_path):
    path = scan(tmp_path / "scan.nii.gz", kind=kind)
    nii2zarr(str(path), str(tmp_path / "scan.nii.zarr"), nb_levels=2, zarr_version=3, ome_version="0.5", no_time=True)
    source, expected = ZarrSource(tmp_path / "scan.nii.zarr"), open_source(str(path))
    assert source.grid.shape == expected.grid.shape
    assert source.grid.max_corner_distance(expected.grid) == 0
    box = Box.whole(source.grid.shape)
    np.testing.assert_array_equal(source.read(box).values, expected.read(box).values)
    coarse = ZarrSource(tmp_path / "scan.nii.zarr" / "1")
    assert coarse.grid.spacing[1] > source.grid.spacing[1]


def test_the_label_group_alone_has_names_nodata_and_history(mask, tmp_path):
    label = mask / "labels" / "mask"
    assert mask_info(label) == mask_info(mask)
    assert mask_info(label).classes
    assert measure(label) == measure(mask)
    moved = tmp_path / "image.zarr" / "labels" / "organs"
    moved.parent.mkdir(parents=True)
    label.rename(moved)
    assert [entry.name for entry in mask_info(moved).classes] == ["background", "organ"]
    export(moved, tmp_path / "back.nii.gz")
    expected = nibabel.load(mask.with_name("mask.nii.gz"))
    np.testing.assert_array_equal(nibabel.load(tmp_path / "back.nii.gz").affine, expected.affine)


def test_forms_that_disagree_need_a_word_in_a_store_too(tmp_path):
    path = scan(tmp_path / "scan.nii.gz")
    image = nibabel.load(path)
    image.set_qform(SHEARED + np.array([[0, 0, 0, 40]] + [[0] * 4] * 3), 1)
    nibabel.save(image, path)
    nii2zarr(str(path), str(tmp_path / "a.zarr"), nb_levels=1, zarr_version=3, ome_version="0.5", no_time=True)
    with pytest.raises(InputError, match=r"a\.zarr: its array nifti its sform .* --nifti-affine qform$"):
        open_source(tmp_path / "a.zarr")
    for form in ("sform", "qform"):
        expected, found = open_source(path, affine=form), open_source(tmp_path / "a.zarr", affine=form)
        assert found.grid.max_corner_distance(expected.grid) == 0


@pytest.mark.parametrize("other", [np.zeros((2, 3), np.uint8), np.zeros(348, "S1"), np.zeros(348, np.float32)])
def test_an_array_of_that_name_that_is_no_header_is_left_alone(other, tmp_path):
    path = scan(tmp_path / "scan.nii.gz")
    nii2zarr(str(path), str(tmp_path / "a.zarr"), nb_levels=1, zarr_version=3, ome_version="0.5", no_time=True)
    root = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    del root["nifti"]
    root.create_array("nifti", data=other)
    assert ZarrSource(tmp_path / "a.zarr").grid.spacing == pytest.approx(open_source(path).grid.spacing, rel=1e-5)


def test_a_header_without_words_for_the_shape_is_refused():
    block = bytes(nibabel.Nifti1Header().binaryblock)
    with pytest.raises(InputError, match=r"cannot hold the shape .*write it as NIfTI-2"):
        grid_in(block, (1, 1, 40000), "strict")


def test_a_broken_header_in_a_store_is_refused_by_name(tmp_path):
    path = scan(tmp_path / "scan.nii.gz")
    nii2zarr(str(path), str(tmp_path / "a.zarr"), nb_levels=1, zarr_version=3, ome_version="0.5", no_time=True)
    root = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    root["nifti"][:4] = 0
    with pytest.raises(InputError, match=r"a\.zarr: its array nifti is not NIfTI"):
        ZarrSource(tmp_path / "a.zarr")
    del root["nifti"]
    root.create_array("nifti", data=np.array([92, 1, *[0] * 8], np.uint8))
    with pytest.raises(InputError, match=r"a\.zarr: its array nifti has no NIfTI header .*the data end after 10 bytes"):
        ZarrSource(tmp_path / "a.zarr")
