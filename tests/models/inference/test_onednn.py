"""Convolutions that are computed with what follows them give what they give apart."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from pipeline.models.inference.device import fast_in_bf16
from pipeline.models.inference.numerics import Numerics
from pipeline.models.inference.onednn import FusedConv2d, FusedResidual, fuse
from pipeline.models.inference.runtime import build_inference_model
from pipeline.models.networks.folded import FoldedPSPNet
from pipeline.models.networks.inverted_residual import SameConv2d, WideDepthwise
from pipeline.models.spec import PSPNetSpec
from tests.support.model_cases import CARD_2D, model_of, network_of

pytestmark = pytest.mark.slow

in_bf16 = pytest.mark.skipif(not fast_in_bf16("cpu"), reason="on this processor, torch computes no fast bfloat16")
DTYPES = [torch.float32, pytest.param(torch.bfloat16, marks=in_bf16)]
R18 = PSPNetSpec("resnet18", 3, 4, ppm_channels=8, head_channels=8)
SPECS = {
    "basic blocks": R18,
    "bottlenecks": replace(R18, backbone="resnet50", stem="semseg"),
    "mobilenet": replace(R18, backbone="mobilenet_v2", output_stride=16),
    "lite": replace(R18, backbone="efficientnet_lite0"),
    "lite with decoder": replace(R18, backbone="efficientnet_lite0", output_stride=16, decoder_channels=(6, 5, 4)),
    "symmetric lite": replace(R18, backbone="efficientnet_lite2_symmetric"),
    "vgg": replace(R18, backbone="vgg16_bn", output_stride=16),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def count(network, kind):
    parts = network.backbone, network.first, network.decoder or nn.Identity()
    return sum(isinstance(each, kind) for part in parts for each in part.modules())


def prepared(values, dtype):
    return values.to(dtype, memory_format=torch.channels_last)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("size", [(96, 64), (65, 33)], ids=str)
@torch.inference_mode()
def test_a_fused_network_equals_the_network(spec, size):
    folded = prepared(FoldedPSPNet(network_of(spec)), torch.float32)
    fused, image = deepcopy(folded), prepared(torch.randn(2, 3, *size), torch.float32)
    fuse(fused)
    assert count(fused, FusedConv2d) == count(folded, nn.Conv2d)
    torch.testing.assert_close(fused(image), folded(image), atol=1e-5, rtol=1e-5)
    assert folded(image).std() > 1e-3


@in_bf16
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@torch.inference_mode()
def test_what_is_rounded_once_is_no_further_from_the_truth(spec):
    network, image = network_of(spec), torch.randn(1, 3, 128, 128)
    truth = FoldedPSPNet(network).coarse(image)
    folded = prepared(FoldedPSPNet(network), torch.bfloat16)
    apart = folded.coarse(prepared(image, torch.bfloat16))
    fuse(folded)
    together = folded.coarse(prepared(image, torch.bfloat16))
    assert (together - truth).abs().mean() <= 1.1 * (apart - truth).abs().mean()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("activation", [None, nn.ReLU(), nn.ReLU6()], ids=str)
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "groups"), [(1, 1, 1, 1), (3, 2, 1, 1), (3, 1, 2, 1), (5, 1, 1, 16), (3, 2, 1, 16)]
)
@torch.inference_mode()
def test_an_activation_changes_no_bit(dtype, activation, kernel, stride, dilation, groups):
    plain = nn.Conv2d(16, 16, kernel, stride, dilation * (kernel // 2), dilation, groups)
    plain, image = prepared(plain, dtype), prepared(4 * torch.randn(2, 16, 37, 41), dtype)
    expected = plain(image) if activation is None else activation(plain(image))
    made = FusedConv2d(plain, activation)(image)
    if dtype == torch.bfloat16:
        assert torch.equal(made, expected)
    torch.testing.assert_close(made, expected)
    assert made.dtype == dtype


@in_bf16
@pytest.mark.parametrize(("kernel", "groups"), [(3, 32), (5, 32), (3, 1)])
@pytest.mark.parametrize("size", [(64, 48), (33, 65), (34, 65), (8, 7)], ids=str)
@torch.inference_mode()
def test_zeros_of_tensorflow_change_no_bit(kernel, groups, size):
    same = prepared(SameConv2d(32, 32, kernel, 2, 0, 1, groups), torch.bfloat16)
    image = prepared(torch.randn(1, 32, *size), torch.bfloat16)
    padded = nn.functional.conv2d(same.padded(image), same.weight, same.bias, 2, 0, 1, groups)
    assert torch.equal(FusedConv2d(same)(image), padded)


@in_bf16
@pytest.mark.parametrize("size", [(64, 48), (33, 65), (8, 7)], ids=str)
@torch.inference_mode()
def test_wide_taps_change_no_bit(size):
    wide = prepared(WideDepthwise(32, 32, 5, 1, 8, 4, 32), torch.bfloat16)
    image = prepared(torch.randn(1, 32, *size), torch.bfloat16)
    assert torch.equal(FusedConv2d(wide, nn.ReLU6())(image), nn.functional.relu6(wide(image)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@torch.inference_mode()
def test_a_shortcut_is_added_before_the_rounding(dtype):
    plain = prepared(nn.Conv2d(16, 16, 3, padding=1), dtype)
    image = prepared(torch.randn(1, 16, 20, 24), dtype)
    exact = nn.functional.conv2d(image.double(), plain.weight.double(), plain.bias.double(), padding=1)
    for activation, expected in ((None, exact + image), (nn.ReLU(), (exact + image).relu())):
        made = FusedResidual([FusedConv2d(plain, activation)], nn.Identity())(image)
        torch.testing.assert_close(made, expected.to(dtype), atol=1e-5, rtol=2**-8)


@in_bf16
@torch.inference_mode()
def test_bits_depend_on_no_neighbour_and_on_no_thread():
    folded = prepared(FoldedPSPNet(network_of(SPECS["lite with decoder"])), torch.bfloat16)
    fuse(folded)
    images = prepared(torch.randn(3, 3, 96, 96), torch.bfloat16)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = folded.trunk(images)
        torch.set_num_threads(2)
        for at in range(3):
            for made, whole in zip(folded.trunk(images[at : at + 1]), expected, strict=True):
                assert torch.equal(made[0], whole[at])
    finally:
        torch.set_num_threads(before)


@in_bf16
def test_runs_in_bfloat16_are_fused():
    image = torch.randn(1, len(CARD_2D.channels), 64, 64)
    model = model_of(CARD_2D)
    numerics = Numerics(precision="bfloat16", fused=True)
    with torch.inference_mode():
        folded = prepared(FoldedPSPNet(model.network), torch.bfloat16)
        apart = folded(prepared(image, torch.bfloat16))
        fuse(folded)
        together = folded(prepared(image, torch.bfloat16))
        assert not torch.equal(apart, together)
        assert torch.equal(build_inference_model(model, numerics).network(image), together)
