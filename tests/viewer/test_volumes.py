"""Volumes are served with their values in their places, thinned where they are too large for a browser."""

from __future__ import annotations

from math import ceil, prod

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError, RequestError
from pipeline.viewer.layers import open_layers
from pipeline.viewer.volume import VolumeView, steps_for
from tests.support.inputs import put_volume
from tests.support.viewer import put_scan_and_mask, put_volume_layer


def received(view, layer, tmp_path):
    size, parts = view.nifti(layer)
    content = b"".join(parts)
    assert len(content) == size
    (tmp_path / "received.nii").write_bytes(content)
    return nibabel.load(tmp_path / "received.nii")


@pytest.fixture
def files(tmp_path):
    return put_scan_and_mask(tmp_path)


def test_a_volume_and_its_mask_arrive_as_they_are(files, tmp_path):
    view = VolumeView(open_layers([str(files[1])]))
    assert [layer["kind"] for layer in view.info()["layers"]] == ["image", "mask"]
    for layer, path in enumerate(files):
        found, expected = received(view, layer, tmp_path), nibabel.load(path)
        np.testing.assert_array_equal(found.dataobj, expected.dataobj)
        np.testing.assert_allclose(found.affine, expected.affine, atol=1e-5)
        assert found.header["sform_code"] > found.header["qform_code"] == 0
    view.close()
    with pytest.raises(RequestError, match="there is no layer 2"):
        view.nifti(2)


@pytest.mark.parametrize("most", [1, 100, 5000, 20_000])
def test_a_large_volume_keeps_its_values_and_their_places(files, tmp_path, most):
    view = VolumeView(open_layers([str(files[0])]), most)
    found, expected = received(view, 0, tmp_path), nibabel.load(files[0])
    view.close()
    assert prod(found.shape) <= most
    steps = view.info()["steps"][::-1]
    np.testing.assert_array_equal(
        found.dataobj, np.asarray(expected.dataobj)[tuple(slice(None, None, n) for n in steps)]
    )
    last = np.array(found.shape) - 1
    for voxel in ([0, 0, 0], last):
        there = nibabel.affines.apply_affine(expected.affine, voxel * np.array(steps))
        np.testing.assert_allclose(nibabel.affines.apply_affine(found.affine, voxel), there, atol=1e-4)


@given(st.tuples(*[st.integers(1, 300)] * 3), st.tuples(*[st.floats(0.1, 10)] * 3), st.integers(1, 10**6))
def test_steps_fit_and_leave_voxels_as_even_as_can_be(shape, spacing, most):
    steps = steps_for(shape, spacing, most)
    assert prod(ceil(side / step) for side, step in zip(shape, steps, strict=True)) <= most
    assert prod(shape) > most or steps == (1, 1, 1)
    free = [step * length for side, step, length in zip(shape, steps, spacing, strict=True) if step < side]
    for step, length in zip(steps, spacing, strict=True):
        assert step == 1 or (step - 1) * length <= min(free, default=np.inf), "the closest voxels were thinned"


def test_values_that_a_browser_cannot_read_are_widened(tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 5, 6))
    path = put_volume(tmp_path / "scan.nii", values.astype(np.float32), np.eye(4))
    view = VolumeView(open_layers([str(path)]))
    found = received(view, 0, tmp_path)
    view.close()
    assert found.get_data_dtype() == np.float32
    np.testing.assert_array_equal(found.get_fdata(), values.astype(np.float32))


def test_of_a_4d_file_one_volume_is_shown_and_the_page_says_which(tmp_path):
    values = np.random.default_rng(0).integers(0, 99, (6, 5, 4, 3)).astype(np.int16)
    path = put_volume(tmp_path / "scan.nii.gz", values, np.eye(4))
    for volume, shown, said in (
        (None, 0, ["scan.nii.gz: the first of 3 volumes is shown; --volume shows another"]),
        (2, 2, []),
    ):
        view = VolumeView(open_layers([str(path)], volume))
        assert view.info()["notes"] == said
        np.testing.assert_array_equal(received(view, 0, tmp_path).dataobj, values[..., shown])
        view.close()


def test_a_mask_is_shown_beside_any_volume_of_its_image(files, tmp_path):
    scan, mask = files
    first = nibabel.load(scan)
    values = np.stack([first.dataobj, np.asanyarray(first.dataobj) + 1], axis=-1)
    nibabel.save(nibabel.Nifti1Image(values, first.affine), tmp_path / "scan.nii.gz")
    view = VolumeView(open_layers([str(mask)], 1))
    np.testing.assert_array_equal(received(view, 0, tmp_path).dataobj, values[..., 1])
    view.close()
    with pytest.raises(InputError, match=r"has no volume 1: there is one.*leave out --volume"):
        open_layers([str(mask.rename(tmp_path / "alone.nii.gz"))], 1)


def shares_of(shape):
    shares = np.random.default_rng(0).random(shape).astype(np.float32)
    shares[..., :3, :4] = np.nan
    return shares


def test_a_layer_of_one_value_lies_over_its_mask_and_is_off_at_first(files, tmp_path):
    shares = shares_of((30, 50, 40))
    layer = put_volume_layer(tmp_path / "scan_mask_confidence.nii.gz", shares, files[0])
    view = VolumeView(open_layers([str(files[1]), str(layer)]))
    *_, found = view.info()["layers"]
    assert (found["kind"], found["off"], len(found["ramp"])) == ("values", True, 10)
    np.testing.assert_array_equal(received(view, 2, tmp_path).get_fdata(), shares.T)
    view.close()


def test_a_layer_of_steps_is_sent_as_the_shares_that_they_stand_for(files, tmp_path):
    shares = np.rint(shares_of((30, 50, 40)) * 254) / np.float32(254)
    steps = np.nan_to_num(shares * 254 + 1, nan=0).round().astype(np.uint8)
    store = put_volume_layer(tmp_path / "scan_mask_confidence.zarr", steps, files[0])
    view = VolumeView(open_layers([str(store)]))
    assert [layer["kind"] for layer in view.info()["layers"]] == ["image", "values"]
    np.testing.assert_allclose(received(view, 1, tmp_path).get_fdata(), shares.T, atol=1e-6)
    view.close()


@pytest.mark.parametrize("suffix", [".nii.gz", ".zarr"])
def test_of_a_layer_with_a_band_for_each_class_one_is_shown(files, tmp_path, suffix):
    shares = shares_of((3, 30, 50, 40))
    layer = put_volume_layer(tmp_path / f"scan_mask_scores{suffix}", shares, files[0])
    view = VolumeView(open_layers([str(layer)]))
    (note,) = view.info()["notes"]
    assert f"scan_mask_scores{suffix}: the first of" in note
    np.testing.assert_array_equal(received(view, 1, tmp_path).get_fdata(), shares[0].T)
    view.close()
    if suffix == ".nii.gz":
        view = VolumeView(open_layers([str(files[1]), str(layer)], 2))
        np.testing.assert_array_equal(received(view, 2, tmp_path).get_fdata(), shares[2].T)
        view.close()
