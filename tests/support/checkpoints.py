"""The checkpoints that other projects publish: their names, their shapes and their wrappings, with random weights.

Written from the published tables, not from the networks or the importer here. The weights are tame: random, with batch
norms that are far from the identity, and scores of ordinary scale at any depth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

State = dict[str, Tensor]

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Residual blocks of layer1 to layer4, by depth; from 50 on they are bottlenecks."""
MOBILENET = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
"""Expansion, channels and blocks of the seven layers of MobileNetV2."""
LITE = {
    0: ((16, 1), (24, 2), (40, 2), (80, 3), (112, 3), (192, 4), (320, 1)),
    1: ((16, 1), (24, 3), (40, 3), (80, 4), (112, 4), (192, 5), (320, 1)),
    2: ((16, 1), (24, 3), (48, 3), (88, 4), (120, 4), (208, 5), (352, 1)),
    3: ((24, 1), (32, 3), (48, 3), (96, 5), (136, 5), (232, 6), (384, 1)),
    4: ((24, 1), (32, 4), (56, 4), (112, 6), (160, 6), (272, 8), (448, 1)),
}
"""Channels and blocks of the seven layers of EfficientNet-Lite0 to Lite4."""
LITE_KERNELS = (3, 3, 5, 3, 5, 5, 3)
"""Depthwise kernels of their layers."""
VGG16_BN = (
    *((0, 3, 64), (3, 64, 64), (7, 64, 128), (10, 128, 128), (14, 128, 256), (17, 256, 256), (20, 256, 256)),
    *((24, 256, 512), (27, 512, 512), (30, 512, 512), (34, 512, 512), (37, 512, 512), (40, 512, 512)),
)
"""Number, inputs and outputs of each convolution of `vgg16_bn().features`; its batch norm has the next number."""
_SCORE_GAIN = 0.08


class Weights:
    """A state dict under construction; without a seed its tensors have shapes only."""

    def __init__(self, seed: int | None) -> None:
        self.state: State = {}
        self._device = "meta" if seed is None else "cpu"
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)

    def convolution(
        self, name: str, outputs: int, inputs: int, kernel: int, *, bias: bool = False, gain: float = 1.0
    ) -> None:
        """Weight `(outputs, inputs, kernel, kernel)` that keeps the scale of rectified features (He et al. 2015)."""
        spread = gain * (2 / (inputs * kernel**2)) ** 0.5
        self.state[f"{name}.weight"] = self._normal((outputs, inputs, kernel, kernel), spread)
        if bias:
            self.state[f"{name}.bias"] = self._normal((outputs,), 0.1)

    def norm(self, name: str, channels: int, gain: float = 1.0) -> None:
        """The five tensors of a batch norm that has seen data."""
        self.state[f"{name}.weight"] = gain * self._uniform(channels)
        self.state[f"{name}.bias"] = self._normal((channels,), 0.1)
        self.state[f"{name}.running_mean"] = self._normal((channels,), 0.1)
        self.state[f"{name}.running_var"] = self._uniform(channels)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(1000, device=self._device)

    def dense(self, name: str, outputs: int, inputs: int) -> None:
        self.state[f"{name}.weight"] = self._normal((outputs, inputs), inputs**-0.5)
        self.state[f"{name}.bias"] = self._normal((outputs,), 0.1)

    def _normal(self, shape: tuple[int, ...], spread: float) -> Tensor:
        values = torch.empty(shape, device=self._device)
        return values if self._generator is None else values.normal_(0, spread, generator=self._generator)

    def _uniform(self, channels: int) -> Tensor:
        values = torch.empty(channels, device=self._device)
        return values if self._generator is None else values.uniform_(0.5, 1.5, generator=self._generator)


def semseg(
    depth: int, *, classes: int = 150, in_channels: int = 3, channels: int = 512, seed: int | None = None
) -> State:
    """`PSPNet(layers=depth)` of hszhao/semseg, without the prefix `module.`."""
    weights = Weights(seed)
    for number, (inputs, outputs) in zip((0, 3, 6), ((in_channels, 64), (64, 64), (64, 128)), strict=True):
        weights.convolution(f"layer0.{number}", outputs, inputs, 3)
        weights.norm(f"layer0.{number + 1}", outputs)
    _residual_layers(weights, "", depth, 128)
    for level in range(4):
        weights.convolution(f"ppm.features.{level}.1", channels, 2048, 1)
        weights.norm(f"ppm.features.{level}.2", channels)
    for head, inputs, hidden in (("cls", 2048 + 4 * channels, channels), ("aux", 1024, 256)):
        weights.convolution(f"{head}.0", hidden, inputs, 3)
        weights.norm(f"{head}.1", hidden)
        weights.convolution(f"{head}.4", classes, hidden, 1, bias=True, gain=_SCORE_GAIN)
    return weights.state


def mmseg_resnet(
    depth: int,
    *,
    stem: str = "v1c",
    classes: int = 19,
    in_channels: int = 3,
    channels: int | None = None,
    seed: int | None = None,
) -> State:
    """An `EncoderDecoder` of mmsegmentation: ResNetV1c ("v1c") or ResNet ("b"), `PSPHead` and `FCNHead`."""
    weights = Weights(seed)
    _mmseg_stem(weights, "backbone.", stem, in_channels)
    expansion = _residual_layers(weights, "backbone.", depth, 64)
    tapped = 256 * expansion
    channels = channels or (128 if depth < 50 else 512)
    _mmseg_heads(weights, 512 * expansion, channels, (tapped, tapped // 4), classes)
    return weights.state


def mmseg_mobilenet(*, classes: int = 19, in_channels: int = 3, channels: int = 512, seed: int | None = None) -> State:
    """An `EncoderDecoder` of mmsegmentation with `MobileNetV2`."""
    weights = Weights(seed)
    weights.convolution("backbone.conv1.conv", 32, in_channels, 3)
    weights.norm("backbone.conv1.bn", 32)
    inputs = 32
    for layer, (expansion, outputs, blocks) in enumerate(MOBILENET, 1):
        for block in range(blocks):
            steps = _inverted(expansion, inputs, outputs)
            for step, (wide, narrow, kernel, gain) in enumerate(steps):
                name = f"backbone.layer{layer}.{block}.conv.{step}"
                weights.convolution(f"{name}.conv", wide, narrow, kernel)
                weights.norm(f"{name}.bn", wide, gain)
            inputs = outputs
    _mmseg_heads(weights, 320, channels, (96, 256), classes)
    return weights.state


def mmseg_backbone(depth: int, *, in_channels: int = 3, seed: int | None = None) -> State:
    """A `resnet50_v1c` file of mmsegmentation: a backbone without prefix, and its classifier."""
    weights = Weights(seed)
    _mmseg_stem(weights, "", "v1c", in_channels)
    weights.dense("fc", 1000, 512 * _residual_layers(weights, "", depth, 64))
    return weights.state


def torchvision_resnet(depth: int, *, in_channels: int = 3, fc: bool = True, seed: int | None = None) -> State:
    """`torchvision.models.resnet50` and the like; timm and torchgeo have the same names."""
    weights = Weights(seed)
    features = _torchvision_resnet(weights, "", depth, in_channels)
    if fc:
        weights.dense("fc", 1000, features)
    return weights.state


def torchvision_mobilenet(*, in_channels: int = 3, classifier: bool = True, seed: int | None = None) -> State:
    """`torchvision.models.mobilenet_v2`."""
    weights = Weights(seed)
    _torchvision_mobilenet(weights, "", in_channels)
    if classifier:
        weights.dense("classifier.1", 1000, 1280)
    return weights.state


def timm_lite(size: int = 0, *, in_channels: int = 3, seed: int | None = None) -> State:
    """`timm.create_model("tf_efficientnet_lite0")`, and that without `tf_`."""
    weights = Weights(seed)
    last = _timm_lite(weights, "", size, in_channels)
    weights.dense("classifier", 1000, last)
    return weights.state


def efficientnet_pytorch(size: int = 0, *, in_channels: int = 3, seed: int | None = None) -> State:
    """`EfficientNet.from_name("efficientnet-lite0")` of efficientnet-lite-pytorch, whose blocks are in one row."""
    weights = Weights(seed)
    weights.convolution("_conv_stem", 32, in_channels, 3)
    weights.norm("_bn0", 32)
    for number, (_, _, steps) in enumerate(_lite_blocks(size)):
        names = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")][-len(steps) :]
        for (name, norm), (wide, narrow, kernel, gain) in zip(names, steps, strict=True):
            weights.convolution(f"_blocks.{number}.{name}", wide, narrow, kernel)
            weights.norm(f"_blocks.{number}.{norm}", wide, gain)
    weights.convolution("_conv_head", 1280, LITE[size][-1][0], 1)
    weights.norm("_bn1", 1280)
    weights.dense("_fc", 1000, 1280)
    return weights.state


def torchvision_vgg(*, in_channels: int = 3, classifier: int | None = 4096, seed: int | None = None) -> State:
    """`torchvision.models.vgg16_bn`, its classifier as wide as published, narrower, or left out."""
    weights = Weights(seed)
    _torchvision_vgg(weights, "", in_channels)
    if classifier:
        weights.dense("classifier.0", classifier, 512 * 7 * 7)
        weights.dense("classifier.3", classifier, classifier)
        weights.dense("classifier.6", 1000, classifier)
    return weights.state


def timm_resnet_d(depth: int, *, in_channels: int = 3, seed: int | None = None) -> State:
    """`timm.create_model("resnet50d")`: a deep stem inside `conv1`, and shortcuts behind an average pooling."""
    weights = Weights(seed)
    for number, (inputs, outputs) in zip((0, 3, 6), ((in_channels, 32), (32, 32), (32, 64)), strict=True):
        weights.convolution(f"conv1.{number}", outputs, inputs, 3)
        weights.norm("bn1" if number == 6 else f"conv1.{number + 1}", outputs)
    weights.dense("fc", 1000, 512 * _residual_layers(weights, "", depth, 64, shortcut=1))
    return weights.state


def moco(depth: int, *, in_channels: int = 13, seed: int | None = None) -> State:
    """A raw MoCo v2 checkpoint of SSL4EO-S12: two encoders, of which `encoder_q` is the one to keep, and a queue."""
    weights = Weights(seed)
    for encoder in ("module.encoder_q.", "module.encoder_k."):
        features = _torchvision_resnet(weights, encoder, depth, in_channels)
        weights.dense(f"{encoder}fc.0", features, features)
        weights.dense(f"{encoder}fc.2", 128, features)
    weights.state["module.queue"] = torch.zeros(128, 256)
    weights.state["module.queue_ptr"] = torch.zeros(1, dtype=torch.long)
    return weights.state


def satlas(depth: int, *, prefix: str = "backbone.", in_channels: int = 3, seed: int | None = None) -> State:
    """A raw SatlasPretrain file: `backbone.` once or twice, then `resnet.`, and a feature pyramid beside it."""
    weights = Weights(seed)
    weights.dense(f"{prefix}resnet.fc", 1000, _torchvision_resnet(weights, f"{prefix}resnet.", depth, in_channels))
    for level, inputs in enumerate((256, 512, 1024, 2048)):
        weights.convolution(f"intermediates.0.fpn.inner_blocks.{level}.0", 128, inputs, 1, bias=True)
        weights.convolution(f"intermediates.0.fpn.layer_blocks.{level}.0", 128, 128, 3, bias=True)
    return weights.state


def smp(
    encoder: str,
    *,
    depth: int = 3,
    classes: int = 5,
    in_channels: int = 3,
    psp_out_channels: int = 512,
    seed: int | None = None,
) -> State:
    """`smp.PSPNet(encoder, encoder_depth=depth)`: an encoder with all its layers, used or not, decoder and head."""
    weights = Weights(seed)
    if encoder == "mobilenet_v2":
        _torchvision_mobilenet(weights, "encoder.", in_channels)
        features = {3: 32, 4: 96}[depth]
    elif "lite" in encoder:
        prefix = "encoder.model." if encoder.startswith("tu-") else "encoder."
        _timm_lite(weights, prefix, int(encoder[-1]), in_channels)
        features = LITE[int(encoder[-1])][{3: 2, 4: 4, 5: 6}[depth]][0]
    elif encoder == "vgg16_bn":
        _torchvision_vgg(weights, "encoder.", in_channels)
        features = 512
    else:
        features = _torchvision_resnet(weights, "encoder.", int(encoder[6:]), in_channels) >> (5 - depth)
    pooled = features // 4
    weights.convolution("decoder.psp.blocks.0.pool.1.0", pooled, features, 1, bias=True)
    for level in (1, 2, 3):
        weights.convolution(f"decoder.psp.blocks.{level}.pool.1.0", pooled, features, 1)
        weights.norm(f"decoder.psp.blocks.{level}.pool.1.1", pooled)
    weights.convolution("decoder.conv.0", psp_out_channels, 2 * features, 1)
    weights.norm("decoder.conv.1", psp_out_channels)
    weights.convolution("segmentation_head.0", classes, psp_out_channels, 3, bias=True, gain=_SCORE_GAIN)
    return weights.state


def smp_config(encoder: str, **changes: object) -> dict[str, object]:
    """What `save_pretrained` writes into config.json."""
    return {
        "_model_class": "PSPNet",
        "activation": None,
        "aux_params": None,
        "classes": 5,
        "decoder_use_norm": "batchnorm",
        "encoder_depth": 3,
        "encoder_name": encoder,
        "encoder_weights": None,
        "in_channels": 3,
        "psp_dropout": 0.2,
        "psp_out_channels": 512,
        "upsampling": 8,
    } | changes


def save_pretrained(folder: Path, state: State, config: dict[str, object]) -> Path:
    """The folder of a model of segmentation-models-pytorch, as it lies on a hub."""
    folder.mkdir(parents=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    return folder


def parallel(state: State) -> State:
    """As saved from within `DataParallel`: every name behind `module.`."""
    return {f"module.{name}": tensor for name, tensor in state.items()}


def semseg_file(path: Path, state: State) -> Path:
    """A file such as train_epoch_100.pth."""
    momentum = {index: {"momentum_buffer": torch.zeros(1)} for index in range(3)}
    groups = [{"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "params": [0, 1, 2]}]
    optimizer = {"state": momentum, "param_groups": groups}
    torch.save({"epoch": 100, "state_dict": parallel(state), "optimizer": optimizer}, path)
    return path


def mmseg_file(path: Path, state: State, classes: tuple[str, ...] | None = None, config: str = "") -> Path:
    """A published file of mmsegmentation 0.x; `config` is the text of its configuration."""
    meta: dict[str, object] = {"mmseg_version": "0.13.0", "config": config}
    if classes:
        palette = [[index, 255 - index, 128] for index in range(len(classes))]
        meta |= {"CLASSES": classes, "PALETTE": palette}
    torch.save({"meta": meta, "state_dict": state}, path)
    return path


def _residual_layers(weights: Weights, prefix: str, depth: int, stem: int, *, shortcut: int = 0) -> int:
    """Put layer1 to layer4; the ratio of output channels to a block's width. `shortcut`: number of its convolution."""
    expansion = 1 if depth < 50 else 4
    inputs = stem
    for layer, blocks in enumerate(BLOCKS[depth], 1):
        width = 32 << layer
        outputs = width * expansion
        gain = 0.5 * blocks**-0.5
        for block in range(blocks):
            name = f"{prefix}layer{layer}.{block}"
            steps = (inputs, 3), (width, 3)
            if expansion == 4:
                steps = (inputs, 1), (width, 3), (width, 1)
            for number, (narrow, kernel) in enumerate(steps, 1):
                last = number == len(steps)
                weights.convolution(f"{name}.conv{number}", outputs if last else width, narrow, kernel)
                weights.norm(f"{name}.bn{number}", outputs if last else width, gain if last else 1.0)
            if block == 0 and (layer > 1 or inputs != outputs):
                weights.convolution(f"{name}.downsample.{shortcut}", outputs, inputs, 1, gain=0.5**0.5)
                weights.norm(f"{name}.downsample.{shortcut + 1}", outputs)
            inputs = outputs
    return expansion


def _torchvision_resnet(weights: Weights, prefix: str, depth: int, in_channels: int) -> int:
    """Put stem and layers; the number of features."""
    weights.convolution(f"{prefix}conv1", 64, in_channels, 7)
    weights.norm(f"{prefix}bn1", 64)
    return 512 * _residual_layers(weights, prefix, depth, 64)


def _torchvision_mobilenet(weights: Weights, prefix: str, in_channels: int) -> None:
    weights.convolution(f"{prefix}features.0.0", 32, in_channels, 3)
    weights.norm(f"{prefix}features.0.1", 32)
    number, inputs = 1, 32
    for expansion, outputs, blocks in MOBILENET:
        for _ in range(blocks):
            *pairs, last = _inverted(expansion, inputs, outputs)
            name = f"{prefix}features.{number}.conv"
            for step, (wide, narrow, kernel, gain) in enumerate(pairs):
                weights.convolution(f"{name}.{step}.0", wide, narrow, kernel)
                weights.norm(f"{name}.{step}.1", wide, gain)
            weights.convolution(f"{name}.{len(pairs)}", *last[:3])
            weights.norm(f"{name}.{len(pairs) + 1}", outputs, last[3])
            number, inputs = number + 1, outputs
    weights.convolution(f"{prefix}features.18.0", 1280, 320, 1)
    weights.norm(f"{prefix}features.18.1", 1280)


def _timm_lite(weights: Weights, prefix: str, size: int, in_channels: int) -> int:
    """Put all but the classifier; the number of features that it takes."""
    weights.convolution(f"{prefix}conv_stem", 32, in_channels, 3)
    weights.norm(f"{prefix}bn1", 32)
    for layer, block, steps in _lite_blocks(size):
        names = ("conv_dw", "conv_pw") if layer == 0 else ("conv_pw", "conv_dw", "conv_pwl")
        for step, (name, (wide, narrow, kernel, gain)) in enumerate(zip(names, steps, strict=True), 1):
            weights.convolution(f"{prefix}blocks.{layer}.{block}.{name}", wide, narrow, kernel)
            weights.norm(f"{prefix}blocks.{layer}.{block}.bn{step}", wide, gain)
    weights.convolution(f"{prefix}conv_head", 1280, LITE[size][-1][0], 1)
    weights.norm(f"{prefix}bn2", 1280)
    return 1280


def _lite_blocks(size: int) -> Iterator[tuple[int, int, list[tuple[int, int, int, float]]]]:
    """Layer, block and convolutions, in order."""
    inputs = 32
    for layer, (outputs, blocks) in enumerate(LITE[size]):
        for block in range(blocks):
            yield layer, block, _inverted(1 if layer == 0 else 6, inputs, outputs, LITE_KERNELS[layer])
            inputs = outputs


def _inverted(expansion: int, inputs: int, outputs: int, kernel: int = 3) -> list[tuple[int, int, int, float]]:
    """Outputs, inputs of each group, kernel and gain of the convolutions of an inverted residual block."""
    wide = inputs * expansion
    first = [] if expansion == 1 else [(wide, inputs, 1, 1.0)]
    return [*first, (wide, 1, kernel, 1.0), (outputs, wide, 1, 0.7)]


def _torchvision_vgg(weights: Weights, prefix: str, in_channels: int) -> None:
    for number, inputs, outputs in VGG16_BN:
        weights.convolution(f"{prefix}features.{number}", outputs, in_channels if number == 0 else inputs, 3, bias=True)
        weights.norm(f"{prefix}features.{number + 1}", outputs)


def _mmseg_stem(weights: Weights, prefix: str, stem: str, in_channels: int) -> None:
    if stem == "b":
        weights.convolution(f"{prefix}conv1", 64, in_channels, 7)
        weights.norm(f"{prefix}bn1", 64)
        return
    for number, (inputs, outputs) in zip((0, 3, 6), ((in_channels, 32), (32, 32), (32, 64)), strict=True):
        weights.convolution(f"{prefix}stem.{number}", outputs, inputs, 3)
        weights.norm(f"{prefix}stem.{number + 1}", outputs)


def _mmseg_heads(weights: Weights, features: int, channels: int, auxiliary: tuple[int, int], classes: int) -> None:
    weights.convolution("decode_head.conv_seg", classes, channels, 1, bias=True, gain=_SCORE_GAIN)
    for level in range(4):
        weights.convolution(f"decode_head.psp_modules.{level}.1.conv", channels, features, 1)
        weights.norm(f"decode_head.psp_modules.{level}.1.bn", channels)
    weights.convolution("decode_head.bottleneck.conv", channels, features + 4 * channels, 3)
    weights.norm("decode_head.bottleneck.bn", channels)
    tapped, hidden = auxiliary
    weights.convolution("auxiliary_head.conv_seg", classes, hidden, 1, bias=True, gain=_SCORE_GAIN)
    weights.convolution("auxiliary_head.convs.0.conv", hidden, tapped, 3)
    weights.norm("auxiliary_head.convs.0.bn", hidden)
