"""An ONNX file becomes a model as it is: what it says, what noise shows, and what has to be told."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import TensorProto
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import OutputError, RequestError
from pipeline.files.digest import sha256_of
from pipeline.models.card import Card, Normalization
from pipeline.models.catalogue import find_model, load_card
from pipeline.models.importing import ImportOptions, import_weights
from pipeline.models.store import load_any, record_evaluation
from tests.support.inputs import listing
from tests.support.model_cases import CARD_2D
from tests.support.onnx_files import node, put_convolution, put_network, put_unet

TOLD = ImportOptions(mean=(0.0,) * 3, std=(1.0,) * 3, patch=(64, 64))


def network_of_import(tmp_path, file, options=TOLD):
    return import_weights(file, tmp_path / "model", options).card.network


def dilated(path, *shape, output=None):
    """A network of channels last, as TensorFlow has them."""
    weights = {"w": np.ones((4, 3, 1, 1), np.float32)}
    nodes = [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w", "c")]
    nodes.append(node("Transpose", "c", "y", perm=[0, 2, 3, 1]) if output == "last" else node("Neg", "c", "y"))
    return put_network(path, nodes, weights, shape=shape)


FOUND = {
    "any size": (lambda f: put_convolution(f), {"size": None, "multiple": 1, "batch": None, "scores": "logits"}),
    "halves inside": (lambda f: put_unet(f, channels=3), {"size": None, "multiple": 2, "output_stride": 1}),
    "a quarter of the size": (lambda f: put_convolution(f, stride=4), {"output_stride": 4, "multiple": 4}),
    "a fixed size": (
        lambda f: put_convolution(f, shape=(1, 3, 64, 64)),
        {"size": (64, 64), "batch": 1, "multiple": 1},
    ),
    "a fixed batch": (lambda f: put_convolution(f, shape=(4, 3, "h", "w")), {"batch": 4}),
    "probabilities": (lambda f: put_convolution(f, then="Softmax"), {"scores": "probabilities", "threshold": None}),
    "a sigmoid": (
        lambda f: put_convolution(f, planes=1, then="Sigmoid"),
        {"scores": "probabilities", "classes": 2, "threshold": 0.5},
    ),
    "one plane of logits": (lambda f: put_convolution(f, planes=1), {"scores": "logits", "classes": 2}),
    "sigmoids of several planes": (
        lambda f: put_convolution(f, then="Sigmoid"),
        {"scores": "probabilities", "classes": 3, "threshold": None},
    ),
    "channels last": (
        lambda f: dilated(f, "n", "h", "w", 3, output="last"),
        {"layout": "channels_last", "output_layout": "channels_last", "in_channels": 3, "classes": 4},
    ),
    "channels last in, first out": (
        lambda f: dilated(f, 1, 64, 64, 3),
        {"layout": "channels_last", "output_layout": "channels_first", "size": (64, 64)},
    ),
    "a number of channels that its weights alone say": (
        lambda f: put_convolution(f, shape=("n", "c", "h", "w")),
        {"in_channels": 3, "layout": "channels_first"},
    ),
    "float16": (
        lambda f: put_network(f, [node("Cast", "x", "y", to=1)], kind=TensorProto.FLOAT16),
        {"scores": "logits", "classes": 3},
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_noise_shows_what_a_network_takes_and_gives(case, tmp_path):
    put, expected = FOUND[case]
    network = network_of_import(tmp_path, put(tmp_path / "net.onnx"))
    assert {key: getattr(network, key) for key in expected} == expected


def test_the_network_is_copied_as_it_is_and_its_card_read_back(tmp_path):
    file = put_unet(tmp_path / "fields.onnx", channels=3)
    made = import_weights(file, tmp_path / "model", TOLD)
    assert made.preset == "onnx"
    assert listing(tmp_path / "model") == {"card.json", "network.onnx"}
    assert (tmp_path / "model/network.onnx").read_bytes() == file.read_bytes()
    card = load_card(tmp_path / "model")
    assert card == made.card
    assert card.name == "fields"
    assert card.weights_sha256 == sha256_of(file)
    for ref in ("model", "model/card.json", "model/network.onnx"):
        assert find_model(tmp_path / ref).weights == tmp_path / "model/network.onnx"
    assert load_any(tmp_path / "model").spec == card.network
    assert record_evaluation(tmp_path / "model", "test", {"figures": 1}).network == card.network


def test_labels_need_names(tmp_path):
    nodes = [node("ArgMax", "x", "y", axis=1, keepdims=0)]
    file = put_network(tmp_path / "net.onnx", nodes, made=TensorProto.INT64)
    with pytest.raises(RequestError, match="how many there are is not in the file; name them with --classes"):
        import_weights(file, tmp_path / "model", TOLD)
    network = network_of_import(tmp_path, file, replace(TOLD, classes=("a", "b", "c", "d")))
    assert (network.scores, network.classes) == ("labels", 4)


def test_one_of_several_outputs_is_chosen(tmp_path):
    file = put_network(tmp_path / "net.onnx", [node("Abs", "x", "aux"), node("Neg", "x", "y")], outputs=["aux", "y"])
    assert network_of_import(tmp_path, file, replace(TOLD, output_name="y")).output == "y"
    with pytest.raises(RequestError, match=r"--output-name z: .* has no such output; it has aux .*; y"):
        import_weights(file, tmp_path / "other", replace(TOLD, output_name="z"))


@pytest.mark.parametrize(
    ("put", "options", "words"),
    [
        ({}, {"mean": None, "std": None}, "how the 3 channels are scaled is not in the file; give --mean and --std"),
        ({"channels": 4}, {"mean": (0.0,) * 4, "std": (1.0,) * 4}, "takes 4 channels, and their names are unknown"),
        ({"shape": (1, 3, 64, 64)}, {"patch": (96, 96)}, "the network takes patches of 64,64 alone"),
        ({}, {"half": True}, "--half: .* is a whole network, taken as it is"),
        ({}, {"for_channels": ("red",)}, "--for-channels: .* is a whole network"),
        ({}, {"classes": ("a",)}, "expected 3 different names"),
        ({}, {"threshold": 0.5}, "is for a head of one plane, but this one has 3"),
        ({"planes": 1}, {"threshold": 1.0}, "must be a probability above 0 and below 1"),
        ({}, {"scores": "labels", "classes": ("a", "b", "c")}, "--scores labels: the output has real numbers"),
        ({}, {"view": "axial"}, "are for volumes; give them with --kind volume"),
        ({}, {"kind": "volume"}, "needs --orientation"),
    ],
)
def test_what_it_does_not_say_must_be_told_and_fit(put, options, words, tmp_path):
    file = put_convolution(tmp_path / "net.onnx", **put)
    with pytest.raises(RequestError, match=words):
        import_weights(file, tmp_path / "model", replace(TOLD, **options))
    assert "model" not in listing(tmp_path)


def test_options_of_onnx_files_are_for_them_alone(tmp_path):
    torch.save({"w": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(RequestError, match="--output-name: is for ONNX files"):
        import_weights(tmp_path / "a.pth", tmp_path / "model", ImportOptions(output_name="y"))


def test_metadata_for_deepness_fill_the_card(tmp_path):
    metadata = {
        "model_type": "Segmentor",
        "class_names": {0: "other", 1: "roof", 2: "road"},
        "resolution": 20,
        "tiles_size": 128,
        "tiles_overlap": 25,
        "standardization_mean": [0.5, 0.5, 0.5],
        "standardization_std": [0.25, 0.25, 0.25],
    }
    made = import_weights(put_convolution(tmp_path / "net.onnx", metadata=metadata), tmp_path / "model")
    card = made.card
    assert (card.patch, card.overlap, card.spacing) == ((128, 128), (32, 32), (0.2, 0.2))
    assert card.normalization == Normalization("fixed", (127.5,) * 3, (63.75,) * 3)
    assert [entry.name for entry in card.classes] == ["other", "roof", "road"]
    assert sum("metadata for Deepness" in line for line in made.concluded) >= 4
    other = import_weights(tmp_path / "net.onnx", tmp_path / "other", ImportOptions(patch=(64, 64), spacing=(1.0, 1.0)))
    assert (other.card.patch, other.card.spacing) == ((64, 64), (1.0, 1.0))


def test_a_folder_of_another_model_is_not_mixed_with_it(tmp_path):
    file = put_convolution(tmp_path / "net.onnx")
    import_weights(file, tmp_path / "model", TOLD)
    with pytest.raises(OutputError, match=r"holds card\.json and network\.onnx already; --overwrite"):
        import_weights(file, tmp_path / "model", TOLD)
    import_weights(file, tmp_path / "model", replace(TOLD, overwrite=True))
    (tmp_path / "psp").mkdir()
    (tmp_path / "psp/model.safetensors").touch()
    with pytest.raises(OutputError, match=r"holds model\.safetensors, of something else"):
        import_weights(file, tmp_path / "psp", replace(TOLD, overwrite=True))


def test_a_file_without_a_card_is_told_to_be_imported(tmp_path):
    file = put_convolution(tmp_path / "net.onnx")
    with pytest.raises(RequestError, match=r"`pipeline import-weights .*net\.onnx --out FOLDER` makes one"):
        find_model(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": {"scores": "votes"}}, "network.scores: expected 'logits' or 'probabilities' or 'labels'"),
        ({"network": {"data": [{"name": "../w", "sha256": "0" * 64}]}}, "names of files in the folder"),
        ({"network": {"data": [{"name": "w", "sha256": "0"}]}}, "needs a SHA-256"),
        ({"network": {"size": [32, 32]}}, "patch: the network takes patches of 32 x 32"),
        ({"network": {"multiple": 7}}, "patch: the network takes patches of multiples of 7"),
        ({"network": {"threshold": 0.5}}, "of two classes"),
        ({"network": {"batch": 0}}, "batch must be at least 1"),
        ({"network": {"backbone": "resnet18"}}, "network.backbone: unknown key"),
        ({"features": "shared"}, "only a PSPNet has"),
        ({"averaging": "logits", "network": {"scores": "labels"}}, "labels, which have no logits"),
    ],
)
def test_a_card_that_cannot_be_is_refused(change, words, tmp_path):
    words_of = import_weights(put_convolution(tmp_path / "net.onnx"), tmp_path / "model", TOLD).card.to_words()
    changed = {**words_of, **change, "network": {**words_of["network"], **change.get("network", {})}}
    with pytest.raises(ValueError, match=words):
        Card.from_json(json.dumps(changed))


def test_a_card_of_a_pspnet_is_what_it_was():
    assert Card.from_json(CARD_2D.to_json()) == CARD_2D


def test_the_verbs_export_and_import(tmp_path, models):
    """A PSPNet that was exported and imported again has its card, but for the network."""

    def invoke(*words):
        ended = CliRunner().invoke(app, [*map(str, words), "--json"])
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.output)["items"][0]

    told = invoke("export-model", models / "scene", tmp_path / "net.onnx")
    assert told["difference"] <= 1e-5
    made = invoke("import-weights", tmp_path / "net.onnx", "--out", tmp_path / "model")
    assert made["preset"] == "onnx"
    before, after = load_card(models / "scene"), load_card(tmp_path / "model")
    kept = replace(before, network=after.network, weights_sha256=after.weights_sha256, int8=None, features=None)
    assert after == kept
    assert (after.network.size, after.network.scores) == (before.patch, "probabilities")
