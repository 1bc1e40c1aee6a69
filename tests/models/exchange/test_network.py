"""A network in an ONNX file is a network like any other: logits at the size of its images, the same in any call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from pipeline.models.exchange.graph import read_graph
from pipeline.models.exchange.network import ONNXNetwork, logits_of
from pipeline.models.spec import ONNXSpec
from tests.support.onnx_files import node, put_convolution, put_network

SPEC = ONNXSpec(
    family="onnx",
    in_channels=3,
    classes=3,
    input="x",
    output="y",
    layout="channels_first",
    output_layout="channels_first",
    scores="logits",
    threshold=None,
    output_stride=1,
    align_corners=False,
    size=None,
    multiple=1,
    batch=None,
)
IMAGE = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def planes(path, image=IMAGE):
    """What ONNX Runtime gives by default."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"x": image.numpy()})[0])


def test_logits_are_what_the_file_gives(tmp_path):
    file = put_convolution(tmp_path / "net.onnx")
    torch.testing.assert_close(ONNXNetwork(SPEC, read_graph(file))(IMAGE), planes(file), atol=1e-6, rtol=0)


def test_probabilities_come_back_out_of_the_softmax(tmp_path):
    file = put_convolution(tmp_path / "net.onnx", then="Softmax")
    found = ONNXNetwork(replace(SPEC, scores="probabilities"), read_graph(file))(IMAGE).softmax(1)
    torch.testing.assert_close(found, planes(file), atol=1e-6, rtol=0)


def test_probabilities_of_0_and_1_stay_finite():
    certain = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    found = logits_of(certain, replace(SPEC, scores="probabilities"), (1, 1))
    assert found.isfinite().all()
    torch.testing.assert_close(found.softmax(1), certain)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("scores", ["logits", "probabilities"])
def test_one_plane_is_class_1_where_its_probability_is_above_the_threshold(scores, threshold):
    probability = torch.linspace(0, 1, 101).view(1, 1, 1, 101)
    plane = probability if scores == "probabilities" else probability.logit()
    spec = replace(SPEC, classes=2, scores=scores, threshold=threshold)
    found = logits_of(plane, spec, (1, 101)).argmax(1)
    unclear = (probability[:, 0] - threshold).abs() < 1e-6
    assert torch.equal(found[~unclear], (probability[:, 0] > threshold)[~unclear].long())


def test_labels_become_sure_scores_of_the_nearest_cell():
    labels = torch.tensor([[[[0, 2], [1, 9]]]])
    found = logits_of(labels, replace(SPEC, scores="labels", output_stride=2), (4, 4))
    shares = found.softmax(1)
    assert torch.equal(shares[0, 2, :2, 2:], torch.ones(2, 2))
    assert torch.equal(shares[0].argmax(0)[:, 0], torch.tensor([0, 0, 1, 1]))
    torch.testing.assert_close(shares[0, :, 3, 3], torch.full((3,), 1 / 3))


@pytest.mark.parametrize("align_corners", [False, True])
def test_smaller_scores_are_resized_bilinearly(tmp_path, align_corners):
    file = put_convolution(tmp_path / "net.onnx", stride=4)
    spec = replace(SPEC, output_stride=4, align_corners=align_corners)
    coarse = planes(file)
    assert coarse.shape[2:] == (4, 6)
    expected = torch.nn.functional.interpolate(coarse, (16, 24), mode="bilinear", align_corners=align_corners)
    torch.testing.assert_close(ONNXNetwork(spec, read_graph(file))(IMAGE), expected, atol=1e-6, rtol=0)


def test_channels_last_are_turned(tmp_path):
    file = put_convolution(tmp_path / "net.onnx")
    weights = {"w": np.random.default_rng(0).standard_normal((3, 3, 3, 3)).astype(np.float32) / 5}
    nodes = [
        node("Transpose", "x", "first", perm=[0, 3, 1, 2]),
        node("Conv", "first w", "c", pads=[1, 1, 1, 1]),
        node("Transpose", "c", "y", perm=[0, 2, 3, 1]),
    ]
    last = put_network(tmp_path / "last.onnx", nodes, weights, shape=["n", "h", "w", 3])
    spec = replace(SPEC, layout="channels_last", output_layout="channels_last")
    torch.testing.assert_close(ONNXNetwork(spec, read_graph(last))(IMAGE), planes(file), atol=1e-6, rtol=0)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_met(tmp_path, batch):
    file = put_convolution(tmp_path / "net.onnx")
    fixed = put_convolution(tmp_path / "fixed.onnx", shape=(batch, 3, "h", "w"))
    found = ONNXNetwork(replace(SPEC, batch=batch), read_graph(fixed))(IMAGE)
    torch.testing.assert_close(found, planes(file), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8])
def test_images_are_given_in_the_type_of_the_input(tmp_path, kind):
    image = (IMAGE * 30 + 128).round().clamp(0, 255)
    nodes = [node("Cast", "x", "f", to=TensorProto.FLOAT), node("Neg", "f", "y")]
    file = put_network(tmp_path / "net.onnx", nodes, kind=kind)
    assert torch.equal(ONNXNetwork(SPEC, read_graph(file))(image), -image)


def test_bytes_are_the_same_in_any_thread_and_session(tmp_path):
    """Wide enough that ONNX Runtime would share the work among threads, if it were let."""
    file = put_convolution(tmp_path / "net.onnx", planes=64)
    images = [torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    spec = replace(SPEC, classes=64)
    first, second = (ONNXNetwork(spec, read_graph(file)) for _ in range(2))
    alone = [first(image).numpy().tobytes() for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda image: second(image).numpy().tobytes(), images * 3)) == alone * 3
