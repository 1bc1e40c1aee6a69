"""The folded network computes what the network computes."""

from __future__ import annotations

from dataclasses import replace
from weakref import ref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pipeline.models.networks.folded import FoldedPSPNet, level_basis
from pipeline.models.spec import PSPNetSpec
from tests.support.model_cases import network_of

pytestmark = pytest.mark.slow

R18 = PSPNetSpec("resnet18", 3, 4, ppm_channels=8, head_channels=8)
SPECS = {
    "mmseg": R18,
    "align": replace(R18, align_corners=True, stem="semseg", dilation="full"),
    "bottleneck": replace(R18, backbone="resnet50", bins=(1, 2, 4), auxiliary=True),
    "smp": replace(R18, head="smp", truncated=True, align_corners=True),
    "mobilenet": replace(R18, backbone="mobilenet_v2"),
    "lite": replace(R18, backbone="efficientnet_lite0"),
    "symmetric lite": replace(R18, backbone="efficientnet_lite2_symmetric", output_stride=16),
    "vgg": replace(R18, backbone="vgg16_bn", output_stride=16),
    "decoder": replace(R18, output_stride=32, decoder_channels=(6, 5)),
    "lite with decoder": replace(R18, backbone="efficientnet_lite0", decoder_channels=(6, 5), align_corners=True),
    "decoder to 2": replace(R18, backbone="mobilenet_v2", output_stride=16, decoder_channels=(6, 5, 4)),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("size", [(96, 48), (65, 33), (16, 16)], ids=str)
@torch.inference_mode()
def test_equals_the_network_to_the_last_digits(spec, size):
    network = network_of(spec).double()
    image = torch.randn(1, 3, *size, dtype=torch.float64)
    expected = network(image)
    assert expected.std() > 1e-3
    torch.testing.assert_close(FoldedPSPNet(network)(image), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("name", "kept"), [("mmseg", [3]), ("decoder", [1, 2])])
@torch.inference_mode()
def test_features_are_kept_no_longer_than_they_are_needed(name, kept):
    """Those of the first layers are the largest."""
    folded = FoldedPSPNet(network_of(SPECS[name]))
    made, alive = [], []
    for layer in folded.backbone:
        layer.register_forward_hook(lambda _, __, features: made.append(ref(features)))
    reader = folded.backbone[-1] if folded.decoder is None else folded.decoder
    reader.register_forward_pre_hook(
        lambda _, __: alive.extend(number for number, one in enumerate(made[:4]) if one() is not None)
    )
    folded.coarse(torch.randn(1, 3, 64, 96))
    assert alive == kept


@pytest.mark.parametrize("spec", [SPECS["mmseg"], SPECS["decoder"], SPECS["decoder to 2"]], ids=str)
@torch.inference_mode()
def test_the_spec_knows_how_much_is_shared(spec):
    folded = FoldedPSPNet(network_of(spec))
    features, direct = folded.trunk(torch.randn(1, 3, 64, 96))
    assert direct.shape[1] == spec.direct_channels
    scores = folded.head(features, direct)
    assert scores[0, 0].numel() == features[0, 0].numel() * spec.scores_per_cell


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.lists(st.integers(1, 7), min_size=1, max_size=3, unique=True).map(tuple),
    st.sampled_from([1, 3]),
    st.booleans(),
)
def test_basis_is_the_convolution_of_the_resized_levels(size, bins, kernel, align_corners):
    generator = torch.Generator().manual_seed(0)
    cells = [torch.randn(1, 5, side, side, dtype=torch.float64, generator=generator) for side in bins]
    filters = [torch.randn(3, 5, kernel, kernel, dtype=torch.float64, generator=generator) for _ in bins]
    expected = sum(
        functional.conv2d(
            functional.interpolate(level, size, mode="bilinear", align_corners=align_corners),
            weight,
            padding=kernel // 2,
        )
        for level, weight in zip(cells, filters, strict=True)
    )
    products = [
        torch.einsum("oikl,ic->oklc", weight, level[0].flatten(1)).reshape(3, -1)
        for level, weight in zip(cells, filters, strict=True)
    ]
    found = torch.cat(products, 1) @ level_basis(bins, size, kernel, align_corners=align_corners)
    torch.testing.assert_close(found.view(3, *size), expected[0], atol=1e-10, rtol=0)


@torch.inference_mode()
def test_levels_are_pooled_from_the_finest_only_where_they_tile():
    folded = FoldedPSPNet(network_of(R18).double())
    for height, width in [(12, 6), (12, 8), (7, 12), (3, 3)]:
        features = torch.randn(1, 5, height, width, dtype=torch.float64)
        for pooled, side in zip(folded._pool(features), R18.bins, strict=True):
            expected = functional.adaptive_avg_pool2d(features, side)
            torch.testing.assert_close(pooled, expected, atol=1e-12, rtol=0)


@torch.inference_mode()
def test_the_network_itself_is_left_alone():
    network = network_of(R18)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = FoldedPSPNet(network)
    folded(torch.randn(1, 3, 32, 32))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())


@torch.inference_mode()
def test_sizes_and_types_may_follow_each_other():
    network = network_of(R18)
    folded = FoldedPSPNet(network)
    for size in (32, 40, 32):
        image = torch.randn(1, 3, size, size)
        torch.testing.assert_close(folded(image), network(image), atol=1e-4, rtol=1e-4)
    half = folded.bfloat16()(image.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, network(image), atol=0.05 * float(half.std()), rtol=0.05)
