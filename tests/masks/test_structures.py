"""What structures of volumes are like: against NumPy over whole arrays."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np
from typer.testing import CliRunner

import pipeline.masks.structures
from pipeline.cli import app
from pipeline.errors import InputError
from pipeline.masks.structures import measure
from pipeline.sources.statistics import keys_of
from tests.support.inputs import put_scene, put_volume

TILTED = np.array([[0.8, 0.1, 0, 5], [-0.1, 0.9, 0.3, 6], [0, -0.2, 2.5, 7], [0, 0, 0, 1]])


def put(folder, labels, image, affine=TILTED):
    mask = put_volume(folder / "mask.nii.gz", labels.T, affine)
    return mask, put_volume(folder / "scan.nii.gz", image.T, affine)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_structures_are_measured_as_numpy_does(tmp_path, dtype):
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([0, 1, 2, 255], np.uint8), (40, 21, 17))
    labels[[0, -1]] = labels[:, [0, -1]] = labels[:, :, [0, -1]] = 0
    labels[20, 10, 16] = 2
    image = (rng.normal(0, 500, labels.shape)).astype(dtype)
    if dtype == np.float32:
        image[5, 5, 5:9] = [np.nan, np.inf, -np.inf, 3.5]
    found = {row.value: row for row in measure(*put(tmp_path, labels, image))}
    assert list(found) == [0, 1, 2, 255]
    for value, row in found.items():
        inside = image[labels == value].astype(np.float64)
        inside = inside[np.isfinite(inside)]
        assert row.voxels == (labels == value).sum()
        assert row.ml == pytest.approx(row.voxels * abs(np.linalg.det(TILTED[:3, :3])) / 1000, rel=1e-6)
        assert row.mean == pytest.approx(inside.mean())
        assert row.median == pytest.approx(np.median(inside), rel=1e-6)
    assert {value: row.touches_border for value, row in found.items()} == {0: True, 1: False, 2: True, 255: False}


@given(
    st_np.arrays(
        np.float32, st.integers(1, 40), elements=st.floats(-(2.0**90), 2.0**90, width=32) | st.sampled_from([0, -0.0])
    )
)
def test_medians_are_exact(values):
    keys = keys_of(values)
    assert (np.diff(values[np.argsort(keys, kind="stable")]) >= 0).all()
    halves = np.bincount(keys >> 16, minlength=1 << 16)
    found = [
        pipeline.masks.structures._value(half, np.bincount(keys[keys >> 16 == half] & 0xFFFF, minlength=1 << 16), rank)
        for half, rank in pipeline.masks.structures._middles(halves)
    ]
    assert np.mean(found) == pytest.approx(np.median(values.astype(np.float64)), rel=1e-6)


def test_the_command_prints_and_writes_the_same(tmp_path):
    labels = np.zeros((6, 8, 9), np.uint8)
    labels[2:4, 3:5, 3:6] = 1
    mask, scan = put(tmp_path, labels, np.full(labels.shape, 7, np.int16))
    words = ["measure", str(mask), "--image", str(scan), "--output", str(tmp_path / "m.csv")]
    items = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["items"]
    with (tmp_path / "m.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(i["name"], i["voxels"]) for i in items] == [(r["name"], int(r["voxels"])) for r in rows]
    assert items[1]["median"] == 7
    assert "touches the border" in CliRunner().invoke(app, words).stdout
    assert json.loads(CliRunner().invoke(app, ["measure", str(mask), "--json"]).stdout)["items"][1]["mean"] is None


def test_other_grids_and_scenes_are_refused(tmp_path):
    labels = np.ones((4, 5, 6), np.uint8)
    mask, _ = put(tmp_path, labels, labels)
    other = put_volume(tmp_path / "other.nii.gz", labels.T, np.eye(4))
    with pytest.raises(InputError, match="is on another grid"):
        measure(mask, other)
    scene = put_scene(tmp_path / "s.tif", np.ones((1, 4, 5), np.uint8))
    with pytest.raises(InputError, match="`pipeline areas`"):
        measure(scene)


def test_a_table_has_the_suffix_of_one(tmp_path):
    mask = put_volume(tmp_path / "m.nii.gz", np.zeros((3, 3, 3), np.uint8), np.eye(4))
    ended = CliRunner().invoke(app, ["measure", str(mask), "--output", str(tmp_path / "t.xlsx")])
    assert ended.exit_code == 2
    assert "the table is written as CSV" in ended.output
    assert not (tmp_path / "t.xlsx").exists()
