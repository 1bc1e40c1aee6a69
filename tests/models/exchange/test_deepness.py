"""The metadata of Deepness are read as its code and its documentation have them, and written so that it reads them."""

from __future__ import annotations

import ast
import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.models.card import Normalization
from pipeline.models.exchange.deepness import Deepness, deepness_of, read_deepness
from tests.support.model_cases import CARD_2D

DOCUMENTED = {
    "model_type": json.dumps("Segmentor"),
    "class_names": json.dumps({0: "_background", 1: "building", 2: "road"}),
    "resolution": json.dumps(50),
    "tiles_size": json.dumps(512),
    "tiles_overlap": json.dumps(40),
    "seg_thresh": json.dumps(0.4),
}
PLAIN = Normalization("fixed", (0.0,) * 3, (255.0,) * 3)


def test_what_its_documentation_shows_is_read():
    assert read_deepness(DOCUMENTED, 3) == Deepness(
        kind="Segmentor",
        classes=("_background", "building", "road"),
        resolution=0.5,
        patch=(512, 512),
        overlap=(204, 204),
        threshold=0.4,
        normalization=PLAIN,
    )


@pytest.mark.parametrize(
    ("entries", "field", "expected"),
    [
        ({"class_names": "{0: 'a', 1: 'b'}"}, "classes", ("a", "b")),
        ({"class_names": '[{"0": "a", "1": "b"}]'}, "classes", ("a", "b")),
        ({"class_names": '{"0": "a", "2": "b"}'}, "classes", None),
        ({"class_names": '{"0": "a", "1": "a"}'}, "classes", None),
        ({"class_names": "import os"}, "classes", None),
        ({"tile_size": "256"}, "patch", (256, 256)),
        ({"tiles_size": "-1"}, "patch", None),
        ({"tiles_size": "256", "tiles_overlap": "120"}, "overlap", None),
        ({"resolution": '"fine"'}, "resolution", None),
        ({"resolution": "NaN"}, "resolution", None),
        ({"seg_thresh": "0"}, "threshold", None),
        ({"model_type": '"detector"'}, "kind", "Detector"),
        (
            {"standardization_mean": "[0.5, 0.25, 0]", "standardization_std": "[1, 0.5, 2]"},
            "normalization",
            Normalization("fixed", (127.5, 63.75, 0.0), (255.0, 127.5, 510.0)),
        ),
        ({"standardization_mean": "[0.5]", "standardization_std": "[1]"}, "normalization", PLAIN),
        ({"standardization_mean": "[0, 0, 0]", "standardization_std": "[1, 0, 1]"}, "normalization", PLAIN),
    ],
)
def test_what_cannot_be_used_counts_as_unsaid(entries, field, expected):
    assert getattr(read_deepness({"model_type": '"Segmentor"', **entries}, 3), field) == expected


def test_metadata_of_others_are_not_taken_for_it():
    assert read_deepness({"stride": "32", "names": "{0: 'person'}", "author": "Ultralytics"}, 3) is None


def test_what_is_written_is_read_back_and_scales_as_deepness_does():
    card = replace(CARD_2D, patch=(64, 64), overlap=(16, 16), spacing=(0.1, 0.1))
    words = deepness_of(card)
    found = read_deepness(words, 2)
    assert (found.classes, found.resolution, found.patch, found.overlap) == (("a", "b", "c"), 0.1, (64, 64), (16, 16))
    pixels = np.array([[7.0], [200.0]])
    mean, std = (np.array(json.loads(words[f"standardization_{part}"]))[:, None] for part in ("mean", "std"))
    ours = (pixels - np.array([[100.0], [50.0]])) / np.array([[40.0], [20.0]])
    np.testing.assert_allclose((pixels / 255 - mean) / std, ours)
    assert all(ast.literal_eval(text) is not None for text in words.values())


def test_scaling_that_deepness_does_not_have_is_not_written():
    card = replace(CARD_2D, normalization=Normalization("percentile", (0.0, 0.0), (1.0, 1.0), (2.0, 2.0), (98.0, 98.0)))
    assert not any(key.startswith("standardization") for key in deepness_of(card))
