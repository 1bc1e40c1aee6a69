"""Every job in `configs/` runs as it stands."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.decoding import decode
from pipeline.jobs.job_file import check, read_request
from pipeline.models.catalogue import load_card, names
from pipeline.samples import PHANTOM_AFFINE, phantom_slices, scene_rows
from pipeline.training.config import Augmentation, Data, Loss, Network, Samples, Schedule, Teacher, read_training
from pipeline.training.run import card_of, spec_of
from tests.support.inputs import labels_of, put_scene, put_volume

pytestmark = pytest.mark.slow

ALL = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
TRAININGS = [path for path in ALL if path.stem.startswith("train-")]
CONFIGS = [path for path in ALL if path not in TRAININGS]
SIZE = 200
PARTS = {
    "data": Data,
    "network": Network,
    "samples": Samples,
    "augmentation": Augmentation,
    "loss": Loss,
    "teacher": Teacher,
    "schedule": Schedule,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The jobs, with small samples where `make demo` puts its own."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(CONFIGS[0].parent, folder / "configs")
    (folder / "demo").mkdir()
    put_scene(folder / "demo" / "scene.tif", scene_rows(0, SIZE, SIZE)[0])
    volume, _ = phantom_slices(0, 4, (4, 60, 50))
    put_volume(folder / "demo" / "volume.nii.gz", volume.T, np.array(PHANTOM_AFFINE))
    return folder


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_a_job_runs_as_it_stands(folder, config):
    request = read_request(folder / "configs" / config.name)
    check(request)
    assert request.model in names(), "the model comes with the package"
    ended = CliRunner().invoke(app, ["run", "--config", str(folder / "configs" / config.name), "--json"])
    assert ended.exit_code == 0, ended.output
    (item,) = json.loads(ended.stdout)["items"]
    labels = labels_of(Path(item["output"]))
    assert labels.size == item["cells"]
    assert Path(item["output"]).resolve().parent == (folder / "demo" / "masks").resolve()
    assert labels.max() < len(load_card(request.model).classes)


@pytest.mark.parametrize("config", TRAININGS, ids=lambda path: path.name)
def test_a_training_describes_a_network(config):
    training = read_training(config)
    assert spec_of(training).classes == len(training.classes)
    assert not set(training.data.validation) & set(training.data.exclude)


def test_there_is_a_job_for_each_kind():
    assert [path.stem for path in CONFIGS] == ["scene", "volume"]


@pytest.mark.parametrize("config", TRAININGS, ids=lambda path: path.name)
def test_a_packaged_model_is_what_its_training_says_and_its_card_tells_what_it_reaches(config):
    training = read_training(config)
    card = load_card(training.name)
    expected = asdict(card_of(training, card.normalization, {}))
    found = asdict(card)
    for told_later in ("weights_sha256", "evaluation", "int8", "domain", "features", "temperature"):
        del expected[told_later], found[told_later]
    expected["network"]["auxiliary"] = False  # a head for training only
    found["training"].setdefault("teacher", {})
    found["training"].pop("items", None)
    for part, kind in PARTS.items():  # the words of keys may be older
        expected["training"][part], found["training"][part] = (
            decode(kind, how["training"][part], may_miss=True) for how in (expected, found)
        )
    assert found == expected
    assert card.limits
    measured = [record for name, record in card.evaluation.items() if name != "validation"]
    assert measured
    assert all({"items", "classes", "figures"} <= set(record) for record in measured)
