"""The report of a volume: what lies left is shown left, whatever the orientation of the file."""

from __future__ import annotations

import base64
import json

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from pipeline.errors import InputError, RequestError
from pipeline.masks.structures import measure
from pipeline.reports import ReportOptions, write_report
from tests.reports.test_scene import text_of
from tests.support.pages import EVIL, data_of

OBLIQUE = np.array([[0.9, -0.2, 0.1, -20], [0.2, 1.1, 0.3, -25], [-0.1, -0.3, 2.4, -30], [0, 0, 0, 1]])
STRAIGHT = np.diag([1.0, 1.5, 2.0, 1.0]) + np.array([[0, 0, 0, -18], [0, 0, 0, -27], [0, 0, 0, -20], [0, 0, 0, 0]])
SIDES = {1: (0, -1), 2: (0, 1), 3: (1, 1), 4: (2, 1)}
"""World axis and direction of each structure: left, right, front and head."""


def phantom():
    """Labels in RAS+, `(i, j, k)`: a structure at each of four sides."""
    drawn = np.zeros((36, 34, 22), np.uint8)
    drawn[3:8, 14:20, 9:13] = 1
    drawn[28:34, 14:20, 9:13] = 2
    drawn[15:21, 27:32, 9:13] = 3
    drawn[15:21, 14:20, 17:21] = 4
    return drawn


def stored(path, values, affine, codes):
    """Write an array in RAS+ so that its axes grow towards other sides."""
    image = nibabel.Nifti1Image(values, affine)
    turned = image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(codes)))
    turned.set_sform(turned.affine, 1)
    turned.set_qform(None, 0)
    nibabel.save(turned, path)
    return path


def embedded(page, name):
    return nibabel.Nifti1Image.from_bytes(_unpacked(data_of(page)[name]))


def _unpacked(content):
    import gzip

    return gzip.decompress(base64.b64decode(content))


def worlds_of(image, value):
    cells = np.argwhere(np.asanyarray(image.dataobj) == value)
    return nibabel.affines.apply_affine(image.affine, cells)


@pytest.mark.parametrize("affine", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "SAL", "ILP"])
def test_structures_stay_on_their_side(tmp_path, codes, affine):
    mask = stored(tmp_path / "ct_mask.nii.gz", phantom(), affine, codes)
    page = write_report(mask)
    shown = embedded(page, "mask")
    assert "".join(nibabel.aff2axcodes(shown.affine)) == codes
    assert f"orientation {codes}:" in text_of(page)
    middle = worlds_of(nibabel.load(mask), 0).mean(axis=0)
    for value, (axis, way) in SIDES.items():
        found, expected = (worlds_of(one, value) for one in (shown, nibabel.load(mask)))
        np.testing.assert_allclose(found, expected, atol=1e-3)
        assert np.sign(found.mean(axis=0)[axis] - middle[axis]) == way


def test_fewer_voxels_are_where_they_were(tmp_path):
    rng = np.random.default_rng(0)
    mask = stored(tmp_path / "ct_mask.nii", rng.integers(0, 5, (50, 33, 20)).astype(np.uint8), OBLIQUE, "PIR")
    page = write_report(mask, options=ReportOptions(detail=17))
    shown, whole = embedded(page, "mask"), nibabel.load(mask)
    assert max(shown.shape) <= 17
    cells = np.argwhere(np.ones(shown.shape))
    world = nibabel.affines.apply_affine(shown.affine, cells)
    there = nibabel.affines.apply_affine(np.linalg.inv(whole.affine), world)
    np.testing.assert_allclose(there, np.rint(there), atol=1e-3)
    expected = np.asanyarray(whole.dataobj)[tuple(np.rint(there).astype(int).T)]
    assert (np.asanyarray(shown.dataobj)[tuple(cells.T)] == expected).all()
    assert "Pictures show" in text_of(page)


def test_the_image_keeps_its_values_within_a_step(tmp_path):
    values = np.random.default_rng(0).normal(40, 300, (20, 22, 24)).astype(np.float32)
    scan = stored(tmp_path / "ct.nii.gz", values, STRAIGHT, "LPS")
    mask = stored(tmp_path / "ct_mask.nii.gz", np.zeros(values.shape, np.uint8), STRAIGHT, "LPS")
    page = write_report(mask, options=ReportOptions(image=str(scan)))
    shown, whole = embedded(page, "image"), nibabel.load(scan).get_fdata()
    low, high = np.percentile(whole, (0.5, 99.5))
    assert np.abs(shown.get_fdata() - np.clip(whole, low, high)).max() <= (high - low) / 255
    assert "Histogram of values of the image" in text_of(page)


def test_volumes_are_those_of_the_verb(tmp_path):
    mask = stored(tmp_path / "ct_mask.nii.gz", phantom(), STRAIGHT, "RAS")
    page = text_of(write_report(mask))
    for structure in measure(mask):
        assert f"{structure.voxels:,}" in page
    assert "1 x 1.5 x 2 mm" in page


def test_the_image_is_the_one_beside_the_mask_with_the_name_in_its_record(tmp_path):
    stored(tmp_path / "ct.nii.gz", phantom().astype(np.int16), STRAIGHT, "RAS")
    mask = stored(tmp_path / "ct_mask.nii.gz", phantom(), STRAIGHT, "RAS")
    rows = [{"value": value, "name": EVIL if value else "background", "colour": [9, value, 9]} for value in range(5)]
    said = {"labels": rows, "nodata": 255, "made": {"input": {"name": "ct.nii.gz"}, "model": "organs", "volume": None}}
    said["made"]["failed_patches_at"] = [[[0, 4, 8], [22, 20, 24]]]
    (tmp_path / "ct_mask.json").write_text(json.dumps(said))
    page = write_report(mask)
    assert data_of(page)["image"] is not None
    assert data_of(page)["classes"][1]["name"] == EVIL
    assert f"pipeline run --input {tmp_path / 'ct.nii.gz'} --output {mask} --model organs" in text_of(page)
    assert "1 0 to 21 4 to 19 8 to 23" in text_of(page)
    assert "alert(2)>" not in page.read_text("utf-8")


def shares_of(path, shares, name, **said):
    """Write a layer of shares `(i, j, k)` in RAS+ beside a mask."""
    layer = path.with_name(f"ct_mask_{name}.nii.gz")
    stored(layer, shares, STRAIGHT, "LPS")
    layer.with_name(f"ct_mask_{name}.json").write_text(json.dumps({"layer": name, "bands": [name], "made": said}))
    return layer


def test_layers_beside_the_mask_are_shown_with_their_histograms_and_their_mean(tmp_path):
    mask = stored(tmp_path / "ct_mask.nii.gz", phantom(), STRAIGHT, "LPS")
    shares = np.linspace(0.5, 1, phantom().size).reshape(phantom().shape).astype(np.float32)
    shares[:9] = np.nan
    views = ["axial", "coronal"]
    shares_of(mask, shares, "confidence")
    shares_of(mask, shares / 2, "disagreement", disagreement=0.25, others=[{"model": "b"}], view=views)
    page = write_report(mask)
    for one, (name, low, high) in zip(
        data_of(page)["layers"], [("confidence", 0, 1), ("disagreement", 0, 0.71)], strict=True
    ):
        assert (one["name"], one["low"], one["high"]) == (name, low, high)
        shown = nibabel.as_closest_canonical(nibabel.Nifti1Image.from_bytes(_unpacked(one["content"])))
        found, expected = shown.get_fdata(), shares if name == "confidence" else shares / 2
        assert (found < -1e-3).tolist() == np.isnan(expected).tolist()
        assert np.abs(found - expected)[~np.isnan(expected)].max() < 0.51 * (high - low) / 254
        assert f"Histogram of {name}" in text_of(page)
    assert "disagreement 0.2500 (mean disagreement of several models and several views)" in text_of(page)


def test_a_layer_that_is_damaged_or_elsewhere_is_left_out_and_told(tmp_path):
    mask = stored(tmp_path / "ct_mask.nii.gz", phantom(), STRAIGHT, "LPS")
    layer = shares_of(mask, np.zeros(phantom().shape, np.float32), "confidence", seam_index=0.125)
    layer.write_bytes(layer.read_bytes()[:-9])
    shares_of(mask, np.zeros((36, 34, 21), np.float32), "disagreement", seam_index=0.125)
    page = write_report(mask)
    assert data_of(page)["layers"] == []
    assert "The layer of confidence is not shown" in text_of(page)
    assert "The layer of disagreement is not shown" in text_of(page)
    assert "is on another grid than" in text_of(page)
    assert "seam index 0.1250 (mean disagreement of overlapping patches)" in text_of(page)


@pytest.mark.parametrize("form", ["sform", "qform"])
def test_where_forms_disagree_the_one_of_the_run_holds(tmp_path, form):
    for name, values in (("ct.nii", phantom().astype(np.int16)), ("ct_mask.nii", phantom())):
        image = nibabel.Nifti1Image(values, STRAIGHT)
        image.set_sform(STRAIGHT, 1)
        image.set_qform(np.diag([-2.0, 2.0, 2.0, 1.0]), 1)
        nibabel.save(image, tmp_path / name)
    said = {"labels": [], "nodata": 255, "made": {"input": {"name": "ct.nii", "bytes": 7}, "affine": form}}
    (tmp_path / "ct_mask.json").write_text(json.dumps(said))
    page = write_report(tmp_path / "ct_mask.nii")
    header = nibabel.load(tmp_path / "ct.nii").header
    for name in ("image", "mask"):
        np.testing.assert_allclose(embedded(page, name).affine, getattr(header, f"get_{form}")(), atol=1e-5)
    assert f"--nifti-affine {form}" in text_of(page)
    assert "ct.nii has changed since the mask was made" in text_of(page)


def test_another_grid_and_a_wrong_detail_are_refused(tmp_path):
    mask = stored(tmp_path / "ct_mask.nii.gz", phantom(), STRAIGHT, "RAS")
    scan = stored(tmp_path / "ct.nii.gz", phantom().astype(np.int16), OBLIQUE, "RAS")
    with pytest.raises(InputError, match="another grid"):
        write_report(mask, options=ReportOptions(image=str(scan)))
    with pytest.raises(RequestError, match="--detail 2048"):
        write_report(mask, options=ReportOptions(detail=2048))


def test_truth_shows_where_a_volume_errs(tmp_path):
    mask = stored(tmp_path / "ct_mask.nii.gz", phantom(), STRAIGHT, "RAS")
    expected = phantom()
    expected[3:8, 14:20, 9] = 0
    truth = stored(tmp_path / "truth.nii.gz", expected, STRAIGHT, "RAS")
    page = write_report(mask, options=ReportOptions(truth=str(truth)))
    wrong = np.asanyarray(embedded(page, "errors").dataobj)
    assert (wrong == (phantom() != expected)).all()
    assert "surface Dice" in text_of(page)
