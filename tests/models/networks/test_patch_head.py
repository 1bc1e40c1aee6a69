"""The head by products along rows and columns, against the head of the folded network, in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.models.networks.folded import FoldedPSPNet
from pipeline.models.networks.patch_head import PatchHead
from pipeline.models.spec import PSPNetSpec
from tests.support.model_cases import network_of, shallow

PLAIN = shallow(PSPNetSpec("resnet18", 2, 3, ppm_channels=4, head_channels=8))
SPECS = {
    "plain": PLAIN,
    "corners": replace(PLAIN, align_corners=True),
    "smp": replace(PLAIN, head="smp", align_corners=True),
    "bins": replace(PLAIN, bins=(1, 3, 8)),
    "decoder": replace(PLAIN, decoder_channels=(6, 5), align_corners=True),
    "decoder to 2": replace(PLAIN, backbone="efficientnet_lite0", decoder_channels=(6, 5, 4)),
    "coarse, with a decoder": replace(PLAIN, decoder_channels=(6, 5), truncated=False, output_stride=32),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_it_gives_what_the_folded_head_gives(spec):
    folded = FoldedPSPNet(network_of(spec).double())
    head, generator = PatchHead(folded), torch.Generator().manual_seed(0)
    channels = folded.first.in_channels
    for size in ((12, 12), (7, 13), (4, 1), (32, 24)):
        features = torch.randn(2, channels, 40, 40, generator=generator, dtype=torch.float64)
        stride = {0: spec.output_stride, 2: 4, 3: 2}[len(spec.decoder_channels or ())]
        cells = spec.classes * (spec.output_stride // stride) ** 2 if spec.decoder_channels else 0
        direct = torch.randn(2, 8 + cells, 40, 40, generator=generator, dtype=torch.float64)
        cut = (slice(None), slice(None), slice(3, 3 + size[0]), slice(5, 5 + size[1]))
        for layout in (torch.contiguous_format, torch.channels_last):
            parts = (features.to(memory_format=layout)[cut], direct.to(memory_format=layout)[cut])
            expected = folded.head(*parts)
            assert expected.std() > 1e-3
            torch.testing.assert_close(head(*parts), expected, atol=1e-9, rtol=0)


def test_averages_are_sums_over_any_parts():
    folded = FoldedPSPNet(network_of(PLAIN).double())
    head, features = PatchHead(folded), torch.rand(1, folded.first.in_channels, 13, 9, dtype=torch.float64)
    rows, columns = ([slice(0, 2), slice(2, 11), slice(11, 13)], [slice(0, 5), slice(5, 9)])
    parts = [head.pooled(features[..., down, along], [(13, down), (9, along)]) for down in rows for along in columns]
    torch.testing.assert_close(sum(parts), head.pooled(features), atol=1e-9, rtol=0)


@torch.inference_mode()
def test_scores_are_float32_whatever_it_computes_in():
    folded = FoldedPSPNet(network_of(PLAIN))
    features, direct = torch.rand(1, folded.first.in_channels, 12, 12), torch.rand(1, 8, 12, 12)
    expected = folded.head(features, direct)
    half = PatchHead(folded.to(torch.bfloat16))(features.bfloat16(), direct.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, atol=0.1 * float(expected.std()), rtol=0.05)
