"""A viewer of bad input refuses it in one line, or says in the page what is missing."""

from __future__ import annotations

import http.client
import json

import nibabel
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.viewer.layers import open_layers
from pipeline.viewer.view import open_view
from tests.support.inputs import put_volume
from tests.support.viewer import put_image_and_mask, put_scan_and_mask, served
from tests.viewer.test_server import answer_to

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def cut(path, share=0.6):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


def noise(*shape):
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


def layers_of(*files):
    layers = open_layers(list(map(str, files)))
    layers.close()
    return [layer.name for layer in layers.shown], " ".join(layers.notes)


def test_a_mask_of_a_volume_without_its_image_says_so(tmp_path):
    scan, mask = put_scan_and_mask(tmp_path)
    scan.rename(tmp_path / "moved.nii.gz")
    shown, said = layers_of(mask)
    assert shown == ["scan_mask.nii.gz"]
    assert said.startswith("scan.nii.gz, of which scan_mask.nii.gz was made, is not beside it")
    assert layers_of(mask, tmp_path / "moved.nii.gz")[0] == ["moved.nii.gz", "scan_mask.nii.gz"]


def test_volumes_on_different_grids_are_refused_if_given_and_left_out_if_found(tmp_path):
    scan, mask = put_scan_and_mask(tmp_path)
    put_volume(scan, noise(40, 50, 30), AFFINE)
    with pytest.raises(InputError, match=r"is on another grid than .*scan.nii.gz"):
        open_layers([str(scan), str(mask)])
    shown, said = layers_of(mask)
    assert shown == ["scan_mask.nii.gz"]
    assert said.startswith("scan.nii.gz beside scan_mask.nii.gz is not shown: ")


def test_two_masks_on_different_grids_are_refused(tmp_path):
    (tmp_path / "other").mkdir()
    _, first = put_image_and_mask(tmp_path, (60, 80))
    _, second = put_image_and_mask(tmp_path / "other", (61, 80))
    with pytest.raises(InputError, match=r"is on another grid than .*their shapes differ"):
        open_layers([str(first), str(second)])


def test_a_volume_with_many_structures_and_one_without_an_observed_voxel(tmp_path):
    values = (np.arange(20 * 20 * 20) % 300).reshape(20, 20, 20).astype(np.uint16)
    names = [{"value": value, "name": f"part {value}", "colour": [value % 256, 9, 9]} for value in range(300)]
    for name, content, nodata in (("many", values, 65535), ("empty", np.full_like(values, 65535), 65535)):
        nibabel.save(nibabel.Nifti1Image(content, AFFINE), tmp_path / f"{name}.nii.gz")
        said = {"labels": names, "nodata": nodata, "made": {}}
        (tmp_path / f"{name}.json").write_text(json.dumps(said))
    view = open_view([str(tmp_path / "many.nii.gz"), str(tmp_path / "empty.nii.gz")])
    try:
        assert [len(layer["classes"]) for layer in view.info()["layers"]] == [300, 300]
        assert view.info()["layers"][0]["dtype"] == "uint16"
    finally:
        view.close()


def test_a_damaged_volume_is_named_and_not_sent_as_if_it_were_whole(tmp_path, capfd):
    scan = cut(put_volume(tmp_path / "scan.nii.gz", noise(80, 80, 60), AFFINE))
    with served([scan]) as address:
        for _ in range(2):
            with pytest.raises(http.client.IncompleteRead):
                answer_to(address, "/{token}/volumes/0.nii")
        _, _, body = answer_to(address, "/{token}/state.json")
    (problem,) = json.loads(body)["problems"]
    assert problem.startswith(f"{scan}: ")
    assert capfd.readouterr().err == "", "no traceback in the terminal"
