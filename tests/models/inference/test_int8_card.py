"""What a card says of its form in int8, and what is refused without one; OpenVINO itself is not needed here."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.engine.reader import read_patch
from pipeline.errors import ModelError, RequestError
from pipeline.io.opening import open_source
from pipeline.jobs.job import Job, Resources
from pipeline.models.card import Card, Int8
from pipeline.models.inference import device
from pipeline.models.inference.device import check_extra, choose_numerics
from pipeline.models.inference.fit import int8_form
from pipeline.runs.prepare import prepare
from pipeline.runs.view_sweep import sweeps_of
from pipeline.runs.warm_up import observed_patches
from tests.support.inputs import pixels, put_scene
from tests.support.model_cases import CARD_2D

FORM = Int8("0" * 64, "f" * 64, (64, 48), "float32", 0.9991, 32)
sides = st.integers(1, 512)


@given(
    st.tuples(sides, sides), st.sampled_from(["float32", "bfloat16"]), st.floats(0, 1), st.integers(1, 99), sides, sides
)
def test_a_form_is_read_as_it_was_written_and_fits_its_patch_alone(patch, rest, agreement, patches, height, width):
    card = replace(CARD_2D, int8=Int8("0" * 64, "1" * 64, patch, rest, agreement, patches))
    assert Card.from_json(card.to_json()) == card
    assert int8_form(card, patch) is card.int8
    if (height, width) != patch:
        with pytest.raises(ModelError, match=f"takes patches of {patch[0]} x {patch[1]} .* needs {height} x {width}"):
            int8_form(card, (height, width))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("rest", "float16", "int8.rest: expected 'float32' or 'bfloat16', got 'float16'"),
        ("agreement", 1.1, "int8: needs .* a share from 0 to 1"),
        ("patch", [0, 48], "int8: needs a patch"),
        ("patches", 0, "int8: needs .* a number of patches"),
    ],
)
def test_faults_are_named(key, value, words):
    document = json.loads(replace(CARD_2D, int8=FORM).to_json())
    document["int8"][key] = value
    with pytest.raises(ValueError, match=words):
        Card.from_json(json.dumps(document))


def test_a_model_without_a_form_names_the_ways_out():
    with pytest.raises(
        ModelError, match=r"small scene has no int8 form; make one with `pipeline quantize`, or give --pre"
    ):
        int8_form(CARD_2D, (64, 48))


def test_what_is_not_installed_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda _: None)
    with pytest.raises(RequestError, match="openvino is not installed; pip install 'pipeline\\[openvino\\]', or leave"):
        choose_numerics("cpu", runtime="openvino")
    with pytest.raises(RequestError, match="nncf is not installed"):
        check_extra("nncf", "run in bfloat16")
    done = CliRunner().invoke(app, ["quantize", "--model", "landcover", "--input", "a.tif", "--out", "b"])
    assert done.exit_code == 2
    assert "openvino is not installed; pip install 'pipeline[openvino]', or run in bfloat16" in done.stderr


@pytest.mark.skipif(find_spec("openvino") is not None, reason="OpenVINO is installed")
def test_plain_installs_are_told_so():
    with pytest.raises(RequestError, match="openvino is not installed"):
        choose_numerics("cpu", "int8")


@pytest.mark.parametrize("given", [["--patches", "1"], ["--agreement", "99.9"]])
@pytest.mark.parametrize("verb", ["quantize", "quantise"])
def test_a_wrong_request_to_quantize_is_refused(verb, given):
    done = CliRunner().invoke(app, [verb, "--model", "landcover", "--input", "a.tif", "--out", "b", *given])
    assert done.exit_code == 2
    assert "must be at least 2, and a share from 0 to 1" in done.stderr


def test_patches_come_from_all_over_where_something_was_observed(models, tmp_path):
    values = pixels((2, 1500, 100))
    values[:, 300:1100] = 0
    scene = put_scene(tmp_path / "scene.tif", values, nodata=0)
    (sweep,) = sweeps_of(prepare(Job(str(scene), None, str(models / "scene")), Resources(precision="float32")))
    source = open_source(str(scene))
    every = [
        read_patch(source, sweep.lattice.input_box(patch.start)) for _, row in sweep.lattice.rows() for patch in row
    ]
    empty = [patch.valid is not None and not patch.valid.any() for patch in every]
    assert any(empty)
    found = [patch.values.tobytes() for patch in observed_patches(sweep.lattice, source, 4)]
    assert sorted(found) == sorted(
        patch.values.tobytes() for patch, without in zip(every, empty, strict=True) if not without
    )
    places = [[patch.values.tobytes() for patch in every].index(values) for values in found[:4]]
    assert min(places) < len(every) / 4
    assert max(places) >= len(every) * 3 / 4
