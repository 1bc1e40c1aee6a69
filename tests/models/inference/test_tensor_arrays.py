"""Blending and deciding on a device gives the bytes that NumPy gives; a GPU itself is checked where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.engine.arrays import HOST
from pipeline.geometry import Box, Cut, Lattice
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.gpu import (
    METAL_BATCH,
    GpuPredictor,
    Upload,
    largest_batch,
    measure_batch,
    scaled_on_device,
)
from pipeline.models.inference.numerics import Numerics
from pipeline.models.inference.runtime import InferenceModel, _Cast, _without_pooling, build_inference_model
from pipeline.models.inference.shared import SharedPredictor
from pipeline.models.inference.tensor_arrays import TensorArrays
from pipeline.models.inference.tta import NO_AUGMENTATION
from pipeline.models.inference.units import units_of
from pipeline.models.networks.folded import FoldedPSPNet
from tests.support.fakes import ArraySource, Identity, swept
from tests.support.model_cases import CARD_2D, CARD_3D, model_of

CPU = TensorArrays(torch.device("cpu"))
SCALING = Scaling.of(CARD_2D)
SCENES = build_inference_model(model_of(CARD_2D))
DEVICES = [
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")),
    pytest.param("mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs a Metal GPU")),
]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


class OnDevice(Identity):
    """The identity network with its scores as tensors."""

    arrays = CPU

    def __call__(self, values, valid):
        return torch.from_numpy(super().__call__(values, valid))


@settings(max_examples=20, deadline=None)
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


@settings(max_examples=12)
@given(st_np.arrays(np.float32, (2, 3, 4), elements=st.sampled_from([0, 1, np.inf, -np.inf, np.nan, 3e38])))
def test_finite_is_what_numpy_says(scores):
    assert CPU.finite(torch.from_numpy(scores)) == np.isfinite(scores).all() == HOST.finite(scores)


class WithoutDouble(TorchDispatchMode):
    """Refuses what a Metal GPU has not: numbers of 64 bits that are no whole ones, and unsigned ones of 16 or 32."""

    LACKING = frozenset({torch.float64, torch.uint16, torch.uint32, torch.uint64})

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        tensors = [x for x in pytree.tree_leaves(found) if isinstance(x, torch.Tensor)]
        assert not self.LACKING & {x.dtype for x in tensors}, func
        assert not ("adaptive_avg_pool2d" in func.name() and args[0].shape[-1] % args[1][-1]), func
        return found


def test_blending_and_deciding_need_no_numbers_of_64_bits():
    scores = np.random.default_rng(0).random((2, 3, 5, 4), np.float32)
    with WithoutDouble():
        here = CPU.empty((3, 5, 4))
        CPU.multiply(torch.from_numpy(scores[0]), CPU.to_device(scores[0, 0]), here)
        CPU.argmax(here, np.empty((5, 4), np.uint8))
        CPU.argmax(here, np.empty((5, 4), np.uint16))
        assert CPU.finite(CPU.copy(here))
        CPU.with_squares(torch.from_numpy(scores))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float64])
def test_the_network_of_a_metal_gpu_needs_nothing_that_it_has_not(dtype):
    values = np.random.default_rng(0).integers(0, 256, (3, 2, 64, 48)).astype(dtype)
    folded = FoldedPSPNet(model_of(CARD_2D).network)
    network, halves = _without_pooling(_Cast(folded, torch.float32))
    predictor = GpuPredictor(InferenceModel(CARD_2D, Numerics(), network, halves), SCALING, batch=2)
    predictor(values, None)  # matrices are made on the host, once for each size
    upload = Upload(torch.device("cpu"))(values)
    with WithoutDouble(), torch.inference_mode(), halves.trunk(upload[:1]) as parts:
        network(scaled_on_device(upload, None, SCALING)[:1])
        halves.head(*parts)
    np.testing.assert_allclose(predictor(values, None), CpuPredictor(SCENES, SCALING)(values, None), atol=1e-5)


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


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_shares_features_as_the_host_does(device):
    """A patch that lies in one block, and one that is joined of two pieces."""
    values = patches(2).reshape(2, 2, 128, 48)[0]
    halves = [Box((start, 0), (start + 32, 48)) for start in (0, 32)]
    cuts = [Cut.whole(Box((0, 0), (64, 48))), *(Cut(half, half, (64, 48)) for half in halves)]
    found = []
    for numerics in (Numerics(), Numerics(device)):
        units = units_of(CARD_2D, None, NO_AUGMENTATION)
        shared = SharedPredictor(build_inference_model(model_of(CARD_2D), numerics), SCALING, units)
        pieces = shared.pieces(values, None, cuts)
        scores = [shared.scores(shared.joined(*both)) for both in (([pieces[0]], cuts[:1]), (pieces[1:], cuts[1:]))]
        found.append([shared.arrays.to_numpy(each) for each in scores])
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_computes_patches_as_the_host_does(device):
    where = torch.device(device)
    network = build_inference_model(model_of(CARD_2D), Numerics(device))
    predictor = GpuPredictor(network, SCALING, batch=measure_batch(network.network, (2, 64, 48), where))
    for dtype in (np.uint8, np.uint16, np.float64):
        values = patches(5).astype(dtype)
        found = predictor.arrays.to_numpy(predictor(values, None))
        np.testing.assert_allclose(found, CpuPredictor(SCENES, SCALING)(values, None), atol=1e-3)


def test_a_metal_gpu_has_a_batch_of_its_own():
    assert measure_batch(SCENES.network, (2, 64, 48), torch.device("mps")) == METAL_BATCH
