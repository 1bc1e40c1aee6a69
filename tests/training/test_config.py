"""Numbers of a training file that make no sense are refused with their key, before anything is read."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest

from pipeline.errors import RequestError
from pipeline.training.config import Training, read_training
from pipeline.training.limits import LIMITS
from tests.support.trainings import TOML

FAULTS = [
    ("network", "auxiliary = -0.4", "must be 0 or more, got -0.4"),
    ("network", "frozen_stages = -1", "must be 0 or more"),
    ("samples", "patch = [0, 32]", r"must be at least 1, got \[0, 32\]"),
    ("samples", "batch = 0", "must be at least 1"),
    ("samples", "spacing = [0.5, 0]", "must be above 0"),
    ("samples", "margin = -1", "must be 0 or more"),
    ("samples", "balanced = 50", "must be from 0 to 1, got 50.0"),
    ("samples", "unlabeled = -0.1", "must be from 0 to 1"),
    ("samples", "cat_max_ratio = 0", "must be above 0, up to 1"),
    ("augmentation", "scale = [0, 2]", "must be above 0"),
    ("augmentation", "scale = [2, 0.5]", r"must be the smallest and the largest zoom, got \[2.0, 0.5\]"),
    ("augmentation", "stretch = 1", "must be from 0 to below 1"),
    ("augmentation", "brightness = -1", "must be 0 or more"),
    ("augmentation", "blur = 2", "must be from 0 to 1"),
    ("loss", "dice = -1", "must be 0 or more"),
    ("loss", "class_weights = [1, 2]", "must be a number for each of the 3 classes, got 2"),
    ("loss", "class_weights = [1, -1, 1]", "must be 0 or more"),
    ("loss", "class_weights = [0, 0, 0]", "must not all be 0"),
    ("loss", "label_smoothing = 1", "must be from 0 to below 1"),
    ("loss", "hardest = 0", "must be above 0, up to 1"),
    ("teacher", "weight = -1", "must be 0 or more"),
    ("teacher", "confident = 80", "must be from 0 to 1"),
    ("schedule", "steps = 0", "must be at least 1"),
    ("schedule", "checkpoint_interval = 0", "must be at least 1"),
    ("schedule", "learning_rate = 0", "must be above 0"),
    ("schedule", "momentum = 1", "must be from 0 to below 1"),
    ("schedule", "weight_decay = -1", "must be 0 or more"),
    ("schedule", "coarse = 2", "must be from 0 to 1"),
    ("schedule", "ema_decay = 1.0", "must be from 0 to below 1"),
    ("schedule", "patience = -1", "must be 0 or more"),
]
OLDER = {"learning_rate": "rate", "checkpoint_interval": "every", "ema_decay": "averaging"}
"""Names by which `TOML` has some of these keys."""


@pytest.mark.parametrize(("table", "line", "words"), FAULTS)
def test_a_number_that_makes_no_sense_is_named_with_its_key(table, line, words, tmp_path):
    name = line.split()[0]
    kept = [row for row in TOML.splitlines() if row.split(" = ")[0] not in (name, OLDER.get(name))]
    if f"[{table}]" not in kept:
        kept.append(f"[{table}]")
    kept.insert(kept.index(f"[{table}]") + 1, line)
    path = tmp_path / "faulty.toml"
    path.write_text("\n".join(kept))
    with pytest.raises(RequestError, match=rf"faulty.toml: {table}\.{name}: {words}"):
        read_training(path)


def test_a_volume_is_seen_from_somewhere(tmp_path):
    path = tmp_path / "faulty.toml"
    path.write_text(TOML.replace('"scene"', '"volume"').replace("batch = 4", "batch = 4\nviews = []"))
    with pytest.raises(RequestError, match=r"samples\.views: must have at least one direction"):
        read_training(path)


def test_limits_are_of_fields_that_are_there():
    tables = get_type_hints(Training)
    for name, limits in LIMITS.items():
        assert limits.keys() <= {field.name for field in fields(tables[name])}, name
