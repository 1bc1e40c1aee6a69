"""The networks of other projects, built by their own code: mmsegmentation, segmentation-models-pytorch and timm.

None of them is needed by this project; docs/benchmarks.md says how to install them beside it. Where torchvision has
no build for the torch at hand, and mmcv none at all, stand-ins make their networks usable (not their detection).
"""

from __future__ import annotations

import sys
import warnings
from copy import deepcopy
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

MMSEG = ("mmseg", "mmcv", "mmengine", "torchvision")
SMP = ("segmentation_models_pytorch", "torchvision")
TIMM = ("timm", "torchvision")


def absent(packages: tuple[str, ...]) -> list[str]:
    """Those of the packages that are not installed."""
    return [name for name in packages if find_spec(name) is None]


def mmseg_resnet(depth: int, *, stem: str = "v1c", stride: int = 8, align: bool = False) -> dict[str, Any]:
    """Configuration of a model of `configs/_base_/models/pspnet_r50-d8.py` and those derived from it."""
    expansion = 1 if depth < 50 else 4
    backbone = {
        "type": {"v1c": "ResNetV1c", "b": "ResNet"}[stem],
        "depth": depth,
        "num_stages": 4,
        "out_indices": (0, 1, 2, 3),
        "dilations": {8: (1, 1, 2, 4), 32: (1, 1, 1, 1)}[stride],
        "strides": {8: (1, 2, 1, 1), 32: (1, 2, 2, 2)}[stride],
        "style": "pytorch",
        "contract_dilation": True,
    }
    channels = 128 if depth < 50 else 512
    return _encoder_decoder(backbone, (512 * expansion, channels), (256 * expansion, 64 * expansion), align)


def mmseg_mobilenet() -> dict[str, Any]:
    """Configuration of `configs/mobilenet_v2/mobilenet-v2-d8_pspnet_4xb2-80k_cityscapes-512x1024.py`."""
    backbone = {
        "type": "MobileNetV2",
        "widen_factor": 1.0,
        "strides": (1, 2, 2, 1, 1, 1, 1),
        "dilations": (1, 1, 1, 2, 2, 4, 4),
        "out_indices": (1, 2, 4, 6),
    }
    return _encoder_decoder(backbone, (320, 512), (96, 256), align=False)


def _encoder_decoder(
    backbone: dict[str, Any], head: tuple[int, int], auxiliary: tuple[int, int], align: bool
) -> dict[str, Any]:
    """A configuration; `head` and `auxiliary` are the channels that come in and those inside."""
    norm = {"type": "BN", "requires_grad": True}
    loss = {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0}
    both = {"num_classes": 19, "norm_cfg": norm, "align_corners": align, "dropout_ratio": 0.1, "loss_decode": loss}
    decode = {"type": "PSPHead", "in_index": 3, "pool_scales": (1, 2, 3, 6), **both}
    second = {"type": "FCNHead", "in_index": 2, "num_convs": 1, "concat_input": False, **both}
    return {
        "type": "EncoderDecoder",
        "data_preprocessor": {"type": "SegDataPreProcessor"},
        "backbone": {"norm_cfg": norm, "norm_eval": False} | backbone,
        "decode_head": decode | {"in_channels": head[0], "channels": head[1]},
        "auxiliary_head": second | {"in_channels": auxiliary[0], "channels": auxiliary[1]},
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }


def mmseg_model(config: dict[str, Any]) -> nn.Module:
    """The model of a configuration, in evaluation mode."""
    _mmseg()
    from mmseg.registry import MODELS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MODELS.build(deepcopy(config))
    model.eval()
    return model


def mmseg_text(config: dict[str, Any]) -> str:
    """The configuration as mmengine writes it into a checkpoint."""
    from mmengine.config import Config

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Config({"model": config}).pretty_text


def mmseg_file(path: Path, model: nn.Module, config: dict[str, Any], generation: str) -> Path:
    """A published checkpoint, written by mmengine; what lies beside the weights is as in version 0.x or 1.x."""
    from mmengine.runner import save_checkpoint
    from mmseg.utils import cityscapes_classes, cityscapes_palette

    text, names, colors = mmseg_text(config), tuple(cityscapes_classes()), cityscapes_palette()
    meta = {
        "0.x": {"mmseg_version": "0.30.0", "config": text, "CLASSES": names, "PALETTE": colors},
        "1.x": {"cfg": text, "dataset_meta": {"classes": names, "palette": colors}},
    }
    save_checkpoint({"meta": meta[generation], "state_dict": model.state_dict()}, str(path))
    return path


def mmseg_scores(model: nn.Module, image: Tensor) -> Tensor:
    """What the model decides from, at the size of the image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.encode_decode(image, [{"img_shape": tuple(image.shape[2:])}] * len(image))


def smp_model(encoder: str, **options: Any) -> nn.Module:
    """`smp.PSPNet`, in evaluation mode."""
    _torchvision()
    import segmentation_models_pytorch as smp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of encoders that are called timm-...
        return smp.PSPNet(encoder, encoder_weights=None, **options).eval()


def timm_model(name: str, **options: Any) -> nn.Module:
    """`timm.create_model`, in evaluation mode."""
    _torchvision()
    import timm

    return timm.create_model(name, **options).eval()


def timm_features(model: nn.Module, image: Tensor) -> Tensor:
    """What the model's backbone ends with: the last blocks of MobileNetV2, the last convolutions of VGG16."""
    if hasattr(model, "blocks"):
        return model.blocks(model.bn1(model.conv_stem(image)))
    return model.features[:43](image) if hasattr(model, "features") else model.forward_features(image)


def randomise(model: nn.Module, seed: int) -> None:
    """Weights that keep the scale of features, and batch norms that are far from the identity."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0, (2 / module.weight[0].numel()) ** 0.5)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.4, 1.0)
            nn.init.normal_(module.bias, 0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)


def torchvision_model(name: str, **options: Any) -> nn.Module:
    """A network of `torchvision.models`, in evaluation mode."""
    _torchvision()
    from torchvision import models

    return getattr(models, name)(**options).eval()


@cache
def _mmseg() -> None:
    """Import mmsegmentation with a stand-in for the compiled operators of mmcv, which its PSPNets do not use."""
    _torchvision()
    if find_spec("mmcv._ext") is None:
        sys.modules["mmcv.ops"] = _Operators("mmcv.ops")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mmseg.models  # noqa: F401  (registers them)
        from mmengine.registry import init_default_scope

        init_default_scope("mmseg")


class _Operators(ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@cache
def _torchvision() -> torch.library.Library | None:
    """Declare the operators that torchvision expects of its own build, and import it; kept while the process lives."""
    schemas = torch.library.Library("torchvision", "FRAGMENT")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision
        except RuntimeError:  # operator torchvision::nms does not exist
            for name in ("nms", "qnms"):
                schemas.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            import torchvision  # noqa: F401
    return schemas
