"""Of a 4-D image, the volume that was segmented is chosen, in every verb that takes an image."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.masks.structures import measure
from tests.support.inputs import put_volume

AFFINE = np.diag([0.8, 0.9, 2.5, 1.0])


@pytest.fixture
def files(tmp_path):
    labels = np.zeros((6, 20, 24), np.uint8)
    labels[2:4, 5:15, 6:18] = 1
    images = np.random.default_rng(0).integers(0, 500, (3, *labels.shape)).astype(np.int16)
    for number, values in enumerate(images):
        put_volume(tmp_path / f"{number}.nii", values.T, AFFINE)
    mask = put_volume(tmp_path / "mask.nii.gz", labels.T, AFFINE)
    return mask, put_volume(tmp_path / "all.nii", np.moveaxis(images, 0, -1).transpose(2, 1, 0, 3), AFFINE)


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("number", [0, 2])
def test_a_volume_is_measured_and_drawn(files, number, tmp_path):
    mask, image = files
    assert measure(mask, image, number) == measure(mask, tmp_path / f"{number}.nii")
    ended = run("measure", mask, "--image", image, "--volume", number)
    assert ended.exit_code == 0, ended.output
    for name, words in {"one": [tmp_path / f"{number}.nii"], "of all": [image, "--volume", number]}.items():
        ended = run("export", mask, "--output", tmp_path / f"{name}.png", "--image", *words)
        assert ended.exit_code == 0, ended.output
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "of all.png").read_bytes()


@pytest.mark.parametrize("verb", ["measure", "export"])
def test_the_way_out_is_one_that_the_verb_has(files, verb, tmp_path):
    mask, image = files
    output = ["--output", tmp_path / "x.png"] if verb == "export" else []
    ended = run(verb, mask, "--image", image, *output)
    assert ended.exit_code == 2
    assert "all.nii: is 4-D; choose the volume that was segmented, e.g. --volume 0" in ended.stderr
    assert "--volume all" not in ended.stderr
    ended = run(verb, mask, *output, "--volume", 0)
    assert ended.exit_code == 2
    assert "4-D" in ended.stderr
    ended = run(verb, mask, "--image", image, "--volume", 7, *output)
    assert "there are 3, counted from 0" in ended.stderr
    assert not (tmp_path / "x.png").exists()
