"""The network against a second, plain implementation written from the published tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from pipeline.models.pspnet import PSPNet
from pipeline.models.resnet import layer_plans
from pipeline.models.spec import PSPNetSpec
from tests.model_cases import network_of

R18 = PSPNetSpec("resnet18", 3, 4, ppm_channels=8, head_channels=8)
R50 = PSPNetSpec("resnet50", 3, 4, ppm_channels=8, head_channels=8)
SEMSEG = replace(R50, dilation="full", align_corners=True, stem="semseg")

# (stride, dilation of the first convolution that is dilated) of each block of layer2, layer3 and layer4 at stride 8.
BLOCKS_18 = (((1, 1),) * 2, ((2, 1), (1, 1)), ((1, 1), (1, 2)), ((1, 2), (1, 4)))
BLOCKS_50 = (((1, 1),) * 3, ((2, 1), *((1, 1),) * 3), ((1, 1), *((1, 2),) * 5), ((1, 2), (1, 4), (1, 4)))
BLOCKS_50_FULL = (*BLOCKS_50[:2], ((1, 2),) * 6, ((1, 4),) * 3)


def normalised(state, name, x):
    mean, var, weight, bias = (
        state[f"{name}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def block(state, name, x, stride, dilation):
    conv = {n: state[f"{name}.conv{n}.weight"] for n in (1, 2, 3) if f"{name}.conv{n}.weight" in state}
    if len(conv) == 2:
        y = normalised(
            state, f"{name}.bn1", F.conv2d(x, conv[1], stride=stride, padding=dilation, dilation=dilation)
        ).relu()
        y = normalised(state, f"{name}.bn2", F.conv2d(y, conv[2], padding=1))
    else:
        y = normalised(state, f"{name}.bn1", F.conv2d(x, conv[1])).relu()
        y = F.conv2d(y, conv[2], stride=stride, padding=dilation, dilation=dilation)
        y = normalised(state, f"{name}.bn3", F.conv2d(normalised(state, f"{name}.bn2", y).relu(), conv[3]))
    if f"{name}.downsample.0.weight" in state:
        x = normalised(state, f"{name}.downsample.1", F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride))
    return (x + y).relu()


def plain_pspnet(state, image, blocks, *, align, aux=False):
    x = image
    for index, convolution in enumerate(name for name in state if name.startswith("stem.") and state[name].ndim == 4):
        kernel = state[convolution]
        x = F.conv2d(x, kernel, stride=2 if index == 0 else 1, padding=kernel.shape[-1] // 2)
        x = normalised(state, f"stem.{3 * index + 1}", x).relu()
    x = F.max_pool2d(x, 3, 2, 1)
    for layer, plans in enumerate(blocks, 1):
        for index, (stride, dilation) in enumerate(plans):
            x = block(state, f"layer{layer}.{index}", x, stride, dilation)
        if layer == 3 and aux:
            return head(state, "aux", x, image, align)
    parts = [x]
    for index, side in enumerate((1, 2, 3, 6)):
        pooled = F.conv2d(F.adaptive_avg_pool2d(x, side), state[f"ppm.{index}.1.weight"])
        pooled = normalised(state, f"ppm.{index}.2", pooled).relu()
        parts.append(F.interpolate(pooled, x.shape[2:], mode="bilinear", align_corners=align))
    return head(state, "head", torch.cat(parts, 1), image, align)


def head(state, name, x, image, align):
    x = normalised(state, f"{name}.1", F.conv2d(x, state[f"{name}.0.weight"], padding=1)).relu()
    x = F.conv2d(x, state[f"{name}.4.weight"], state[f"{name}.4.bias"])
    return F.interpolate(x, image.shape[2:], mode="bilinear", align_corners=align)


@pytest.mark.parametrize(
    ("spec", "blocks"), [(R18, BLOCKS_18), (R50, BLOCKS_50), (SEMSEG, BLOCKS_50_FULL)], ids=["R18", "R50", "semseg"]
)
@torch.inference_mode()
def test_forward_equals_the_plain_network(spec, blocks):
    network = network_of(spec)
    image = torch.randn(1, 3, 65, 81)
    expected = plain_pspnet(network.state_dict(), image, blocks, align=spec.align_corners)
    torch.testing.assert_close(network(image), expected, atol=2e-5, rtol=2e-5)


@torch.no_grad()
def test_auxiliary_head_reads_layer3_and_answers_in_training_only():
    network = network_of(replace(R18, auxiliary=True))
    image = torch.randn(2, 3, 49, 49)
    assert network(image).shape == (2, 4, 49, 49)
    network.training = True
    _, auxiliary = network(image)
    expected = plain_pspnet(network.state_dict(), image, BLOCKS_18, align=False, aux=True)
    network.aux.eval()
    torch.testing.assert_close(auxiliary, expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        (
            PSPNetSpec("resnet18", 5, 7, stem="v1c", auxiliary=True),
            {
                "stem.0.weight": (32, 5, 3, 3),
                "stem.3.weight": (32, 32, 3, 3),
                "stem.6.weight": (64, 32, 3, 3),
                "stem.7.running_var": (64,),
                "layer1.0.conv1.weight": (64, 64, 3, 3),
                "layer2.0.downsample.0.weight": (128, 64, 1, 1),
                "layer4.1.bn2.bias": (512,),
                "ppm.0.1.weight": (128, 512, 1, 1),
                "ppm.3.2.weight": (128,),
                "head.0.weight": (128, 1024, 3, 3),
                "head.1.weight": (128,),
                "head.4.weight": (7, 128, 1, 1),
                "aux.0.weight": (64, 256, 3, 3),
                "aux.4.bias": (7,),
            },
        ),
        (
            replace(SEMSEG, ppm_channels=512, head_channels=512, auxiliary=True),
            {
                "stem.6.weight": (128, 64, 3, 3),
                "layer1.0.conv1.weight": (64, 128, 1, 1),
                "layer1.0.downsample.0.weight": (256, 128, 1, 1),
                "ppm.2.1.weight": (512, 2048, 1, 1),
                "head.0.weight": (512, 4096, 3, 3),
                "head.4.weight": (4, 512, 1, 1),
                "aux.0.weight": (256, 1024, 3, 3),
            },
        ),
    ],
    ids=["mmseg-R18", "semseg-R50"],
)
def test_names_and_shapes_of_the_weights(spec, shapes):
    with torch.device("meta"):
        state = PSPNet(spec).state_dict()
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


SIZES = [("resnet18", 128, 120, 12.6), ("resnet50", 512, 318, 46.6), ("mobilenet_v2", 512, 306, 13.4)]


@pytest.mark.parametrize(("backbone", "channels", "tensors", "parameters"), SIZES)
def test_size_is_the_published_one(backbone, channels, tensors, parameters):
    with torch.device("meta"):
        network = PSPNet(PSPNetSpec(backbone, 3, 21, ppm_channels=channels, head_channels=channels))
    backbone = [name for name in network.state_dict() if name.startswith(("stem", "layer"))]
    assert len(backbone) == tensors
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(parameters, abs=0.1)


@pytest.mark.parametrize("stride", [8, 16, 32])
@torch.inference_mode()
def test_output_stride_at_odd_sizes(stride):
    network = network_of(replace(R18, output_stride=stride))
    seen = []
    network.layer4.register_forward_hook(lambda *args: seen.append(args[2].shape[2:]))
    assert network(torch.randn(1, 3, 97, 61)).shape == (1, 4, 97, 61)
    assert seen == [(-(-97 // stride), -(-61 // stride))]


def test_dilation_policies():
    both = PSPNet(replace(R18, dilation="full", basic_dilation="both"))
    assert [b.conv1.dilation[0] for b in both.layer4] == [b.conv2.dilation[0] for b in both.layer4] == [4, 4]
    assert [b.conv2.dilation[0] for b in PSPNet(R18).layer4] == [1, 1]
    assert [plan.stride for plan in layer_plans(replace(R18, output_stride=16))] == [1, 2, 2, 1]
    assert layer_plans(replace(R18, output_stride=16))[3][3:] == (1, 2)
    assert layer_plans(replace(R18, output_stride=32))[3] == (512, 2, 2, 1, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backbone": "vgg16_bn", "stem": "v1c"}, "has its own"),
        ({"backbone": "vgg16_bn", "output_stride": 32}, "strides"),
        ({"bins": ()}, "bins"),
        ({"classes": 0}, "at least 1"),
    ],
)
def test_impossible_specs_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(R18, **change)
