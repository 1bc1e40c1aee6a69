"""Files that are shown together are on one grid; what is missing is said."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.classes import LabelClass
from pipeline.cli import app
from pipeline.errors import InputError, RequestError
from pipeline.viewer.layers import open_layers
from pipeline.viewer.view import open_view
from tests.support.inputs import pixels, put_scene
from tests.support.viewer import DEGREES, grid_of, labels_of, put_image_and_mask, put_mask, put_scan_and_mask


@pytest.fixture
def files(tmp_path):
    return put_image_and_mask(tmp_path, (60, 80))


def opened(*files):
    layers = open_layers([str(file) for file in files])
    layers.close()
    return [(layer.name, layer.kind) for layer in layers.shown], " ".join(layers.notes)


@pytest.mark.parametrize("turned", [1, -1])
def test_an_image_is_below_its_mask_in_any_order(files, turned):
    assert opened(*files[::turned]) == ([("scene.tif", "image"), ("scene_mask.tif", "mask")], "")


def test_an_image_is_found_beside_its_mask(files):
    assert opened(files[1]) == ([("scene.tif", "image"), ("scene_mask.tif", "mask")], "")


def test_a_mask_without_its_image_says_so(files, tmp_path):
    files[0].rename(tmp_path / "moved.tif")
    shown, said = opened(files[1])
    assert shown == [("scene_mask.tif", "mask")]
    assert said == "scene.tif, of which scene_mask.tif was made, is not beside it: give it as another FILE"
    assert opened(files[1], tmp_path / "moved.tif") == ([("moved.tif", "image"), ("scene_mask.tif", "mask")], "")


def test_an_image_beside_on_another_grid_is_left_out(files):
    put_scene(files[0], pixels((3, 61, 80)), transform=DEGREES, crs="EPSG:4326")
    shown, said = opened(files[1])
    assert shown == [("scene_mask.tif", "mask")]
    assert said.startswith("scene.tif beside scene_mask.tif is not shown: their shapes differ, ")


def test_a_damaged_image_beside_is_left_out(files):
    files[0].write_bytes(b"II*\0 not a TIFF")
    shown, said = opened(files[1])
    assert shown == [("scene_mask.tif", "mask")]
    assert said.startswith("the image beside scene_mask.tif is not shown: ")


def test_an_image_is_looked_for_in_no_other_folder(files, tmp_path):
    (tmp_path / "masks").mkdir()
    mask = put_mask(tmp_path / "masks/a.tif", labels_of(pixels((1, 60, 80))), grid_of(files[0]), "../scene.tif")
    assert "is not beside it" in opened(mask)[1]


@pytest.mark.parametrize(
    ("shape", "place", "said"),
    [
        ((61, 80), {}, "their shapes differ"),
        ((60, 80), {"transform": DEGREES.translation(1, 1) @ DEGREES}, "their cells are in different places"),
        ((60, 80), {"crs": "EPSG:3857"}, "their CRSs differ, EPSG:4326 and EPSG:3857"),
    ],
)
def test_files_on_different_grids_are_refused(files, tmp_path, shape, place, said):
    other = put_scene(
        tmp_path / "other.tif", pixels((1, *shape)), **{"transform": DEGREES, "crs": "EPSG:4326", **place}
    )
    with pytest.raises(InputError, match=rf"other.tif: is on another grid than .*scene.tif: {said}"):
        open_layers([str(files[0]), str(other)])


def test_scenes_and_volumes_are_not_shown_together(files, tmp_path):
    scan, _ = put_scan_and_mask(tmp_path)
    with pytest.raises(InputError, match=r"scene.tif is a scene, and scan.nii.gz is a volume"):
        open_layers([str(files[0]), str(scan)])


def test_what_is_not_there_or_damaged_is_told_in_one_line(files, tmp_path):
    runner = CliRunner()
    for words, said in (
        (["absent.tif"], "absent.tif: there is no such file"),
        ([str(tmp_path)], "is a folder, but neither a Zarr store"),
        ([str(files[0]), "--basemap", "file:///etc/{x}/{y}/{z}"], "must be an http or https address"),
        ([str(files[0]), "--basemap", "https://tiles.example/{z}/{x}"], "must be an http or https address"),
        ([str(files[0]), "--bands", "1,2"], "give three, for red, green and blue, or one"),
        ([str(files[0]), "--bands", "9"], "there is no band 9"),
        ([str(files[0]), "--port", "70000"], "--port 70000: cannot be used"),
        ([str(files[0])] * 21, "at most 20 are shown"),
    ):
        ended = runner.invoke(app, ["view", "--no-open", *words])
        assert ended.exit_code == 2, words
        assert said in ended.stderr
        assert len(ended.stderr.splitlines()) == 1


def test_options_of_scenes_are_refused_for_volumes(tmp_path):
    scan, _ = put_scan_and_mask(tmp_path)
    with pytest.raises(RequestError, match="are for scenes"):
        open_view([str(scan)], bands=[1])


def test_many_classes_and_no_observed_cell(tmp_path):
    image, _ = put_image_and_mask(tmp_path, (60, 80))
    table = tuple(LabelClass(value, f"class {value}", (value % 256, 7, 99)) for value in range(300))
    mask = put_mask(tmp_path / "many.tif", np.full((60, 80), 299, np.uint16), grid_of(image), "scene.tif", table)
    empty = put_mask(tmp_path / "empty.tif", np.full((60, 80), 255, np.uint8), grid_of(image), "scene.tif")
    view = open_view([str(image), str(mask), str(empty)])
    try:
        described = view.info()["layers"]
        assert [len(layer["classes"]) for layer in described] == [0, 300, 4]
        assert view.at(5, 5)["values"][1]["class"] == "class 299"
        assert view.at(5, 5)["values"][2] == {"values": [255], "observed": False, "class": None}
        assert view.areas([(0, 0), (9, 0), (9, 9)])["masks"][1]["shares"] == []
        assert view.tile(1, 0, 0, 0, set()) != view.tile(1, 0, 0, 0, {299})
    finally:
        view.close()


def test_a_name_is_shown_and_not_obeyed(tmp_path):
    image, mask = put_image_and_mask(tmp_path, (60, 80))
    odd = tmp_path / "a\n\u202e<b>\"'.tif"
    shutil.copy(image, odd)
    assert opened(odd, mask)[0][0][0] == "a\\n\\u202e<b>\"'.tif"
