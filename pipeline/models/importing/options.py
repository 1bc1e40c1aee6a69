"""What is said of a file of weights that it cannot say itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pipeline.decoding import Meaning, did_you_mean
from pipeline.decoding.readers import LENGTHS, NUMBERS, PAIR, WORDS
from pipeline.errors import RequestError
from pipeline.models.card import Pair
from pipeline.models.spec import BasicDilation, Dilation, OutputStride, Scores

Preset = Literal[
    "semseg",
    "mmseg",
    "mmseg-b",
    "mmseg-mnv2",
    "smp",
    "torchvision",
    "timm",
    "efficientnet-pytorch",
    "ssl4eo",
    "satlas",
    "own",
]
Padding = Literal["same", "symmetric"]


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import; None: as the file says, else as its home project usually has it."""

    preset: Annotated[
        Preset | None,
        Meaning(
            "Family of the file: semseg, mmseg, mmseg-b, mmseg-mnv2, smp, torchvision, timm, efficientnet-pytorch, "
            "ssl4eo, satlas, own.",
            unset="detected from the names of the tensors",
        ),
    ] = None
    output_stride: Annotated[
        OutputStride | None,
        Meaning("Input pixels per feature pixel: 8, 16 or 32.", unset="the file's, else the family's"),
    ] = None
    dilation: Annotated[
        Dilation | None,
        Meaning("First block of a dilated layer: contracted or full.", unset="the file's, else the family's"),
    ] = None
    basic_dilation: Annotated[
        BasicDilation | None,
        Meaning("Dilated convolutions of a basic block (ResNet-18 and 34): conv1, both or timm.", unset="the family's"),
    ] = None
    align_corners: Annotated[
        bool | None, Meaning("align_corners of the bilinear resizes.", unset="the file's, else the family's")
    ] = None
    padding: Annotated[
        Padding | None,
        Meaning(
            "Padding of an EfficientNet-Lite: same (Google's, timm's tf_ models) or symmetric (timm's others).",
            unset="by the file's name, else same",
        ),
    ] = None
    patch: Annotated[
        Pair | None,
        PAIR,
        Meaning("Patch size in pixels: 473, or 512,1024 (height, width).", unset="the file's, else the family's"),
    ] = None
    overlap: Annotated[
        Pair | None,
        PAIR,
        Meaning(
            "Overlap of neighboring patches in pixels: 64, or 64,96 (height, width).",
            unset="the file's, else a third of the patch",
        ),
    ] = None
    classes: Annotated[
        tuple[str, ...] | None,
        WORDS,
        Meaning("Class names, from class 0: road,building.", unset="the file's, else class 0 and so on"),
    ] = None
    channels: Annotated[
        tuple[str, ...] | None,
        WORDS,
        Meaning(
            "Names of the channels of the file's first convolution, in order: red,green,blue.",
            unset="the file's, else the family's",
        ),
    ] = None
    mean: Annotated[
        tuple[float, ...] | None,
        NUMBERS,
        Meaning("Mean of each channel of the result, in units of the input.", unset="the file's, else the family's"),
    ] = None
    std: Annotated[
        tuple[float, ...] | None,
        NUMBERS,
        Meaning(
            "Standard deviation of each channel of the result, in units of the input.",
            unset="the file's, else the family's",
        ),
    ] = None
    drop_channels: Annotated[tuple[str, ...], WORDS, Meaning("Channels to leave out, e.g. B10.", unset="none")] = ()
    for_channels: Annotated[
        tuple[str, ...] | None,
        WORDS,
        Meaning(
            "Channels of the result; those that the file knows keep their filters, others need --extend.",
            unset="the file's",
        ),
    ] = None
    extend: Annotated[
        Literal["zero", "tile"] | None,
        Meaning("How to fill the filters of new channels: zero or tile.", unset="new channels are refused"),
    ] = None
    threshold: Annotated[
        float | None,
        Meaning(
            "Decision threshold of a single-channel (sigmoid) head.",
            unset="the file's, else 0.3 for mmseg and 0.5 for others",
        ),
    ] = None
    output_name: Annotated[str | None, Meaning("Output of an ONNX network that has several.", unset="the only one")] = (
        None
    )
    scores: Annotated[
        Scores | None,
        Meaning("What an ONNX network gives: logits, probabilities, or labels.", unset="by what it gives for noise"),
    ] = None
    spacing: Annotated[
        tuple[float, float] | None,
        LENGTHS,
        Meaning(
            "Pixel size that an ONNX network was trained at: meters on the ground, or millimeters of a volume.",
            unset="the file's, else the input's own",
        ),
    ] = None
    name: Annotated[str | None, Meaning("Name of the model.", unset="that of the file")] = None
    license: Annotated[
        str | None, Meaning("License of the weights.", unset="the family's, else unknown", former=("licence",))
    ] = None
    credits: Annotated[
        str | None, Meaning("Whose data the weights were trained on.", unset="the family's, else the file")
    ] = None
    kind: Annotated[Literal["scene", "volume"], Meaning("What the model segments: scene or volume.")] = "scene"
    orientation: Annotated[
        str | None,
        Meaning("World direction of the axes x, y, z of volumes in training, e.g. RAS; required for volumes."),
    ] = None
    view: Annotated[
        Literal["axial", "coronal", "sagittal"] | None,
        Meaning("Slicing direction of volumes: axial, coronal or sagittal; required for volumes."),
    ] = None
    ema: Annotated[bool, Meaning("Take the averaged (EMA) weights of the file.")] = False
    half: Annotated[bool, Meaning("Store float16 instead of float32.")] = False
    overwrite: Annotated[bool, Meaning("Overwrite an existing model.")] = False

    def __post_init__(self) -> None:
        known: dict[str, tuple[object, ...]] = {
            "preset": get_args(Preset),
            "output_stride": get_args(OutputStride),
            "dilation": get_args(Dilation),
            "basic_dilation": get_args(BasicDilation),
            "padding": get_args(Padding),
            "extend": ("zero", "tile"),
            "kind": ("scene", "volume"),
            "view": ("axial", "coronal", "sagittal"),
            "scores": get_args(Scores),
        }
        for name, choices in known.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                words = [str(choice) for choice in choices]
                near = did_you_mean(str(value), words)
                raise RequestError(f"--{name.replace('_', '-')} {value!r}{near}: choose one of {', '.join(words)}")
        if self.spacing is not None and min(self.spacing) <= 0:
            raise RequestError(f"--spacing {self.spacing}: must be above 0")
        if self.patch is not None and min(self.patch) < 1:
            raise RequestError(f"--patch {self.patch}: must be at least 1")
