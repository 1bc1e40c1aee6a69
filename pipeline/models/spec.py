"""What a card says of its network: the architecture of a PSPNet, or how a network in an ONNX file is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pipeline.decoding import Meaning

Backbone = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "mobilenet_v2",
    "vgg16_bn",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "efficientnet_lite4",
    "efficientnet_lite0_symmetric",
    "efficientnet_lite1_symmetric",
    "efficientnet_lite2_symmetric",
    "efficientnet_lite3_symmetric",
    "efficientnet_lite4_symmetric",
]
OutputStride = Literal[8, 16, 32]
Dilation = Literal["contracted", "full"]
BasicDilation = Literal["conv1", "both", "timm"]
Stem = Literal["torchvision", "v1c", "semseg"]
Head = Literal["pspnet", "smp"]

_STRIDES: dict[str, tuple[int, ...]] = {"vgg16_bn": (8, 16)}
_DECODER_STRIDES = (8, 4, 2)


@dataclass(frozen=True)
class PSPNetSpec:
    """The architecture of one PSPNet (Zhao et al. 2017, arXiv:1612.01105).

    Backbone, stem and channel counts can be read from the names and shapes of the weights; `output_stride`,
    `dilation`, `basic_dilation`, `align_corners` and whether an EfficientNet-Lite is symmetric cannot: weights load
    without an error under a wrong one, and predict wrongly.
    """

    backbone: Backbone
    """Network before the pyramid: a ResNet, of basic blocks (18, 34) or bottlenecks (50, 101, 152), MobileNetV2,
    VGG16 with batch norm, or EfficientNet-Lite: as Google trained it, with TensorFlow's padding "SAME" and batch norms
    of eps 1e-3 (timm's `tf_efficientnet_lite0`), or "symmetric", with torch's padding and eps 1e-5 (timm's
    `efficientnet_lite0`)."""
    in_channels: int
    """Channels of the input; for volumes, image channels times slices seen."""
    classes: int
    """Score planes of the output."""
    output_stride: OutputStride = 8
    """Input pixels per feature pixel; below 32, strides are replaced by dilation (section 3.1)."""
    dilation: Dilation = "contracted"
    """Blocks of a layer whose stride was replaced. ResNet and EfficientNet-Lite: "contracted" (mmseg, torchvision,
    timm) gives the first block the dilation of the layer before, "full" (semseg, smp, the original) the layer's own.
    MobileNetV2: "contracted" (mmseg) dilates the first block only, "full" every block."""
    basic_dilation: BasicDilation = "conv1"
    """Dilation in basic blocks (ResNet-18 and 34): "conv1", the first convolution only (mmseg); "both" alike (smp);
    "timm", both, of which the second always has the layer's own."""
    align_corners: bool = False
    """Grid of the bilinear resizes: True as in semseg and smp, False as in mmseg's models of 8k pixels."""
    stem: Stem = "torchvision"
    """First layers of a ResNet: one 7x7 convolution, or three 3x3: "v1c" (32, 32, 64) or "semseg" (64, 64, 128)."""
    bins: tuple[int, ...] = (1, 2, 3, 6)
    """Side of each level of the pyramid pooling, in the order in which they are concatenated."""
    ppm_channels: int = 128
    """Channels of each pooled level after its 1x1 convolution: 128 for resnet18, 512 for resnet50."""
    head_channels: int = 128
    """Channels between the two convolutions of the head."""
    auxiliary: bool = False
    """Whether there is a second head on the last layer but one, used in training only (section 3.3)."""
    head: Head = "pspnet"
    """Order and kernels after the pooling. "pspnet": features then levels, 3x3 then 1x1 convolution. "smp", that of
    segmentation-models-pytorch: levels then features, the level of side 1 without batch norm, 1x1 then 3x3."""
    truncated: bool = False
    """Whether the backbone ends where it reaches the output stride (smp), instead of being dilated from there."""
    dropout: float = 0.1
    """Share of the head's channels dropped in training: 0.2 in smp."""
    decoder_channels: Annotated[
        tuple[int, ...] | None, Meaning("Channels of a decoder's stages at strides of 8, 4 and perhaps 2.", sparse=True)
    ] = None
    """Of a path back to a stride of 4, or of 2 if there are three, whose scores are added to the head's (`decoder.py`);
    None: the paper's network, which has none."""

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        decoder = f", decoder to {self.decoder_strides[-1]}" if self.decoder_strides else ""
        return f"PSPNet, {self.backbone}, output stride {self.output_stride}{decoder}"

    @property
    def decoder_strides(self) -> tuple[int, ...]:
        """Input pixels per cell of each stage of the decoder, if there is one."""
        return _DECODER_STRIDES[: len(self.decoder_channels or ())]

    @property
    def scores_per_cell(self) -> int:
        """Coarse scores of a class for each cell of the features: behind a decoder, those of its last cells."""
        return (self.output_stride // self.decoder_strides[-1]) ** 2 if self.decoder_strides else 1

    @property
    def direct_channels(self) -> int:
        """Numbers for each cell of the features that overlapping patches share, beside the averages of the pyramid."""
        return self.head_channels + (0 if self.decoder_channels is None else self.classes * self.scores_per_cell)

    def __post_init__(self) -> None:
        if self.stem != "torchvision" and not self.backbone.startswith("resnet"):
            raise ValueError(f"stem {self.stem!r} is that of a ResNet; {self.backbone} has its own, 'torchvision'")
        strides = _STRIDES.get(self.backbone, (8, 16, 32))
        if self.output_stride not in strides:
            raise ValueError(f"{self.backbone} has output strides {strides}, got {self.output_stride}")
        if self.truncated and self.auxiliary:
            raise ValueError("auxiliary: a truncated backbone has no second head")
        if min(self.in_channels, self.classes, self.ppm_channels, self.head_channels) < 1:
            raise ValueError(f"every channel count must be at least 1: {self}")
        if not self.bins or min(self.bins) < 1:
            raise ValueError(f"bins must be at least 1 each, got {self.bins}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, got {self.dropout}")
        self._check_decoder()

    def _check_decoder(self) -> None:
        channels = self.decoder_channels
        if channels is None:
            return
        if len(channels) not in (2, 3) or min(channels) < 1:
            raise ValueError(
                f"decoder_channels: needs two or three numbers above 0, of strides of 8, 4 and 2, got {channels}"
            )
        if len(channels) == 3 and self.backbone.startswith("resnet"):
            raise ValueError(f"decoder_channels: {self.backbone} has no layer at a stride of 2, give two numbers")


Layout = Literal["channels_first", "channels_last"]
Scores = Literal["logits", "probabilities", "labels"]
"""What a network gives for each cell: numbers before the softmax, probabilities, or the class itself."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class DataFile:
    """A file of weights that an ONNX file refers to."""

    name: str
    """Its path in the folder of the ONNX file, with slashes."""
    sha256: str
    """SHA-256, hexadecimal."""

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.name).parts
        if not parts or self.name.startswith("/") or "\\" in self.name or ".." in parts:
            raise ValueError(f"data: must be names of files in the folder of the model, got {self.name!r}")
        if not _DIGEST.fullmatch(self.sha256):
            raise ValueError(f"data: {self.name} needs a SHA-256 in hexadecimal, got {self.sha256!r}")


@dataclass(frozen=True)
class ONNXSpec:
    """How a network in an ONNX file is called: one input of float images, one output of scores."""

    family: Literal["onnx"]
    in_channels: int
    """Channels of the input; for volumes, image channels times slices seen."""
    classes: int
    """Classes that it tells apart; two for an output of a single plane."""
    input: str
    """Name of the input of the graph."""
    output: str
    """Name of the output of the graph."""
    layout: Layout
    """Order of the input's axes: batch, channels, height, width; or batch, height, width, channels."""
    output_layout: Layout
    """Order of the output's axes, likewise; one without an axis of planes has either."""
    scores: Scores
    """What the output is."""
    threshold: float | None
    """For an output of a single plane, the probability above which a cell is of class 1; None for others."""
    output_stride: int
    """Input pixels per cell of the output, which is resized to the size of the patch: labels to the nearest cell."""
    align_corners: bool
    """Grid of that bilinear resize."""
    size: tuple[int, int] | None
    """Height and width of the only patches that it takes; None: any."""
    multiple: int
    """Height and width of patches must be multiples of it."""
    batch: int | None
    """Patches of a call, if it takes no other number."""
    data: tuple[DataFile, ...] = ()
    """Files beside it that hold its weights, if they are not in it."""

    def __post_init__(self) -> None:
        if min(self.in_channels, self.classes, self.output_stride, self.multiple, *(self.size or (1, 1))) < 1:
            raise ValueError(f"every count and size must be at least 1: {self}")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")
        if self.threshold is not None and not (0 < self.threshold < 1 and self.classes == 2):
            raise ValueError(f"threshold: is a probability above 0 and below 1, of two classes; got {self.threshold}")
        if not self.input or not self.output:
            raise ValueError("input and output must be names of the graph")

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return f"ONNX, {self.scores}, output stride {self.output_stride}"

    def takes(self, size: tuple[int, int]) -> bool:
        """Whether it computes patches of a height and width."""
        return size == self.size if self.size is not None else not any(side % self.multiple for side in size)


NetworkSpec = PSPNetSpec | ONNXSpec
"""What a card says of its network."""
