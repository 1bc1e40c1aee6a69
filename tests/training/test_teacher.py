"""Losses that look at boundaries and at what is hard, and trainings that learn from other models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pipeline.errors import RequestError
from pipeline.models.card import Normalization
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.store import load_model, save_model
from pipeline.training.config import Loss, Teacher, read_training
from pipeline.training.losses import NEAR, loss_of, near_another, taught
from pipeline.training.patch import IGNORE
from pipeline.training.run import TrainingResources, card_of, ready_for, spec_of, train
from pipeline.training.teacher import Teachers
from tests.support.inputs import put_scene
from tests.support.trainings import SCENES, TOML, put_scenes

HERE = TrainingResources("cpu")
PLAIN = Normalization("fixed", (10.0, 20.0), (2.0, 4.0))


def drawn(seed, shape=(2, 9, 11)):
    """Scores of three classes and labels of which some are ignored."""
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.normal(size=(shape[0], 3, *shape[1:])))
    blocks = np.kron(rng.integers(-1, 3, (shape[0], 2, 2)), np.ones((1, 6, 6), int))[:, : shape[1], : shape[2]]
    return scores.float(), torch.from_numpy(blocks)


def near_by_loops(labels):
    found = np.zeros(labels.shape, bool)
    for n, y, x in np.argwhere(labels.numpy() != IGNORE):
        around = labels[n, max(0, y - NEAR) : y + NEAR + 1, max(0, x - NEAR) : x + NEAR + 1]
        found[n, y, x] = len(set(around.unique().tolist()) - {IGNORE}) > 1
    return found


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5), st.sampled_from([1.0, 0.5, 0.01]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_loss_of_boundaries_and_hard_pixels_is_a_weighted_mean(seed, boundary, hardest, by_class):
    scores, labels = drawn(seed)
    weights = (1.0, 0.5, 3.0) if by_class else ()
    near = near_by_loops(labels)
    assert (near_another(labels).numpy() == near).all()
    seen = (labels != IGNORE).numpy()
    each = functional.cross_entropy(scores, labels, ignore_index=IGNORE, reduction="none").numpy()[seen]
    weight = np.where(near[seen], boundary, 1) * (np.array(weights)[labels.numpy()[seen]] if by_class else 1)
    chosen = np.argsort(-each)[: max(1, round(hardest * seen.sum()))]
    expected = (each * weight)[chosen].sum() / weight[chosen].sum() if seen.any() else 0.0
    found = float(loss_of(scores, labels, Loss(class_weights=weights, boundary=boundary, hardest=hardest)))
    assert found == pytest.approx(expected, rel=1e-4)


def test_all_pixels_alike_are_the_plain_cross_entropy():
    scores, labels = drawn(0)
    plain = loss_of(scores, labels, Loss(smoothing=0.1))
    assert float(loss_of(scores, labels, Loss(smoothing=0.1, boundary=1.0 + 1e-9))) == pytest.approx(float(plain))


def test_a_teacher_counts_where_it_is_sure():
    scores = torch.zeros(1, 2, 1, 2)
    target = torch.tensor([[[[0.9, 0.5]], [[0.1, 0.5]]]])
    assert float(taught(scores, target)) == pytest.approx(np.log(2))
    scores[0, 0, 0, 0] = 3.0
    sure = -(0.9 * np.log(1 / (1 + np.exp(-3))) + 0.1 * np.log(1 / (1 + np.exp(3))))
    assert float(taught(scores, target, 0.8)) == pytest.approx(sure, rel=1e-5)
    assert float(taught(scores, target, 0.95)) == 0


def put_teacher(folder, normalization=PLAIN, temperature=None, **how):
    torch.manual_seed(3)
    training = replace(SCENES, name=folder.name, **how)
    card = replace(card_of(training, normalization, {}), temperature=temperature)
    save_model(folder, card, PSPNet(spec_of(training)).eval())
    return load_model(folder)


def test_teachers_see_values_as_they_were_trained(tmp_path):
    one, two = (
        put_teacher(tmp_path / "one", temperature=2.5),
        put_teacher(tmp_path / "two", Normalization("fixed", (0, 0), (1, 1))),
    )
    raw = torch.rand(2, 2, 32, 32) * 30
    teachers = Teachers(replace(SCENES, teacher=Teacher(("one", str(tmp_path / "two")))), PLAIN, tmp_path)
    mean, std = (torch.tensor(numbers).view(1, 2, 1, 1) for numbers in (PLAIN.mean, PLAIN.std))
    with torch.no_grad():
        expected = ((one.network((raw - mean) / std) / 2.5).softmax(1) + two.network(raw).softmax(1)) / 2
    torch.testing.assert_close(teachers((raw - mean) / std), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"classes": SCENES.classes[::-1]}, "the class table there is"),
        ({"channels": ("red", "green", "blue")}, "the number of channels there is 3, here 2"),
        ({"samples": replace(SCENES.samples, spacing=(0.5, 0.5))}, "the spacing there is"),
        ({"samples": replace(SCENES.samples, zoom=2.0)}, "the zoom there is 2.0, here 1.0"),
        ({"normalization": Normalization("window", (0, 0), (1, 1), (0, 0), (9, 9))}, "the normalization there is"),
    ],
)
def test_a_model_that_cannot_teach_is_named(tmp_path, other, words):
    channels = len(other.get("channels", SCENES.channels))
    plain = Normalization("fixed", (1.0,) * channels, (1.0,) * channels)
    put_teacher(tmp_path / "other", **{"normalization": plain, **other})
    with pytest.raises(RequestError, match=f"teacher.models: other cannot teach this: {words}"):
        Teachers(replace(SCENES, teacher=Teacher(("other",))), PLAIN, tmp_path)


def test_images_without_labels_need_a_teacher(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(TOML.replace("[data]", '[data]\nunlabeled = ["more*.tif"]'))
    with pytest.raises(RequestError, match=r"data.unlabeled: nothing can be learned .* give teacher.models"):
        read_training(path)


@pytest.mark.slow
def test_a_learner_comes_near_its_teacher_where_there_are_no_labels(tmp_path):
    """A teacher that turns the classes around is followed on images without labels, in values that labels never had."""
    put_scenes(tmp_path)
    rng = np.random.default_rng(0)
    put_scene(tmp_path / "more.tif", rng.integers(1, 255, (2, 70, 90)).astype(np.uint8))
    put_teacher(tmp_path / "teacher", Normalization("fixed", (100.0, 100.0), (60.0, 60.0)))
    how = replace(
        SCENES,
        data=replace(SCENES.data, unlabeled=("more.tif",)),
        samples=replace(SCENES.samples, unlabeled=1.0),
        teacher=Teacher(("teacher",), weight=1.0),
        schedule=replace(SCENES.schedule, steps=20, every=20, checks=4),
    )
    ready = ready_for(how, tmp_path, HERE, lambda _: None)
    assert [(found.item.part, found.item.label == "") for found in ready.statistics][-1] == ("unlabeled", True)
    teachers = Teachers(how, ready.normalization, tmp_path)
    image = torch.randn(4, 2, 32, 32)

    def apart(network):
        with torch.no_grad():
            return float(
                taught(network.eval()(image), teachers(image)) - taught(teachers(image).log(), teachers(image))
            )

    before = apart(ready.learner.network)
    trained = train(how, tmp_path, tmp_path / "out", HERE, lambda _: None)
    assert apart(load_model(trained.folder).network) < 0.5 * before
    assert load_model(trained.folder).card.training["teacher"]["models"] == ["teacher"]
