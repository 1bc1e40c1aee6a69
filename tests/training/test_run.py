"""A training from its file to a model that segments; stopped and resumed, it gives the same weights."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import OutputError, PipelineError, RequestError
from pipeline.jobs.job import Job, Resources
from pipeline.models.importing import ImportOptions, import_weights
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.pretrained import load_backbone
from pipeline.models.store import load_model
from pipeline.runs.segment import segment
from pipeline.training.config import Loss, Schedule, read_training
from pipeline.training.losses import loss_of, soft_dice
from pipeline.training.module import Learner, coarse_twin, rate_factor
from pipeline.training.patch import IGNORE
from pipeline.training.run import TrainingResources, spec_of, train
from tests.support import checkpoints
from tests.support.inputs import labels_of
from tests.support.trainings import LIGHT, SCENES, STILL, TOML, VOLUMES, put_scenes, put_volumes, truth

pytestmark = pytest.mark.slow

HERE = TrainingResources("cpu")
DILATED = replace(LIGHT.network, output_stride=8)
"""A network that can be trained coarsely."""
RESIDUAL = replace(SCENES.network, output_stride=8)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = put_scenes(tmp_path_factory.mktemp("scenes"))
    (folder / "small.toml").write_text(TOML)
    (folder / "short.toml").write_text(TOML.replace("steps = 12", "steps = 6").replace("every = 4", "every = 2"))
    return folder


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def quiet(_):
    pass


def test_a_training_learns_what_chance_cannot(scenes, tmp_path):
    """The values show the class. A network that predicts one class everywhere has a mean IoU of 1/6."""
    how = replace(
        LIGHT,
        augmentation=STILL,
        loss=Loss(dice=1.0),
        network=RESIDUAL,
        schedule=replace(LIGHT.schedule, steps=32, every=16),
    )
    said = []
    trained = train(how, scenes, tmp_path / "out", HERE, said.append)
    assert trained.steps == 32
    assert [line.split()[1] for line in said[1:]] == ["10/32", "16/32", "32/32"]
    assert trained.figures["mean_iou"] > 0.5
    card = load_model(trained.folder).card
    assert (card.name, card.channels, card.patch) == ("small", ("red", "green"), (32, 32))
    assert card.evaluation["validation"] == trained.figures
    assert card.training["schedule"]["steps"] == 32
    assert card.training["data"]["validation"] == ["scene2"]
    assert card.temperature not in (None, 1)
    segment(Job(str(scenes / "scene2.tif"), tmp_path / "mask.tif", str(trained.folder)), Resources(device="cpu"))
    found, labels = labels_of(tmp_path / "mask.tif"), truth((80, 80), 2)
    assert (found == labels)[labels != 255].mean() > 0.8


def test_a_metal_gpu_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(RequestError, match="--device mps: models are trained on cpu or cuda"):
        train(LIGHT, tmp_path / "nothing", tmp_path / "out", replace(HERE, device="mps"))
    assert not (tmp_path / "out").exists()


def test_a_killed_training_goes_on_to_the_same_weights(scenes, tmp_path, one_thread):
    words = ["train", "--config", str(scenes / "short.toml"), "--device", "cpu", "--out"]
    whole = CliRunner().invoke(app, [*words, str(tmp_path / "a"), "--json"])
    assert whole.exit_code == 0, whole.stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *words, str(tmp_path / "b")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("step 4/6"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stderr.close()
    assert not (tmp_path / "b/model").exists()
    ended = CliRunner().invoke(app, [*words, str(tmp_path / "b")])
    assert ended.exit_code == 0, ended.stderr
    assert "step 2/6" not in ended.stderr
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    record = json.loads(whole.stdout)
    assert record["model"] == str(tmp_path / "a/model")
    assert set(record["validation"]) == {"mean_iou"}
    assert list((tmp_path / "a").rglob("metrics.csv"))
    assert list((tmp_path / "a").rglob("events.out.tfevents.*"))


def test_processes_train_together_and_one_of_them_speaks(scenes, tmp_path):
    command = [sys.executable, "-m", "pipeline.cli", "train", "--config", str(scenes / "short.toml"), "--device", "cpu"]
    ended = subprocess.run(
        [*command, "--devices", "2", "--out", str(tmp_path / "a"), "--json"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["steps"] == 6
    told = [line.split()[1] for line in ended.stderr.splitlines() if line.startswith("step")]
    assert told == ["2/6", "4/6", "6/6"]
    assert load_model(tmp_path / "a/model").card.training["schedule"]["steps"] == 6


def test_volumes_are_learned_from_in_all_views(tmp_path):
    folder = put_volumes(tmp_path / "volumes")
    how = replace(VOLUMES, schedule=replace(VOLUMES.schedule, steps=2, every=2))
    trained = train(how, folder, tmp_path / "out", HERE, quiet)
    card = load_model(trained.folder).card
    assert (card.kind, card.margin, card.spacing, card.orientation) == ("volume", 1, (1.0, 1.0), "RAS")
    assert set(trained.figures) == {"mean_dice"}


def test_a_model_goes_on_being_trained_with_other_classes(scenes, tmp_path):
    short = replace(SCENES, schedule=replace(SCENES.schedule, steps=1, every=1), augmentation=STILL)
    first = train(short, scenes, tmp_path / "first", HERE, quiet)
    network = replace(SCENES.network, pretrained=str(first.folder), frozen_stages=5, frozen_norms=True)
    second = train(replace(short, network=network), scenes, tmp_path / "second", HERE, quiet)
    before, after = (load_model(trained.folder).network.state_dict() for trained in (first, second))
    same = {name for name, tensor in before.items() if torch.equal(tensor, after[name])}
    assert all(name in same for name in before if name.startswith(("stem.", "layer")))
    assert "ppm.0.1.weight" not in same
    wrong = replace(network, ppm_channels=16)
    with pytest.raises(RequestError, match=r"is of another network. ppm.0.1.weight is \(8, 512, 1, 1\) there"):
        train(replace(short, network=wrong), scenes, tmp_path / "third", HERE, quiet)


def test_an_imported_efficientnet_lite_is_trained_and_segments(scenes, tmp_path):
    torch.save(checkpoints.efficientnet_pytorch(in_channels=2, seed=0), tmp_path / "lite0.pth")
    options = ImportOptions(channels=("red", "green"), mean=(127.0,) * 2, std=(128.0,) * 2)
    import_weights(tmp_path / "lite0.pth", tmp_path / "lite0", options)
    network = replace(LIGHT.network, backbone="efficientnet_lite0", pretrained=str(tmp_path / "lite0"))
    schedule = replace(LIGHT.schedule, steps=2, every=2, coarse=0.5)
    trained = train(replace(LIGHT, network=network, schedule=schedule), scenes, tmp_path / "out", HERE, quiet)
    model, before = load_model(trained.folder), load_backbone(tmp_path / "lite0").state
    assert model.card.network.backbone == "efficientnet_lite0"
    for name in ("stem.0.weight", "layer7.0.conv.2.weight"):
        assert 1e-3 < (model.network.state_dict()[name] - before[name]).abs().max() < 0.01, (
            "two steps from where it was"
        )
    for precision in ("float32", "bfloat16"):
        job = Job(str(scenes / "scene2.tif"), tmp_path / f"{precision}.tif", str(trained.folder))
        segment(job, Resources(device="cpu", precision=precision))
    masks = [labels_of(tmp_path / f"{precision}.tif") for precision in ("float32", "bfloat16")]
    assert (masks[0] == masks[1]).mean() > 0.9


def test_another_training_is_not_gone_on_with(scenes, tmp_path):
    short = replace(LIGHT, schedule=replace(LIGHT.schedule, steps=1, every=1))
    train(short, scenes, tmp_path / "out", HERE, quiet)
    again = train(replace(short, limits=("Sees no red.",), license="CC0-1.0"), scenes, tmp_path / "out", HERE, quiet)
    assert load_model(again.folder).card.limits == ("Sees no red.",), "what is only told may change"
    state = json.loads((tmp_path / "out/training.json").read_text())
    del state["schedule"]["coarse"]
    (tmp_path / "out/training.json").write_text(json.dumps(state))
    train(short, scenes, tmp_path / "out", HERE, quiet)  # begun before there was such a key
    with pytest.raises(OutputError, match=r"schedule.rate 0.002 \(now 0.1\)"):
        train(replace(short, schedule=replace(short.schedule, rate=0.1)), scenes, tmp_path / "out", HERE, quiet)


def test_a_patience_that_nothing_tries_is_told(scenes, tmp_path):
    data, schedule = replace(SCENES.data, validation=()), replace(SCENES.schedule, steps=1, every=1, patience=2)
    said = []
    train(replace(SCENES, data=data, schedule=schedule), scenes, tmp_path / "out", HERE, said.append)
    assert "schedule.patience: no item is kept for validation, so all steps are taken" in said


def test_a_loss_that_is_no_number_ends_it_with_the_step(scenes, tmp_path):
    wild = replace(LIGHT, schedule=replace(LIGHT.schedule, optimizer="sgd", rate=1e30))
    with pytest.raises(PipelineError, match=r"step \d+: the loss is (nan|inf); lower schedule.learning_rate"):
        train(wild, scenes, tmp_path / "out", HERE, quiet)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("steps = 12", "step = 12", r"schedule.step: unknown key \(did you mean \"steps\"\?\)"),
        ("steps = 12", 'steps = "12"', "schedule.steps: expected a whole number, got '12'"),
        ('kind = "scene"', 'kind = "photo"', "kind: expected 'scene' or 'volume', got 'photo'"),
        ('name = "small"', "", "missing keys name"),
        ("[data]", "[data", "is not TOML"),
        ('images = "scene*.tif"', 'images = "none*.tif"', "no file matches"),
        ('validation = ["scene2"]', 'validation = ["*"]', "none of 3 pairs is left to train on"),
        ("ppm_channels = 8", "ppm_channels = 0", "network: every channel count must be at least 1"),
    ],
)
def test_faults_of_a_training_are_named_with_their_key(scenes, tmp_path, before, after, words):
    path = scenes / "faulty.toml"
    path.write_text(TOML.replace(before, after))
    with pytest.raises(RequestError, match=words):
        train(read_training(path), scenes, tmp_path / "out", HERE, quiet)
    assert not (tmp_path / "out").exists()
    ended = CliRunner().invoke(app, ["train", "--config", str(path), "--out", str(tmp_path / "out")])
    assert ended.exit_code in (1, 2)
    assert "Traceback" not in ended.output


scores_and_labels = st.integers(0, 2**32).map(
    lambda seed: (
        torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(seed)),
        torch.randint(-1, 3, (2, 5, 4), generator=torch.Generator().manual_seed(seed + 1)),
    )
)


@settings(max_examples=30, deadline=None)
@given(scores_and_labels, st.booleans())
def test_the_loss_is_that_of_a_plain_loop(case, weighted):
    scores, labels = case
    weights = (1.0, 2.0, 0.5) if weighted else ()
    shares = scores.double().softmax(1).movedim(1, -1).reshape(-1, 3).numpy()
    flat = labels.flatten().numpy()
    seen = flat != IGNORE
    terms = [(-np.log(shares[i, flat[i]]), weights[flat[i]] if weights else 1.0) for i in np.flatnonzero(seen)]
    entropy = sum(term * weight for term, weight in terms) / sum(weight for _, weight in terms) if terms else 0.0
    dice = []
    for label in range(3):
        hits = shares[seen & (flat == label), label].sum()
        dice.append((2 * hits + 1) / (shares[seen, label].sum() + (flat == label).sum() + 1))
    assert float(soft_dice(scores, labels)) == pytest.approx(1 - np.mean(dice), abs=1e-5)
    found = float(loss_of(scores, labels, Loss(dice=0.5, class_weights=weights)))
    assert found == pytest.approx(entropy + 0.5 * (1 - np.mean(dice)) if terms else 0.0, abs=1e-5)


def test_nothing_labelled_is_no_loss_and_no_gradient():
    scores = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss_of(scores, torch.full((1, 4, 4), IGNORE), Loss(dice=1.0)).backward()
    assert (scores.grad == 0).all()


@pytest.mark.parametrize("backbone", [DILATED, RESIDUAL], ids=lambda network: network.backbone)
@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**32))
def test_the_coarse_twin_learns_the_same_weights(backbone, seed):
    torch.manual_seed(seed)
    network = PSPNet(spec_of(replace(LIGHT, network=backbone)))
    twin = coarse_twin(network)
    image = torch.randn(2, 2, 48, 40)
    before = [tensor.clone() for tensor in network.state_dict().values()]
    sum(scores.square().mean() for scores in twin(image)).backward()
    assert all(p.grad is not None for p in network.parameters())
    torch.optim.SGD(network.parameters(), 1.0).step()
    assert all(
        torch.equal(*pair) for pair in zip(network.state_dict().values(), twin.state_dict().values(), strict=True)
    )
    counted = [
        name for name, tensor in network.named_buffers() if name.endswith("running_mean") and tensor.abs().max() > 0
    ]
    assert len(counted) == sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    assert not all(torch.equal(*pair) for pair in zip(before, network.state_dict().values(), strict=True))
    plain = PSPNet(replace(network.spec, output_stride=16))
    plain.load_state_dict(network.state_dict())
    assert torch.equal(twin.eval()(image), plain.eval()(image))


def test_coarse_steps_come_first_and_go_on_after_a_stop(scenes, tmp_path):
    how = replace(LIGHT, network=DILATED, schedule=replace(LIGHT.schedule, steps=4, every=2))
    coarse = replace(how, schedule=replace(how.schedule, coarse=0.5, averaging=0.9))
    whole = train(coarse, scenes, tmp_path / "a", HERE, quiet)

    def stop_at_2(line):
        if line.startswith("step 2/"):
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        train(coarse, scenes, tmp_path / "b", HERE, stop_at_2)
    again = train(coarse, scenes, tmp_path / "b", HERE, quiet)
    fine = train(how, scenes, tmp_path / "c", HERE, quiet)
    weights = [(trained.folder / "model.safetensors").read_bytes() for trained in (whole, again, fine)]
    assert weights[0] == weights[1] != weights[2]
    with pytest.raises(RequestError, match=r"network: schedule\.coarse: must be 0"):
        train(replace(coarse, network=replace(DILATED, output_stride=32)), scenes, tmp_path / "d", HERE, quiet)


def test_rates_rise_and_fall_and_new_layers_learn_faster():
    how = Schedule(steps=100, rate=0.01, new_layers=10.0, warm_up=10)
    assert rate_factor(0, how) == pytest.approx(0.1)
    assert rate_factor(9, how) == pytest.approx(0.91**0.9)
    assert rate_factor(50, how) == pytest.approx(0.5**0.9)
    assert rate_factor(100, how) == 0
    training = replace(LIGHT, schedule=how, network=replace(LIGHT.network, frozen_stages=2))
    network = PSPNet(spec_of(training))
    optimizer = Learner(training, network).configure_optimizers()["optimizer"]
    backbone, new = optimizer.param_groups
    assert [group["initial_lr"] for group in (backbone, new)] == pytest.approx([0.01, 0.1])
    ids = {id(p) for group in (backbone, new) for p in group["params"]}
    frozen = {id(p) for module in (network.stem, network.layer1) for p in module.parameters()}
    assert not ids & frozen
    assert ids | frozen == {id(p) for p in network.parameters()}
    assert {id(p) for p in new["params"]} == {
        id(p) for module in (network.ppm, network.head, network.aux) for p in module.parameters()
    }
