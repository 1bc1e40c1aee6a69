"""Files of trainings that older versions wrote or read."""

import tomllib
from dataclasses import replace

import pytest

from pipeline.decoding import decode
from pipeline.errors import OutputError
from pipeline.training.config import Training, TrainingResources
from pipeline.training.run import STATE, train
from tests.support.trainings import SCENES, TOML, put_scenes

HERE = TrainingResources("cpu")

BRITISH = {"color": "colour", "optimizer": "optimiser", "normalization": "normalisation", "license": "licence"}
OLD_STATE = """
{"name": "small", "kind": "scene", "classes": [{"name": "dark", "colour": [0, 0, 0]}, {"name": "bright", "colour":
[255, 255, 255]}, {"name": "rare", "colour": [255, 0, 0]}], "channels": ["red", "green"], "data": {"images":
"scene*.tif", "labels": "{stem}_label.tif", "table": null, "validation": ["scene2"], "exclude": ["*_label"], "bands":
null, "scale": null, "offset": null, "ignore": [255]}, "network": {"backbone": "resnet18", "output_stride": 16,
"dilation": "contracted", "basic_dilation": "conv1", "align_corners": false, "stem": "torchvision", "bins": [1, 2, 3,
6], "ppm_channels": 8, "head_channels": 8, "head": "pspnet", "truncated": false, "dropout": 0.1, "auxiliary": 0.4,
"pretrained": null, "frozen_stages": 0, "frozen_norms": false}, "samples": {"patch": [32, 32], "batch": 4, "spacing":
null, "margin": 0, "views": ["axial"], "orientation": "RAS", "balanced": 0.5, "most_of_one": 1.0, "values": "raw",
"normalisation": "fixed", "mean": [], "std": [], "low": [], "high": []}, "augmentation": {"scale": [0.5, 2.0],
"stretch": 0.0, "rotation": 10.0, "quarter_turns": true, "flips": ["vertical", "horizontal"], "brightness": 0.2,
"contrast": 0.2, "gamma": 0.0, "colour": 0.1, "noise": 0.02, "blur": 0.0}, "loss": {"dice": 0.0, "class_weights": [],
"smoothing": 0.0}, "schedule": {"steps": 12, "optimiser": "adamw", "rate": 0.002, "new_layers": 1.0, "momentum": 0.9,
"decay": 0.0001, "power": 0.9, "coarse": 0.0, "warm_up": 0, "clip": 0.0, "averaging": 0.0, "every": 4, "checks": 200,
"patience": 0}, "averaging": "softmax", "window": "gaussian", "seed": 0, "licence": "unknown", "credits": "unknown",
"limits": []}
"""


AMERICAN = TOML.replace("batch = 4\n", 'batch = 4\nnormalization = "zscore"\n[augmentation]\ncolor = 0.2\n').replace(
    'kind = "scene"', 'kind = "scene"\nlicense = "CC0-1.0"'
)


def test_a_file_in_british_spelling_is_the_same_training():
    british = AMERICAN
    for now, before in BRITISH.items():
        assert now in british
        british = british.replace(now, before)
    read = [decode(Training, tomllib.loads(text), may_miss=True) for text in (AMERICAN, british)]
    assert read[0] == read[1]


def test_a_training_that_an_older_version_started_continues(tmp_path):
    put_scenes(tmp_path)
    (tmp_path / STATE).write_text(OLD_STATE.replace('"steps": 12', '"steps": 1'))
    one = replace(SCENES, schedule=replace(SCENES.schedule, steps=1))
    assert train(one, tmp_path, tmp_path, HERE, list).steps == 1
    with pytest.raises(OutputError, match=r"another training was started here \(schedule.steps 1 \(now 12\)"):
        train(SCENES, tmp_path, tmp_path, HERE, list)
