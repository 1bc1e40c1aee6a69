"""Rasters of several grids as the bands of one scene: what GDAL's warper makes of them, cell by cell."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.vrt import WarpedVRT
from typer.testing import CliRunner

from pipeline.archive.pseudonyms import without_names
from pipeline.archive.recipe import key_of
from pipeline.cli import app
from pipeline.errors import InputError, OutputError, RequestError
from pipeline.geometry import Box
from pipeline.io.address import is_remote, name_of, output_folder, redact_url
from pipeline.io.opening import content_of, open_source, stamp_of
from pipeline.io.raster.stack import StackSource
from pipeline.jobs.job import Job
from pipeline.jobs.job_file import read_request
from pipeline.models.store import save_model
from pipeline.runs.report import Report
from pipeline.runs.segment import segment
from pipeline.testing import SourceContract
from tests.support.inputs import SCENE_CARD, contents, labels_of, pixels, undecided
from tests.support.model_cases import network_of
from tests.support.rasters import put

WHERE = Affine(10, 0, 500_000, 0, -10, 5_600_000)
SHAPE = (90, 72)
OTHERS = {
    "twenty": ((45, 36), WHERE @ Affine.scale(2)),
    "sixty": ((15, 12), WHERE @ Affine.scale(6)),
    "shifted": ((30, 40), WHERE @ Affine.translation(-7, 13) @ Affine.scale(3)),
    "finer": ((200, 200), WHERE @ Affine.scale(0.37)),
    "south-up": ((45, 36), WHERE @ Affine.translation(0, 90) @ Affine.scale(2, -2)),
    "elsewhere": ((9, 9), WHERE @ Affine.translation(500, 500)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    for seed, (name, (shape, where)) in enumerate({"ten": (SHAPE, WHERE), **OTHERS}.items()):
        values = pixels((1, *shape), seed).astype(np.uint16 if seed % 2 else np.uint8)
        values[:, 4:6, 5:9] = 0
        put(folder / f"{name}.tif", values, transform=where, crs="EPSG:32632", nodata=0)
    return folder


def stack(folder, *names):
    return "stack:" + "|".join(f"{name}={folder}/{name}.tif" for name in names)


def warped(path):
    """What GDAL makes of a file on the grid of the first, and where."""
    how = {"crs": "EPSG:32632", "transform": WHERE, "height": SHAPE[0], "width": SHAPE[1]}
    with rasterio.open(path) as dataset, WarpedVRT(dataset, nodata=0, **how) as vrt:
        return vrt.read(1), vrt.read_masks(1) > 0


@pytest.mark.parametrize("name", OTHERS)
def test_each_cell_is_that_of_gdals_warper(folder, name):
    source = open_source(stack(folder, "ten", name))
    assert source.grid == open_source(folder / "ten.tif").grid
    values, valid = source.read(Box.whole(SHAPE))
    first, seen = warped(folder / "ten.tif")
    other, seen_too = warped(folder / f"{name}.tif")
    np.testing.assert_array_equal(valid, seen & seen_too)
    np.testing.assert_array_equal(values[:, valid], np.stack([first, other])[:, valid])
    assert valid.any() == (name != "elsewhere")


class TestContract(SourceContract):
    @pytest.fixture(params=[None, [3, "ten", 3, "shifted"]])
    def source(self, folder, request):
        return StackSource(stack(folder, "ten", *[*OTHERS][:-1]), request.param)


@given(names=st.permutations([*OTHERS][:-1]), data=st.data())
def test_bands_are_read_in_any_order(folder, names, data):
    asked = data.draw(st.lists(st.sampled_from(["ten", *names, 1, 3]), min_size=1, max_size=4))
    source = StackSource(stack(folder, "ten", *names), asked)
    whole, seen = source.read(Box.whole(SHAPE))
    every = np.ones(SHAPE, bool) if seen is None else seen
    for plane, one in zip(whole, asked, strict=True):
        name = ["ten", *names][one - 1] if isinstance(one, int) else one
        np.testing.assert_array_equal(plane[every], warped(folder / f"{name}.tif")[0][every])
    source.close()


def test_a_mask_is_that_of_the_same_bands_in_one_file(folder, tmp_path):
    card = replace(SCENE_CARD, channels=("red", "nir"))
    save_model(tmp_path / "model", card, undecided(network_of(card.network)))
    planes, seen = zip(*(warped(folder / f"{name}.tif") for name in ("ten", "twenty")), strict=True)
    both = np.where(np.logical_and(*seen), np.stack(planes), 0)
    put(tmp_path / "one.tif", both, transform=WHERE, crs="EPSG:32632", nodata=0)
    name = f"stack:nir={folder}/twenty.tif|red={folder}/ten.tif"
    other = f"stack:red={folder}/ten.tif|nir={folder}/twenty.tif"
    mask, model = tmp_path / "mask.tif", str(tmp_path / "model")
    segment(Job(str(tmp_path / "one.tif"), tmp_path / "expected.tif", model))
    assert segment(Job(other, mask, model)).status == "done"
    np.testing.assert_array_equal(labels_of(mask), labels_of(tmp_path / "expected.tif"))
    assert segment(Job(other, mask, model)).status == "skipped"
    assert segment(Job(name, tmp_path / "coarse.tif", model)).status == "done"
    with rasterio.open(tmp_path / "coarse.tif") as dataset:
        assert dataset.transform == OTHERS["twenty"][1], "the grid of the first"
    before = contents(mask)
    os.utime(folder / "twenty.tif", (1, 1))
    with pytest.raises(OutputError, match=r"input\.parts"):
        segment(Job(other, mask, model))
    assert contents(mask) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"crs": "EPSG:32633"}, "have different CRSs; reproject them to one first"),
        ({"transform": WHERE @ Affine.rotation(1)}, "is rotated relative to"),
        ({"transform": None}, "one has no transform, so their relative position is unknown"),
    ],
)
def test_rasters_that_do_not_lie_together_are_named(folder, tmp_path, change, said):
    place = {name: value for name, value in ({"transform": WHERE, "crs": "EPSG:32632"} | change).items() if value}
    put(tmp_path / "z.tif", pixels((1, *SHAPE)), **place)
    with pytest.raises(InputError, match=rf"z\.tif.*{said}"):
        open_source(f"stack:a={folder}/ten.tif|b={tmp_path}/z.tif")


def test_rasters_without_a_place_lie_together_if_they_are_of_one_shape(tmp_path):
    for name, side in (("a", 9), ("b", 9), ("c", 8)):
        put(tmp_path / f"{name}.tif", pixels((1, 9, side)))
    assert open_source(stack(tmp_path, "a", "b")).channels == 2
    with pytest.raises(InputError, match=r"c\.tif has the shape \(9, 8\) and .*a\.tif \(9, 9\)"):
        open_source(stack(tmp_path, "a", "c"))


def test_names_in_a_stack_are_not_told_where_none_may_be(folder):
    name = stack(folder, "ten", "twenty")
    report = Report(name, None, "failed", f"{folder}/twenty.tif: GDAL cannot read it ({name})", 0.0, 0)
    told = without_names(report)
    assert not any(word in f"{told.input} {told.reason}" for word in ("ten", "twenty", str(folder)))


def test_a_stack_is_an_item_like_others(folder, tmp_path, monkeypatch):
    name = stack(folder, "ten", "twenty")
    assert (output_folder(name), name_of(name), is_remote("stack:a=https://h/x.tif")) == (folder, "ten.tif", False)
    assert redact_url("stack:a=https://u:p@h/x.tif|b=/y.tif") == "stack:a=https://h/x.tif|b=/y.tif"
    monkeypatch.chdir(folder)
    assert key_of(Job("stack:ten=ten.tif|twenty=twenty.tif")) == key_of(Job(name)) == name
    assert None not in (stamp_of(name), content_of(name))
    assert content_of(name) != content_of(stack(folder, "ten", "sixty"))
    before = stamp_of(name), content_of(name)
    os.utime(folder / "ten.tif", (2, 2))
    assert (stamp_of(name) == before[0], content_of(name) == before[1]) == (False, True)
    assert stamp_of("stack:a=https://h/x.tif|b=https://h/y.tif") is None
    (tmp_path / "job.toml").write_text('input = "stack:a=x.tif|b=/y.tif|c=https://h/z.tif"\n')
    assert read_request(tmp_path / "job.toml").input == (f"stack:a={tmp_path}/x.tif|b=/y.tif|c=https://h/z.tif",)
    for wrong in ("stack:a.tif|b=c.tif", "stack:", "stack:=a.tif"):
        with pytest.raises(RequestError, match="each raster of a stack needs a name"):
            open_source(wrong)
    (told,) = json.loads(CliRunner().invoke(app, ["info", name, "--json"]).stdout)["items"]
    assert told["bands"] == ["1 ten", "2 twenty"]
