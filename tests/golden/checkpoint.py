"""A checkpoint as mmsegmentation publishes it: its names, shapes and wrapping; the same random weights always."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

CONFIG = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='ResNetV1c', depth=18, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), norm_cfg=norm_cfg,
                  style='pytorch', contract_dilation=True),
    decode_head=dict(type='PSPHead', pool_scales=(1, 2, 3, 6), dropout_ratio=0.2, align_corners=True),
    test_cfg=dict(mode='slide', crop_size=(769, 769), stride=(513, 513)))
img_norm_cfg = dict(mean=[1.5, 2, 3], std=[4, 5, 6], to_rgb=False)
"""
CLASSES = ("road", "house", "tree")


def put_checkpoint(path: Path) -> Path:
    """Write an `EncoderDecoder` with ResNetV1c of 18 layers, `PSPHead` of 4 channels and `FCNHead`."""
    palette = [[index, 255 - index, 128] for index in range(len(CLASSES))]
    meta = {"mmseg_version": "0.13.0", "config": CONFIG, "CLASSES": CLASSES, "PALETTE": palette}
    torch.save({"meta": meta, "state_dict": _state(torch.Generator().manual_seed(0))}, path)
    return path


def _state(dice: torch.Generator) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}

    def unit(convolution: str, norm: str, outputs: int, inputs: int, side: int) -> None:
        state[f"{convolution}.weight"] = _normal(dice, outputs, inputs, side, side) * (2 / (inputs * side**2)) ** 0.5
        for name in ("weight", "running_var"):
            state[f"{norm}.{name}"] = 0.5 + torch.rand(outputs, generator=dice)
        for name in ("bias", "running_mean"):
            state[f"{norm}.{name}"] = 0.1 * _normal(dice, outputs)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1000)

    for number, (inputs, outputs) in zip((0, 3, 6), ((3, 32), (32, 32), (32, 64)), strict=True):
        unit(f"backbone.stem.{number}", f"backbone.stem.{number + 1}", outputs, inputs, 3)
    inputs = 64
    for layer in range(1, 5):
        outputs = 32 << layer
        for block in range(2):
            name = f"backbone.layer{layer}.{block}"
            unit(f"{name}.conv1", f"{name}.bn1", outputs, inputs, 3)
            unit(f"{name}.conv2", f"{name}.bn2", outputs, outputs, 3)
            if inputs != outputs:
                unit(f"{name}.downsample.0", f"{name}.downsample.1", outputs, inputs, 1)
            inputs = outputs
    for level in range(4):
        name = f"decode_head.psp_modules.{level}.1"
        unit(f"{name}.conv", f"{name}.bn", 4, 512, 1)
    unit("decode_head.bottleneck.conv", "decode_head.bottleneck.bn", 4, 512 + 4 * 4, 3)
    unit("auxiliary_head.convs.0.conv", "auxiliary_head.convs.0.bn", 64, 256, 3)
    for head, hidden in (("decode_head", 4), ("auxiliary_head", 64)):
        state[f"{head}.conv_seg.weight"] = 0.1 * _normal(dice, len(CLASSES), hidden, 1, 1)
        state[f"{head}.conv_seg.bias"] = 0.1 * _normal(dice, len(CLASSES))
    return state


def _normal(dice: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=dice)
