"""PSPNets as plain functions of a state dict, which read the names of the projects that published the weights.

A second opinion on the networks and on the importer: written from the published tables in `torch.nn.functional`,
without anything of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

State = Mapping[str, Tensor]
Pairs = Sequence[tuple[str, str]]
"""Names of convolutions, each with that of its batch norm."""
BINS = (1, 2, 3, 6)


class Heads(NamedTuple):
    """What a project calls the parts behind the backbone."""

    level: tuple[str, str]
    """Convolution and batch norm of a pooled level."""
    head: tuple[str, str, str]
    """Convolution, batch norm and last convolution."""
    aux: tuple[str, str, str] = ("", "", "")


class Rule(NamedTuple):
    """Strides and dilations of the layers of a backbone."""

    strides: tuple[int, ...]
    """Of the first block of each layer."""
    starts: tuple[int, ...]
    """Dilation of the first block of each layer."""
    rest: tuple[int, ...]
    """Dilation of its other blocks."""
    second: str = "none"
    """Second convolution of a basic block: "none", dilated as the "first", or as the "rest" of the layer."""

    def block(self, layer: int, index: int) -> tuple[int, int, int]:
        """Stride, dilation, and dilation of the second convolution of a basic block; both count from 0."""
        rest = self.rest[layer]
        first = self.starts[layer] if index == 0 else rest
        return self.strides[layer] if index == 0 else 1, first, {"none": 1, "first": first, "rest": rest}[self.second]


SEMSEG = Heads(("ppm.features.{}.1", "ppm.features.{}.2"), ("cls.0", "cls.1", "cls.4"), ("aux.0", "aux.1", "aux.4"))
MMSEG = Heads(
    ("decode_head.psp_modules.{}.1.conv", "decode_head.psp_modules.{}.1.bn"),
    ("decode_head.bottleneck.conv", "decode_head.bottleneck.bn", "decode_head.conv_seg"),
    ("auxiliary_head.convs.0.conv", "auxiliary_head.convs.0.bn", "auxiliary_head.conv_seg"),
)
SMP = Heads(
    ("decoder.psp.blocks.{}.pool.1.0", "decoder.psp.blocks.{}.pool.1.1"),
    ("decoder.conv.0", "decoder.conv.1", "segmentation_head.0"),
)

D32 = Rule((1, 2, 2, 2), (1, 1, 1, 1), (1, 1, 1, 1))
"""A ResNet as it was published."""
MMSEG_D8 = Rule((1, 2, 1, 1), (1, 1, 1, 2), (1, 1, 2, 4))
"""`contract_dilation` of mmseg; of bottlenecks also that of torchvision and timm."""
SEMSEG_D8 = MMSEG_D8._replace(starts=(1, 1, 2, 4))
SMP_D8 = SEMSEG_D8._replace(second="first")
"""`output_stride=8` of segmentation-models-pytorch."""
TIMM_D8 = MMSEG_D8._replace(second="rest")
"""`output_stride=8` of timm."""
MOBILENET_D32 = Rule((1, 2, 2, 2, 1, 2, 1), (1,) * 7, (1,) * 7)
MOBILENET_D8 = Rule((1, 2, 2, 1, 1, 1, 1), (1, 1, 1, 2, 2, 4, 4), (1,) * 7)
"""mmseg's: only the first block of a layer is dilated."""
LITE_D32 = MOBILENET_D32
LITE_D16 = Rule((1, 2, 2, 2, 1, 1, 1), (1, 1, 1, 1, 1, 1, 2), (1, 1, 1, 1, 1, 2, 2))
LITE_D8 = Rule((1, 2, 2, 1, 1, 1, 1), (1, 1, 1, 1, 2, 2, 4), (1, 1, 1, 2, 2, 4, 4))
"""timm's: the first block of a layer has the dilation of the layer before."""
VGG_POOLS = (6, 13, 23, 33)
"""Poolings among the `features` of VGG16 with batch norm, without the last."""


def semseg(state: State, image: Tensor, *, aux: bool = False) -> Tensor:
    """Scores of hszhao/semseg, or of its auxiliary head, at the size of the image."""
    layers = resnet(state, image, deep_stem("layer0"), "layer{}", SEMSEG_D8)
    return head(state, SEMSEG.aux, layers[2], image, True) if aux else scores(state, SEMSEG, layers[3], image, True)


def mmseg_resnet(
    state: State, image: Tensor, *, rule: Rule = MMSEG_D8, align: bool = False, aux: bool = False
) -> Tensor:
    """Scores of an mmsegmentation model, "v1c" or "b" by its names."""
    shallow = "backbone.conv1.weight" in state
    stem = [("backbone.conv1", "backbone.bn1")] if shallow else deep_stem("backbone.stem")
    layers = resnet(state, image, stem, "backbone.layer{}", rule)
    return head(state, MMSEG.aux, layers[2], image, align) if aux else scores(state, MMSEG, layers[3], image, align)


def mmseg_mobilenet(state: State, image: Tensor, *, align: bool = False, aux: bool = False) -> Tensor:
    """Scores of an mmsegmentation model with MobileNetV2-D8, or of its auxiliary head."""
    blocks = []
    for number in range(1, 8):
        layer = f"backbone.layer{number}"
        names = [f"{layer}.{index}.conv" for index in range(_count(state, layer))]
        blocks.append([[(f"{x}.{step}.conv", f"{x}.{step}.bn") for step in range(_count(state, x))] for x in names])
    stem = ("backbone.conv1.conv", "backbone.conv1.bn")
    layers = mobilenet(state, image, stem, blocks, MOBILENET_D8)
    return head(state, MMSEG.aux, layers[4], image, align) if aux else scores(state, MMSEG, layers[6], image, align)


def smp(state: State, image: Tensor, *, depth: int = 3, rule: Rule = D32) -> Tensor:
    """Scores of `smp.PSPNet` with `encoder_depth=depth` and an upsampling that gives the size of the image."""
    encoder = {name.removeprefix("encoder."): tensor for name, tensor in state.items() if name.startswith("encoder.")}
    if "conv1.weight" in encoder:
        x = resnet(encoder, image, [("conv1", "bn1")], "layer{}", rule)[depth - 2]
    elif "features.0.0.weight" in encoder:
        x = torchvision_mobilenet(encoder, image)[{3: 2, 4: 4}[depth]]
    elif "features.0.weight" in encoder:
        x = vgg(encoder, image, {3: 33, 4: 43}[depth])
    else:
        google = "model.conv_stem.weight" in encoder
        names = lite_of_timm(encoder, "model." if google else "")
        x = efficientnet_lite(encoder, image, names, LITE_D32, tensorflow=google)[{3: 2, 4: 4, 5: 6}[depth]]
    return smp_scores(state, SMP, x, image)


def two_planes(plane: Tensor) -> Tensor:
    """A sigmoid's one plane as the two of a softmax that gives the same probabilities."""
    return torch.cat([torch.zeros_like(plane), plane], 1)


def scores(state: State, names: Heads, x: Tensor, image: Tensor, align: bool) -> Tensor:
    """Pyramid and head of the paper: features, then levels; 3x3, then 1x1 convolution."""
    levels = []
    for index, side in enumerate(BINS):
        level = _convolved(state, names.level[0].format(index), F.adaptive_avg_pool2d(x, side))
        levels.append(_resized(_normalised(state, names.level[1].format(index), level).relu(), x, align))
    return head(state, names.head, torch.cat([x, *levels], 1), image, align)


def head(state: State, names: tuple[str, str, str], x: Tensor, image: Tensor, align: bool) -> Tensor:
    """A head, or an auxiliary one, at the size of the image."""
    x = _normalised(state, names[1], _convolved(state, names[0], x, padding=1)).relu()
    return _resized(_convolved(state, names[2], x), image, align)


def smp_scores(state: State, names: Heads, x: Tensor, image: Tensor) -> Tensor:
    """Pyramid and head of smp: levels, then features; the level of side 1 has no batch norm; 1x1, then 3x3."""
    levels = []
    for index, side in enumerate(BINS):
        level = _convolved(state, names.level[0].format(index), F.adaptive_avg_pool2d(x, side))
        level = level if side == 1 else _normalised(state, names.level[1].format(index), level)
        levels.append(_resized(level.relu(), x, True))
    y = _convolved(state, names.head[0], torch.cat([*levels, x], 1))
    y = _normalised(state, names.head[1], y).relu()
    return _resized(_convolved(state, names.head[2], y, padding=1), image, True)


def resnet(state: State, image: Tensor, stem: Pairs, layers: str, rule: Rule) -> list[Tensor]:
    """Outputs of the layers `layers.format(1)` and so on, as many as there are."""
    x = image
    for index, (convolution, norm) in enumerate(stem):
        padding = state[f"{convolution}.weight"].shape[-1] // 2
        x = _convolved(state, convolution, x, stride=1 if index else 2, padding=padding)
        x = _normalised(state, norm, x).relu()
    x = F.max_pool2d(x, 3, 2, 1)
    found = []
    for layer in range(4):
        name = layers.format(layer + 1)
        for index in range(_count(state, name)):
            x = _residual(state, f"{name}.{index}", x, *rule.block(layer, index))
        found.append(x)
    return found


def mobilenet(
    state: State, image: Tensor, stem: tuple[str, str], blocks: Sequence[Sequence[Pairs]], rule: Rule
) -> list[Tensor]:
    """Outputs of the layers of MobileNetV2; `blocks` has the convolutions of each block of each layer."""
    x = F.relu6(_normalised(state, stem[1], _convolved(state, stem[0], image, stride=2, padding=1)))
    found = []
    for layer, members in enumerate(blocks):
        for index, pairs in enumerate(members):
            stride, dilation, _ = rule.block(layer, index)
            x = _inverted(state, pairs, x, stride, dilation)
        found.append(x)
    return found


def torchvision_mobilenet(state: State, image: Tensor, rule: Rule = MOBILENET_D32) -> list[Tensor]:
    """Outputs of the layers of MobileNetV2 by the names of torchvision and smp."""
    numbers = ((1,), (2, 3), (4, 5, 6), (7, 8, 9, 10), (11, 12, 13), (14, 15, 16), (17,))
    blocks = [[torchvision_inverted(state, f"features.{number}") for number in layer] for layer in numbers]
    return mobilenet(state, image, ("features.0.0", "features.0.1"), blocks, rule)


def torchvision_inverted(state: State, name: str) -> Pairs:
    """Names inside a block: the last convolution and its batch norm lie one level higher than the others."""
    last = _count(state, f"{name}.conv") - 2
    pairs = [(f"{name}.conv.{step}.0", f"{name}.conv.{step}.1") for step in range(last)]
    return [*pairs, (f"{name}.conv.{last}", f"{name}.conv.{last + 1}")]


def efficientnet_lite(
    state: State, image: Tensor, names: Callable[[int, int], Pairs], rule: Rule, *, tensorflow: bool
) -> list[Tensor]:
    """Outputs of the layers of an EfficientNet-Lite, as TensorFlow or as torch computes them.

    `names(layer, block)`, both from 0, has the convolutions of a block; none: the layer ends before. The stem's are
    `names(-1, 0)`.
    """
    eps = 1e-3 if tensorflow else 1e-5
    ((stem, norm),) = names(-1, 0)
    x = F.relu6(_normalised(state, norm, _padded_convolution(state, stem, image, 2, 1, tensorflow), eps))
    found = []
    for layer in range(7):
        index = 0
        while pairs := names(layer, index):
            stride, dilation, _ = rule.block(layer, index)
            y = x
            for convolution, its_norm in pairs:
                wide = (stride, dilation) if state[f"{convolution}.weight"].shape[-1] > 1 else (1, 1)
                y = _normalised(state, its_norm, _padded_convolution(state, convolution, y, *wide, tensorflow), eps)
                y = y if convolution == pairs[-1][0] else F.relu6(y)
            x = x + y if x.shape == y.shape else y
            index += 1
        found.append(x)
    return found


def lite_of_timm(state: State, prefix: str = "") -> Callable[[int, int], Pairs]:
    """Names of the convolutions of an EfficientNet-Lite of timm."""

    def names(layer: int, block: int) -> Pairs:
        if layer < 0:
            return [(f"{prefix}conv_stem", f"{prefix}bn1")]
        name = f"{prefix}blocks.{layer}.{block}"
        steps = ("conv_dw", "conv_pw") if layer == 0 else ("conv_pw", "conv_dw", "conv_pwl")
        found = [(f"{name}.{step}", f"{name}.bn{number}") for number, step in enumerate(steps, 1)]
        return found if f"{name}.bn1.weight" in state else []

    return names


def lite_of_efficientnet_pytorch(state: State, blocks: Sequence[int]) -> Callable[[int, int], Pairs]:
    """Names of the convolutions of an EfficientNet-Lite whose layers have so many `blocks`, numbered in one row."""

    def names(layer: int, block: int) -> Pairs:
        if layer < 0:
            return [("_conv_stem", "_bn0")]
        if block >= blocks[layer]:
            return []
        name = f"_blocks.{sum(blocks[:layer]) + block}"
        steps = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        return [(f"{name}.{step}", f"{name}.{norm}") for step, norm in steps if f"{name}.{step}.weight" in state]

    return names


def lite_of_ours(state: State) -> Callable[[int, int], Pairs]:
    """Names of the convolutions of an EfficientNet-Lite of this project."""

    def names(layer: int, block: int) -> Pairs:
        if layer < 0:
            return [("stem.0", "stem.1")]
        name = f"layer{layer + 1}.{block}"
        return torchvision_inverted(state, name) if f"{name}.conv.0.0.weight" in state else []

    return names


def vgg(state: State, image: Tensor, modules: int, pools: tuple[int, ...] = VGG_POOLS) -> Tensor:
    """Output of the first `modules` of VGG16's `features`; behind the pooling 33, if left out, all is dilated by 2."""
    x = image
    for number in range(modules):
        if number in pools:
            x = F.max_pool2d(x, 2)
        elif f"features.{number}.running_var" in state:
            x = _normalised(state, f"features.{number}", x).relu()
        elif f"features.{number}.weight" in state:
            wide = 2 if number > 33 and 33 not in pools else 1
            x = _convolved(state, f"features.{number}", x, padding=wide, dilation=wide)
    return x


def deep_stem(prefix: str) -> Pairs:
    """The names of three convolutions in one sequence of modules."""
    return [(f"{prefix}.{number}", f"{prefix}.{number + 1}") for number in (0, 3, 6)]


def _residual(state: State, name: str, x: Tensor, stride: int, first: int, second: int) -> Tensor:
    wide = {"stride": stride, "padding": first, "dilation": first}
    if f"{name}.conv3.weight" in state:
        y = _normalised(state, f"{name}.bn1", _convolved(state, f"{name}.conv1", x)).relu()
        y = _normalised(state, f"{name}.bn2", _convolved(state, f"{name}.conv2", y, **wide)).relu()
        y = _normalised(state, f"{name}.bn3", _convolved(state, f"{name}.conv3", y))
    else:
        y = _normalised(state, f"{name}.bn1", _convolved(state, f"{name}.conv1", x, **wide)).relu()
        y = _convolved(state, f"{name}.conv2", y, padding=second, dilation=second)
        y = _normalised(state, f"{name}.bn2", y)
    if f"{name}.downsample.0.weight" in state:
        x = _normalised(state, f"{name}.downsample.1", _convolved(state, f"{name}.downsample.0", x, stride=stride))
    return (x + y).relu()


def _inverted(state: State, pairs: Pairs, x: Tensor, stride: int, dilation: int) -> Tensor:
    y = x
    *inner, (last, norm) = pairs
    for convolution, its_norm in inner:
        kernel = state[f"{convolution}.weight"]
        if kernel.shape[-1] == 3:
            y = F.conv2d(y, kernel, None, stride, dilation, dilation, groups=len(kernel))
        else:
            y = F.conv2d(y, kernel)
        y = F.relu6(_normalised(state, its_norm, y))
    y = _normalised(state, norm, _convolved(state, last, y))
    return x + y if stride == 1 and x.shape[1] == y.shape[1] else y


def _padded_convolution(state: State, name: str, x: Tensor, stride: int, dilation: int, tensorflow: bool) -> Tensor:
    """A convolution whose input is padded before it: as for TensorFlow's "SAME", or alike on all sides."""
    kernel = state[f"{name}.weight"]
    reach = dilation * (kernel.shape[-1] - 1)
    sides: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        zeros = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0) if tensorflow else reach
        sides += [zeros // 2, zeros - zeros // 2]
    groups = x.shape[1] // kernel.shape[1]
    return F.conv2d(F.pad(x, sides), kernel, None, stride, 0, dilation, groups)


def _convolved(state: State, name: str, x: Tensor, stride: int = 1, padding: int = 0, dilation: int = 1) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding, dilation)


def _normalised(state: State, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    mean, var, weight, bias = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias, eps=eps)


def _resized(x: Tensor, like: Tensor, align: bool) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=align)


def _count(state: State, name: str) -> int:
    """Numbered children of the module `name`."""
    return len({key[len(name) + 1 :].split(".")[0] for key in state if key.startswith(f"{name}.")})
