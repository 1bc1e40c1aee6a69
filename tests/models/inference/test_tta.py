"""Test-time augmentation: what is averaged, in what order, and what cannot be asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from pipeline.errors import RequestError
from pipeline.jobs.job import Job, Resources
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.gpu import GpuPredictor
from pipeline.models.inference.numerics import REFERENCE
from pipeline.models.inference.runtime import InferenceModel, build_inference_model
from pipeline.models.inference.tta import NO_AUGMENTATION, TTA
from pipeline.models.store import save_model
from pipeline.runs.prepare import prepare
from tests.support.inputs import pixels, put_scene, put_volume
from tests.support.model_cases import CARD_2D, CARD_3D, model_of, network_of, shallow

pytestmark = pytest.mark.slow

SCENES = model_of(replace(CARD_2D, network=shallow(CARD_2D.network)))
VOLUMES = model_of(CARD_3D)
SCALES = st.floats(0.25, 4).map(lambda scale: round(scale, 2))
ASKED = st.tuples(st.none() | st.sampled_from(["flips", "turns"]), st.frozensets(SCALES, max_size=3))
SQUARE = {
    "flips": [(0, False), (0, True), (2, False), (2, True)],
    "turns": [(turns, mirrored) for turns in range(4) for mirrored in (False, True)],
    None: [(0, False)],
}
"""By word: quarter turns and mirrorings, as NumPy has them."""


ORDERS = (["1.25", "0.75", "turns"], [0.75, "turns", 1.25])


def patches(n, shape=(64, 64), channels=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, channels, *shape)).astype(np.uint8)


def predictor(tta, **options):
    return CpuPredictor(build_inference_model(SCENES), Scaling.of(CARD_2D), augmentation=TTA.of(tta), **options)


def plainly(model, scaled, symmetry, scales, seen):
    """Scores of one scaled patch `(channels, h, w)`: a loop over NumPy's turns, in float64."""
    native, network = scaled.shape[1:], build_inference_model(model).network
    total, count = 0.0, 0
    for scale in sorted({1.0, *scales}):
        size = [max(1, round(side * scale)) for side in seen]
        resized = resample(torch.from_numpy(scaled)[None], size).numpy()
        for turns, mirrored in SQUARE[symmetry]:
            turned = np.rot90(resized[..., ::-1] if mirrored else resized, turns, (2, 3))
            with torch.inference_mode():
                scores = network(torch.from_numpy(turned.copy())).numpy()
            scores = np.rot90(scores, -turns, (2, 3))
            scores = resample(torch.from_numpy((scores[..., ::-1] if mirrored else scores).copy()), list(native))
            total = total + (scores.softmax(1) if model.card.averaging == "softmax" else scores).double().numpy()[0]
            count += 1
    return total / count


def resample(image, size):
    if list(image.shape[2:]) == list(size):
        return image
    return functional.interpolate(image, size, mode="bilinear", antialias=True)


@pytest.mark.parametrize("tta", ["flips", "turns", "0.5,1.5", "flips,0.75,1.25", ("turns", 2)])
def test_scores_are_the_mean_that_a_plain_loop_gives(tta):
    values = patches(1)
    symmetry, *scales = tta.split(",") if isinstance(tta, str) else tta
    symmetry, scales = (symmetry, scales) if symmetry in SQUARE else (None, [symmetry, *scales])
    expected = plainly(SCENES, Scaling.of(CARD_2D)(values, None)[0], symmetry, map(float, scales), (64, 64))
    found = predictor(tta)(values, None)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    assert found.dtype == np.float32
    assert np.abs(found - predictor(None)(values, None)).max() > 1e-3


def test_a_volume_is_turned_in_plane_at_the_models_spacing():
    values = patches(1, (3, 24, 16), 1).astype(np.float32) / 100
    expected = plainly(VOLUMES, values[0, 0], "flips", [0.5], (48, 32))
    found = CpuPredictor(
        build_inference_model(VOLUMES),
        Scaling((0.0,), (1.0,)),
        (1.0, 1.0),
        augmentation=TTA.of("flips,0.5"),
    )(values, None)
    np.testing.assert_allclose(found[0, :, 0], expected, atol=1e-4)


@pytest.mark.parametrize("averaging", ["softmax", "logits"])
@pytest.mark.parametrize("tta", ["flips", "turns", "turns,0.5,2"])
def test_a_network_that_sees_no_neighbours_gives_the_same_turned_or_not(averaging, tta):
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(2, 3, 1).requires_grad_(requires_grad=False)
    blind = InferenceModel(replace(CARD_2D, averaging=averaging), REFERENCE, convolution)
    values = patches(2, (32, 32))
    if "," in tta:
        values[:] = values[:, :, :1, :1]
    found = CpuPredictor(blind, Scaling.of(CARD_2D), augmentation=TTA.of(tta))(values, None)
    np.testing.assert_allclose(found, CpuPredictor(blind, Scaling.of(CARD_2D))(values, None), atol=1e-6)


def test_without_augmentation_nothing_changes():
    values = patches(2, (64, 48))
    plain = CpuPredictor(build_inference_model(SCENES), Scaling.of(CARD_2D))(values, None)
    for tta in (None, (), "1", (1.0,)):
        assert TTA.of(tta) == NO_AUGMENTATION
        assert predictor(tta)(values, None).tobytes() == plain.tobytes()


def test_same_bytes_in_any_batch_thread_and_order_of_words():
    values = patches(4)
    whole = predictor("turns,0.75,1.25", threads=4)(values, None)
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda i: predictor("turns,0.75,1.25")(values[i : i + 1], None), range(4)))
    assert np.concatenate(threaded).tobytes() == whole.tobytes()
    assert all(predictor(words)(values[:1], None).tobytes() == whole[:1].tobytes() for words in ORDERS)


def test_a_gpus_predictor_averages_the_same():
    values, asked = patches(5), TTA.of("flips,0.5")
    found = GpuPredictor(build_inference_model(SCENES), Scaling.of(CARD_2D), augmentation=asked, batch=2)(values, None)
    np.testing.assert_allclose(found.numpy(), predictor("flips,0.5")(values, None), atol=1e-5)


@given(ASKED)
def test_words_say_all_and_each_once(asked):
    symmetry, scales = asked
    parts = (*scales, *([symmetry] if symmetry else []))
    found = TTA.of(parts)
    assert TTA.of(found.words) == found
    assert TTA.of(",".join(map(str, parts)) or None) == found
    assert found.scales == tuple(sorted({1.0, *scales}))
    assert len(set(found.turns)) == len(found.turns) == len(SQUARE[symmetry])
    assert found.cost == pytest.approx(len(SQUARE[symmetry]) * sum(scale**2 for scale in {1.0, *scales}))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("flip", r"unknown tta 'flip' \(did you mean \"flips\"\?\); give flips or turns, scales or both"),
        ("turns,scale", "unknown tta 'scale'; give flips or turns"),
        ("", "unknown tta ''"),
        ("flips,0", r"tta flips, 0: scales must be from 0\.25 to 4"),
        (("turns", 8), r"tta turns, 8: scales must be"),
        ("nan", "tta nan: scales must be"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(asked, words):
    with pytest.raises(RequestError, match=words):
        TTA.of(asked)


def test_turns_need_square_patches(models, tmp_path):
    scene = put_scene(tmp_path / "a.tif", pixels((2, 40, 40)))
    job = Job(str(scene), model=str(models / "scene"), tta="turns")
    with pytest.raises(RequestError, match="tta turns: needs square patches, but the network sees 128 x 96; give flip"):
        prepare(job, Resources())
    assert prepare(replace(job, patch=(64, 64)), Resources()).augmentation == TTA.of("turns")


def test_a_square_is_one_at_the_models_spacing(tmp_path):
    save_model(tmp_path / "model", CARD_3D, network_of(CARD_3D.network))
    volume = put_volume(tmp_path / "a.nii", pixels((3, 40, 40)).T.astype(np.int16), np.diag([0.5, 1.0, 1, 1]))
    job = Job(str(volume), model=str(tmp_path / "model"), tta="turns,2", patch=(16, 32))
    assert prepare(job, Resources()).fingerprint()["tta"] == ("turns", 2.0)
    with pytest.raises(RequestError, match=r"tta turns: .* the network sees 64 x 32"):
        prepare(replace(job, patch=(32, 32)), Resources())
    assert prepare(replace(job, patch=(32, 32), tta=None), Resources()).fingerprint()["tta"] is None
