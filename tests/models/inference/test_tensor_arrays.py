"""Blending and deciding on a device gives the bytes that NumPy gives; a GPU itself is checked where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from pipeline.engine.arrays import HOST
from pipeline.geometry import Lattice
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.gpu import GpuPredictor, largest_batch, scaled_on_device
from pipeline.models.inference.numerics import Numerics
from pipeline.models.inference.runtime import InferenceModel, build_inference_model
from pipeline.models.inference.tensor_arrays import TensorArrays
from tests.support.fakes import ArraySource, Identity, swept
from tests.support.model_cases import CARD_2D, CARD_3D, model_of

CPU = TensorArrays(torch.device("cpu"))
SCALING = Scaling.of(CARD_2D)
SCENES = build_inference_model(model_of(CARD_2D))
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


class OnDevice(Identity):
    """The identity network with its scores as tensors."""

    arrays = CPU

    def __call__(self, values, valid):
        return torch.from_numpy(super().__call__(values, valid))


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    patch=st.integers(1, 12),
    data=st.data(),
    labels=st.booleans(),
)
def test_sums_and_labels_are_those_of_numpy(shape, patch, data, labels):
    overlap = data.draw(st.integers(0, patch - 1))
    values = np.random.default_rng(0).integers(0, 4, (3, *shape)).astype(np.float32)
    lattice = Lattice(shape, (patch, patch), (overlap, overlap), (0, 0))
    here, there = (
        swept(ArraySource(values), network(3, (0, 0)), lattice, height=8, labels=labels)
        for network in (Identity, OnDevice)
    )
    assert here.tobytes() == there.tobytes()


@given(st_np.arrays(np.float32, (2, 5, 3, 4), elements=st.floats(-9, 9, width=32)))
def test_squares_are_those_of_numpy(scores):
    assert HOST.with_squares(scores).tobytes() == CPU.with_squares(torch.from_numpy(scores)).numpy().tobytes()
    np.testing.assert_allclose(HOST.with_squares(scores)[:, -1], np.square(scores).sum(1), rtol=1e-5)


@given(
    values=st_np.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]), (2, 2, 3, 4), elements=None
    ),
    valid=st.none() | st_np.arrays(np.bool_, (2, 3, 4)),
    window=st.none() | st.just(((-50.0, 0.0), (300.0, 9.0))),
)
def test_scaling_is_that_of_numpy(values, valid, window):
    scaling = Scaling((10.0, 3.0), (4.0, 0.3), *(window or ((), ())))
    with np.errstate(all="ignore"):
        expected = scaling(values, valid)
    found = scaled_on_device(
        torch.from_numpy(values), None if valid is None else torch.from_numpy(valid), scaling
    ).numpy()
    np.testing.assert_array_equal(found, expected)


def patches(count):
    return np.random.default_rng(0).integers(0, 256, (count, 2, 64, 48)).astype(np.uint8)


def test_a_batch_is_filled_up_and_cut_again():
    seen = []

    def network(image):
        seen.append(len(image))
        return SCENES.network(image)

    predictor = GpuPredictor(InferenceModel(CARD_2D, Numerics(), network), SCALING, batch=4)
    scores = predictor(patches(6), None)
    assert seen == [4, 4]
    np.testing.assert_allclose(scores.numpy(), CpuPredictor(SCENES, SCALING)(patches(6), None), atol=1e-5)


def test_a_batch_that_does_not_fit_is_halved_and_remembered():
    seen = []

    def network(image):
        seen.append(len(image))
        if len(image) > 2:
            raise torch.OutOfMemoryError("no room")
        return SCENES.network(image)

    predictor = GpuPredictor(InferenceModel(CARD_2D, Numerics(), network), SCALING, batch=8)
    for _ in range(2):
        assert predictor(patches(3), None).shape == (3, 3, 64, 48)
    assert seen == [8, 4, 2, 2, 2, 2]


def test_one_patch_that_does_not_fit_is_an_error():
    def network(image):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        GpuPredictor(InferenceModel(CARD_2D, Numerics(), network), SCALING, batch=2)(patches(1), None)


def test_volumes_have_their_axis_back():
    scaling = Scaling((0.0,), (1.0,))
    values = np.random.default_rng(0).random((2, 1, 3, 48, 32), np.float32)
    network = build_inference_model(model_of(CARD_3D))
    expected = CpuPredictor(network, scaling)(values, None)
    found = GpuPredictor(network, scaling, batch=2)(values, None)
    assert found.shape == expected.shape == (2, 2, 1, 48, 32)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("free", "each", "batch"), [(100, 10, 4), (100, 200, 1), (0, 10, 1), (1 << 40, 1, 64), (107, 8, 8)]
)
def test_a_batch_is_a_power_of_two_that_fits(free, each, batch):
    assert largest_batch(free, each) == batch


@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_gives_the_same_bytes_for_any_batch_of_one_size(precision):
    network = build_inference_model(model_of(CARD_2D), Numerics("cuda", precision))
    predictor = GpuPredictor(network, SCALING, batch=4)
    whole = predictor(patches(6), None).cpu().numpy()
    for order in ([5, 0, 3], [2], [0, 1, 2, 3, 4, 5]):
        assert predictor(patches(6)[order], None).cpu().numpy().tobytes() == whole[order].tobytes()
    expected = CpuPredictor(SCENES, SCALING)(patches(6), None)
    np.testing.assert_allclose(whole, expected, atol=1e-3 if precision == "float32" else 0.05)


@needs_gpu
def test_a_gpu_blends_and_decides_as_the_host_does():
    arrays = TensorArrays(torch.device("cuda"))

    class There(Identity):
        def __call__(self, values, valid):
            return torch.from_numpy(super().__call__(values, valid)).cuda()

    There.arrays = arrays
    values = np.random.default_rng(0).random((3, 90, 70)).astype(np.float32)
    lattice = Lattice((90, 70), (32, 32), (20, 20), (0, 0))
    here, there = (
        swept(ArraySource(values), network(3, (0, 0)), lattice, height=8, labels=True) for network in (Identity, There)
    )
    assert here.tobytes() == there.tobytes()
