"""Weights that are known by their names and not read: networks that this project does not build."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipeline.errors import ModelError

_UNSUPPORTED = (
    (
        r"master_branch\.0\.stages\.",
        "bubbliiiing/pspnet-pytorch",
        "its inputs are letterboxed and its backbones its own; train again from a backbone of torchvision",
    ),
    (
        r"conv_last\.\d|conv_last_deepsup\.|cbr_deepsup\.",
        "CSAIL's semantic-segmentation-pytorch (decoder)",
        "its encoder, a file of its own, can be imported as a backbone with --preset semseg",
    ),
    (
        r"convbnrelu1_1\.|cbr_final\.|fcn\.layer\d|pyramid_pooling\.",
        "the Caffe network, e.g. in pytorch-semseg and kazuto1011's",
        "its stride is on another convolution and its inputs are blue, green, red; hszhao/semseg has the same models",
    ),
    (
        r"final_block\.conv1|pool\.branches\.branch\d|features\.pool\.branches",
        "pytorchcv",
        "its backbone pools its shortcuts and its input size is fixed",
    ),
    (
        r".*features\.\d+\.\d+\.attn\.",
        "a Swin transformer",
        "there is none here; the address of Satlas's sentinel2_resnet50_si_ms in its README leads to one by mistake",
    ),
    (
        r"(encoder\.(model\.)?|backbone\.)?conv1\.0\.weight",
        "timm's ResNet-D (resnet50d and the like), with a deep stem and pooled shortcuts",
        "take timm's resnet50 or mmseg's resnet50_v1c",
    ),
    (
        r"(encoder\.(model\.)?|backbone\.)?layer\d\.0\.downsample\.2\.",
        "a ResNet-D, which pools its shortcuts",
        "take timm's resnet50 or mmseg's resnet50_v1c",
    ),
    (
        r"(encoder\.)?_blocks\.\d+\._se_reduce\.|(encoder\.(model\.)?)?blocks\.\d+\.\d+\.se\.",
        "an EfficientNet or a MobileNetV3 with squeeze-and-excitation",
        "take an EfficientNet-Lite, such as timm's tf_efficientnet_lite0, or MobileNetV2",
    ),
    (r"StructuredToParameterName@@", "PaddleSeg", "save its arrays as a state_dict of one of the families first"),
)


def is_unsupported(name: str) -> bool:
    """Return whether a name is that of a tensor in a network that is not built."""
    return any(re.match(pattern, name) for pattern, _, _ in _UNSUPPORTED)


def refuse_unsupported(place: str, names: Iterable[str]) -> None:
    """Raise ModelError with the project's name and a way out, if `names` are those of a network that is not built."""
    for name in names:
        for pattern, project, way in _UNSUPPORTED:
            if re.match(pattern, name):
                raise ModelError(f"{place}: {name} is a tensor of {project}, which is not supported: {way}")
