"""Words in files stay when the names of fields do not: older models, archives and work folders have them."""

from __future__ import annotations

import json
from dataclasses import replace

from pipeline.archive.recipe import recipe_of
from pipeline.cli.model_tables import print_models
from pipeline.jobs.job import Job
from pipeline.models.card import Card, Normalization
from pipeline.models.catalogue import CARD
from pipeline.models.pretrained import BackboneCard
from tests.support.model_cases import CARD_3D

OF_CARD = (
    '{"format": 2, "name": "small volume", "kind": "volume", "classes": [{"name": "background", "colour": [0, 0, 0]}, '
    '{"name": "organ", "colour": [255, 0, 0]}], "network": {"backbone": "resnet18", "in_channels": 3, "classes": 2, '
    '"output_stride": 16, "dilation": "contracted", "basic_dilation": "conv1", "align_corners": false, '
    '"stem": "torchvision", "bins": [1, 2, 3, 6], "ppm_channels": 4, "head_channels": 8, "auxiliary": false, '
    '"head": "pspnet", "truncated": false, "dropout": 0.1}, "patch": [48, 32], "overlap": [24, 16], '
    '"channels": ["MR"], "margin": 1, "normalisation": {"kind": "zscore", "mean": [], "std": [], "low": [], '
    '"high": []}, "spacing": [0.5, 0.5], "orientation": "RAS", "views": ["axial"], "averaging": "logits", '
    '"window": "gaussian", "weights_sha256": "", "licence": "CC0-1.0", "credits": "nobody", "evaluation": {}, '
    '"training": {}, "limits": [], "values": "raw", "int8": null, "view_weights": []}'
)
OF_BACKBONE = (
    '{"format": 1, "name": "trunk", "backbone": "resnet18", "stem": "v1c", "channels": ["red"], "normalisation": '
    '{"kind": "fixed", "mean": [1.0], "std": [2.0], "low": [], "high": []}, "source": "timm", "licence": "MIT", '
    '"credits": "nobody", "weights_sha256": "0"}'
)
OF_RECIPE = (
    '{"format": 1, "models": {"small volume": {"format": 2, "name": "small volume", "kind": "volume", "classes": '
    '[{"name": "background", "colour": [0, 0, 0]}, {"name": "organ", "colour": [255, 0, 0]}], "network": {"backbone": '
    '"resnet18", "in_channels": 3, "classes": 2, "output_stride": 16, "dilation": "contracted", "basic_dilation": '
    '"conv1", "align_corners": false, "stem": "torchvision", "bins": [1, 2, 3, 6], "ppm_channels": 4, "head_channels": '
    '8, "auxiliary": false, "head": "pspnet", "truncated": false, "dropout": 0.1}, "patch": [48, 32], "overlap": '
    '[24, 16], "channels": ["MR"], "margin": 1, "normalisation": {"kind": "zscore", "mean": [], "std": [], "low": [], '
    '"high": []}, "spacing": [0.5, 0.5], "orientation": "RAS", "views": ["axial"], "averaging": "logits", "window": '
    '"gaussian", "weights_sha256": ""}}}'
)


def test_the_words_of_a_card_stay():
    assert json.dumps(json.loads(CARD_3D.to_json())) == OF_CARD
    assert Card.from_json(OF_CARD) == CARD_3D


def test_a_card_names_its_features_where_they_are_not_the_default():
    card = replace(CARD_3D, features="shared")
    assert json.dumps(json.loads(card.to_json())) == OF_CARD[:-1] + ', "features": "shared"}'
    assert Card.from_json(card.to_json()) == card


def test_a_card_is_written_one_key_a_line():
    lines = CARD_3D.to_json().splitlines()
    assert lines[1:4] == [' "format": 2,', ' "name": "small volume",', ' "kind": "volume",']
    assert lines[-3:] == [' "int8": null,', ' "view_weights": []', "}"]


def test_the_words_of_a_backbones_card_stay():
    rule = Normalization("fixed", (1.0,), (2.0,))
    card = BackboneCard(1, "trunk", "resnet18", "v1c", ("red",), rule, "timm", "MIT", "nobody", "0")
    assert json.dumps(json.loads(card.to_json())) == OF_BACKBONE


def test_the_words_of_an_archives_recipe_stay(tmp_path):
    (tmp_path / CARD).write_text(CARD_3D.to_json())
    (tmp_path / "model.safetensors").touch()
    recipe = recipe_of(Job("a.nii", model=str(tmp_path)))
    assert json.dumps(recipe) == OF_RECIPE
    assert {type(value) for value in recipe["models"]["small volume"].values()} >= {tuple, dict}


def test_the_words_of_models_as_json_stay(capsys):
    print_models([CARD_3D], as_json=True)
    assert json.dumps(json.loads(capsys.readouterr().out)["items"][0]) == OF_CARD
