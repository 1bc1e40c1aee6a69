"""The predictor: the network's scores on native pixels, the same bytes however it is called."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np
from torch.nn import functional

from pipeline.errors import ModelError, RequestError
from pipeline.models.card import Normalization
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.device import choose_device
from pipeline.models.inference.fit import Scaling, native_patch
from pipeline.models.inference.runtime import build_inference_model
from pipeline.sources.statistics import InputStatistics
from tests.support.model_cases import CARD_2D, CARD_3D, model_of

pytestmark = pytest.mark.slow

SCENES = model_of(CARD_2D)
VOLUMES = model_of(CARD_3D)
UNIT = Scaling((0.0,), (1.0,))


def predictor_2d(**options):
    return CpuPredictor(build_inference_model(SCENES), Scaling.of(CARD_2D), **options)


def patches(n, shape=(64, 48), channels=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, channels, *shape)).astype(np.uint8)


def test_scores_are_the_softmax_of_the_network():
    values = patches(2)
    scores = predictor_2d()(values, None)
    image = (torch.from_numpy(values).float() - torch.tensor([100.0, 50.0]).view(2, 1, 1)) / torch.tensor(
        [40.0, 20.0]
    ).view(2, 1, 1)
    with torch.inference_mode():
        expected = SCENES.network(image).softmax(1).numpy()
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert scores.dtype == np.float32
    assert scores.flags.c_contiguous
    assert scores.flags.writeable


def test_logits_are_given_where_the_card_blends_those():
    model = replace(SCENES, card=replace(CARD_2D, averaging="logits"))
    logits = CpuPredictor(build_inference_model(model), Scaling.of(CARD_2D))(patches(1), None)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(shares / shares.sum(1, keepdims=True), predictor_2d()(patches(1), None), atol=1e-5)


def test_same_bytes_in_any_batch_and_thread():
    values = patches(6)
    predictor = predictor_2d(threads=4)
    whole = predictor(values, None)
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda i: predictor(values[i : i + 1], None), range(6)))
    assert np.concatenate(threaded).tobytes() == whole.tobytes()
    assert (predictor.batch, predictor.threads) == (1, 4)


@pytest.fixture
def torch_threads():
    """Set the threads of torch, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_same_bytes_whatever_torch_is_set_to(torch_threads):
    found = set()
    for count in (1, 4):
        torch_threads(count)
        found.add(predictor_2d()(patches(1), None).tobytes())
        assert torch.get_num_threads() == count
    assert len(found) == 1


def test_a_pool_thread_computes_on_one_torch_thread():
    seen = []
    handle = SCENES.network.stem.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: predictor_2d()(patches(1), None), range(4)))
    finally:
        handle.remove()
    assert seen == [1] * 4


@settings(max_examples=20, deadline=None)
@given(
    values=st_np.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]),
        (2, 1, 3, 4),
        elements=None,
    ),
    valid=st.none() | st_np.arrays(np.bool_, (2, 3, 4)),
    window=st.none() | st.just((-50.0, 300.0)),
)
def test_unseen_values_are_zero_after_scaling(values, valid, window):
    low, high = (window[:1], window[1:]) if window else ((), ())
    before = values.copy()
    with np.errstate(all="ignore"):
        scaled = Scaling((10.0,), (4.0,), low, high)(values, valid)
        plain = values.astype(np.float32)
        seen = (np.abs(plain) < 1e20) & (True if valid is None else valid[:, None])
        plain = (np.clip(plain, *window) if window else plain) - np.float32(10)
    np.testing.assert_array_equal(scaled, np.where(seen, plain / np.float32(4), 0))
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(values, before)


def test_nodata_is_what_the_mean_would_be():
    values, valid = patches(1), np.ones((1, 64, 48), bool)
    valid[:, 10:30] = False
    mean = values.copy()
    mean[:, :, 10:30] = np.array([100, 50])[:, None, None]
    assert np.array_equal(predictor_2d()(values, valid), predictor_2d()(mean, None))


def test_slices_of_the_margin_are_channels_in_order():
    values = patches(2, (3, 48, 32), 1).astype(np.float32) / 100
    scores = CpuPredictor(build_inference_model(VOLUMES), UNIT, native_spacing=(0.5, 0.5))(values, None)
    with torch.inference_mode():
        expected = VOLUMES.network(torch.from_numpy(values[:, 0])).numpy()
    assert scores.shape == (2, 2, 1, 48, 32)
    np.testing.assert_allclose(scores[:, :, 0], expected, atol=1e-5)
    assert not np.allclose(CpuPredictor(build_inference_model(VOLUMES), UNIT)(values[:, :, ::-1], None), scores)


def test_channels_of_a_volume_keep_their_slices_together():
    network = replace(CARD_3D.network, in_channels=6)
    card = replace(CARD_3D, channels=("T1", "T2"), network=network)
    values = np.arange(6, dtype=np.float32)[:, None, None] + np.zeros((48, 32), np.float32)
    seen = []
    model = model_of(card)
    model.network.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, :, 0, 0].tolist()))
    CpuPredictor(build_inference_model(model), Scaling((0.0, 0.0), (1.0, 1.0)))(values.reshape(1, 2, 3, 48, 32), None)
    assert seen == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("spacing", [None, (0.5, 0.5), (0.504, 0.497)])
def test_no_resampling_within_one_percent(spacing):
    values = patches(1, (3, 48, 32), 1).astype(np.float32)
    plain = CpuPredictor(build_inference_model(VOLUMES), UNIT)(values, None)
    assert np.array_equal(CpuPredictor(build_inference_model(VOLUMES), UNIT, spacing)(values, None), plain)
    assert native_patch(CARD_3D, spacing) == ((48, 32), (24, 16))


def test_resampling_meets_the_model_and_comes_back():
    values = patches(1, (3, 24, 16), 1).astype(np.float32) / 100
    assert native_patch(CARD_3D, (1.0, 1.0)) == ((24, 16), (12, 8))
    scores = CpuPredictor(build_inference_model(VOLUMES), UNIT, native_spacing=(1.0, 1.0))(values, None)
    with torch.inference_mode():
        fine = functional.interpolate(torch.from_numpy(values[:, 0]), (48, 32), mode="bilinear")
        expected = functional.interpolate(VOLUMES.network(fine), (24, 16), mode="bilinear", antialias=True).numpy()
    np.testing.assert_allclose(scores[:, :, 0], expected, atol=1e-4)


@given(st.floats(0.05, 20), st.floats(0.05, 20))
def test_native_patch_covers_what_the_model_was_trained_on(height, width):
    (rows, columns), (down, right) = native_patch(CARD_3D, (height, width))
    assert rows == max(1, round(48 * 0.5 / height)) or abs(height / 0.5 - 1) <= 0.01
    assert 0 <= down < rows
    assert 0 <= right < columns


def test_a_patch_of_another_size_keeps_the_scale():
    values = patches(1, (3, 32, 20), 1).astype(np.float32) / 100
    scores = CpuPredictor(build_inference_model(VOLUMES), UNIT, native_spacing=(1.0, 0.5))(values, None)
    with torch.inference_mode():
        fine = functional.interpolate(torch.from_numpy(values[:, 0]), (64, 20), mode="bilinear")
        expected = functional.interpolate(VOLUMES.network(fine), (32, 20), mode="bilinear", antialias=True).numpy()
    np.testing.assert_allclose(scores[:, :, 0], expected, atol=1e-4)


def test_per_volume_normalisation_needs_its_numbers():
    with pytest.raises(ModelError, match="needs the offset and scale of each of its 1 channels"):
        Scaling.of(CARD_3D)
    assert Scaling.of(CARD_3D, InputStatistics((3.0,), (0.0,))) == Scaling((3.0,), (1.0,))
    rule = Normalization("window", (1.0, 2.0), (3.0, 4.0), (-5.0, -6.0), (6.0, 7.0))
    assert Scaling.of(replace(CARD_2D, normalization=rule)) == Scaling((1.0, 2.0), (3.0, 4.0), (-5.0, -6.0), (6.0, 7.0))


def test_scores_are_the_callers_to_change():
    predictor = predictor_2d()
    first = predictor(patches(1), None)
    kept = first.copy()
    first[:] = 0
    assert np.array_equal(predictor(patches(1), None), kept)


def test_a_device_that_is_not_there_is_refused():
    assert choose_device("cpu") == "cpu"
    assert choose_device(None) in ("cpu", "cuda")
    with pytest.raises(RequestError, match="not a device of torch"):
        choose_device("gpu")
    with pytest.raises(RequestError, match=r"torch can use \d+ GPUs here"):
        choose_device("cuda:99")


class TwoSided(torch.nn.Module):
    """A network that is sure of what it sees: the score of the organ is the value of the middle slice."""

    def forward(self, image):
        organ = image[:, 1:2]
        return torch.cat([1 - organ, organ], 1)


@pytest.mark.parametrize("radius", [12.0, 25.0])
def test_a_sphere_comes_back_from_a_coarser_spacing(radius):
    """Dice of a sphere in voxels of 0.7 mm, brought to 1.5 mm and back."""
    side = int(2.6 * radius / 0.7)
    z, y, x = np.meshgrid(*(0.7 * (np.arange(side) - side / 2.1),) * 3, indexing="ij")
    sphere = (x**2 + y**2 + z**2 < radius**2).astype(np.float32)
    card = replace(CARD_3D, spacing=(1.5, 1.5))
    network = replace(build_inference_model(model_of(card)), network=TwoSided())
    predictor = CpuPredictor(network, UNIT, (0.7, 0.7))
    below, above = sphere[[0, *range(side - 1)]], sphere[[*range(1, side), side - 1]]
    scores = predictor(np.stack([below, sphere, above], 1)[:, None], None)
    found = scores.argmax(1)[:, 0]
    dice = 2 * (found * sphere).sum() / (found.sum() + sphere.sum())
    assert 0.985 <= dice < 1
