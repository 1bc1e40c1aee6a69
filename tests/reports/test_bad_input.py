"""A report of bad input is a clear error and no page, or a page that says what is missing."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger
from pipeline.classes import LabelClass
from pipeline.errors import InputError
from pipeline.reports import ReportOptions, write_report
from tests.reports.test_scene import _Reader, layers_of, text_of
from tests.reports.test_volume import OBLIQUE, STRAIGHT, phantom, stored
from tests.support.pages import data_of, labels, put_image, put_layer, put_mask

NAME = "a\"b'<script>alert(1)<img src=x onerror=alert(2)>\nc"
SIDE = 600


def noise(*shape):
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


def cut(path, share=0.6):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


def refused(subject, words, **asked):
    with pytest.raises(InputError, match=words):
        write_report(subject, options=ReportOptions(**asked))
    assert not list(subject.parent.glob("*.html"))


@pytest.fixture
def scene(tmp_path):
    """A mask with its image beside it."""
    put_image(tmp_path / "scene.tif", noise(3, SIDE, SIDE))
    return put_mask(tmp_path / "scene_mask.tif", noise(SIDE, SIDE) % 3)


def test_a_damaged_image_is_refused_if_given_and_left_out_if_found(scene):
    image = cut(scene.with_name("scene.tif"))
    refused(scene, r"scene\.tif", image=str(image))
    page = write_report(scene)
    assert "The image beside the mask is not shown" in text_of(page)
    assert list(layers_of(page)) == ["mask"]


def test_a_damaged_layer_is_left_out_and_told(scene):
    cut(put_layer(scene.with_name("scene_mask_confidence.tif"), noise(SIDE, SIDE) / 255))
    page = write_report(scene)
    assert "The layer of confidence is not shown" in text_of(page)
    assert list(layers_of(page)) == ["image", "mask", "failed patches"]


def test_a_damaged_truth_and_one_on_another_grid_are_refused(scene, tmp_path):
    (tmp_path / "other").mkdir()
    refused(scene, "grid", truth=str(put_mask(tmp_path / "other/small.tif", labels())))
    refused(scene, r"truth\.tif", truth=str(cut(put_mask(tmp_path / "other/truth.tif", noise(SIDE, SIDE) % 3))))


@pytest.mark.parametrize("suffix", [".tif", ".nii.gz"])
def test_a_name_with_signs_of_markup_and_a_line_break_is_text(tmp_path, suffix):
    place = tmp_path / f"{NAME}{suffix}"
    mask = put_mask(place, labels()) if suffix == ".tif" else stored(place, phantom(), STRAIGHT, "RAS")
    page = write_report(mask)
    shown = page.read_text("utf-8")
    reader = _Reader()
    reader.feed(shown)
    assert "alert(1)" not in "".join(attrs.get("onerror", "") for _, attrs in reader.tags)
    assert [name for name, _ in reader.tags].count("script") == 3
    assert r"\nc" in text_of(page)
    assert "\nc.tif" not in shown


@pytest.fixture
def volume(tmp_path):
    return stored(tmp_path / "ct_mask.nii.gz", phantom(), STRAIGHT, "RAS")


def test_a_damaged_volume_is_refused(tmp_path):
    refused(cut(stored(tmp_path / "ct_mask.nii.gz", noise(30, 30, 30) % 4, STRAIGHT, "RAS")), r"ct_mask\.nii\.gz")


def test_a_damaged_image_of_a_volume_is_refused_if_given_and_left_out_if_found(volume):
    image = cut(stored(volume.with_name("ct.nii.gz"), noise(*phantom().shape), STRAIGHT, "RAS"))
    refused(volume, r"ct\.nii\.gz", image=str(image))
    said = {"labels": [], "nodata": 255, "made": {"input": {"name": "ct.nii.gz"}}}
    volume.with_name("ct_mask.json").write_text(json.dumps(said))
    page = write_report(volume)
    assert "The image beside the mask is not shown" in text_of(page)
    assert data_of(page)["image"] is None


def test_a_truth_of_a_volume_on_another_grid_is_refused(volume, tmp_path):
    (tmp_path / "other").mkdir()
    refused(volume, "grid", truth=str(stored(tmp_path / "other/truth.nii.gz", phantom(), OBLIQUE, "RAS")))


def test_a_volume_without_an_observed_voxel_says_so(volume):
    nibabel.save(nibabel.Nifti1Image(np.full((9, 8, 7), 255, np.uint8), STRAIGHT), volume)
    volume.with_name("ct_mask.json").write_text(json.dumps({"labels": [], "nodata": 255, "made": {}}))
    assert "Nothing was observed: all voxels are nodata." in text_of(write_report(volume))


def test_three_hundred_structures(volume):
    values = (np.arange(20 * 20 * 20) % 301).reshape(20, 20, 20).astype(np.uint16)
    nibabel.save(nibabel.Nifti1Image(values, STRAIGHT), volume)
    rows = [{"value": value, "name": f"part {value}", "colour": [value % 256, 9, 9]} for value in range(301)]
    volume.with_name("ct_mask.json").write_text(json.dumps({"labels": rows, "nodata": 65535, "made": {}}))
    page = write_report(volume)
    assert "Table of 301 classes" in text_of(page)
    assert {row["name"] for row in data_of(page)["classes"]} == {f"part {value}" for value in range(301)}


def test_more_classes_than_a_table_names(scene):
    classes = tuple(LabelClass(value, f"class {value}", (value, 0, 0)) for value in range(2))
    put_mask(scene, noise(SIDE, SIDE) % 3, classes=classes)
    assert {row["name"] for row in data_of(write_report(scene))["classes"]} == {"class 0", "class 1", "2"}


def test_an_archive_without_items_says_so(tmp_path):
    ArchiveLedger(tmp_path / LEDGER_NAME).close()
    assert "The ledger has no items yet." in text_of(write_report(tmp_path))
