"""A training, as its TOML file has it: typed, checked, with the key's path in every error. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pipeline.decoding import Meaning, read_toml
from pipeline.decoding.readers import POSITIVE
from pipeline.errors import RequestError
from pipeline.models.card import ClassEntry, Pair, Values
from pipeline.models.spec import Backbone as BackboneName
from pipeline.models.spec import BasicDilation, Dilation, Head, OutputStride, Stem

View = Literal["axial", "coronal", "sagittal"]


@dataclass(frozen=True)
class Data:
    """Which files are learned from."""

    images: str | None = None
    """Pattern of the images, relative to the file of the training; or `table`."""
    labels: str | None = None
    """Where the labels of an image lie: a path with `{stem}`, the image's name without folder and suffix."""
    table: str | None = None
    """A `.csv` or `.tsv` with the columns `image` and `label`, and `split` ("train" or "validation") if it tells."""
    validation: tuple[str, ...] = ()
    """Stems, or patterns of stems, of the images kept for validation."""
    exclude: tuple[str, ...] = ()
    """Stems, or patterns of stems, that are not used at all: the test split."""
    bands: tuple[int | str, ...] | None = None
    """Bands of a raster to use, by number from 1 or by name; None: those named as the channels, or else all but
    alpha."""
    scale: tuple[float, ...] | None = None
    """Scale of the values of a scene, one for all channels or one for each: `value * scale + offset` is learned from.
    None: 1, or where `samples.values` are physical and `offset` is None too, that of the file."""
    offset: tuple[float, ...] | None = None
    """Offset, likewise; None: 0, or that of the file."""
    ignore: tuple[int, ...] = (255,)
    """Values of the labels that are not learned from, beside their nodata."""


@dataclass(frozen=True)
class Network:
    """The network, as in the card of a model; channels and classes follow from the rest."""

    backbone: BackboneName = "resnet18"
    output_stride: OutputStride = 8
    dilation: Dilation = "contracted"
    basic_dilation: BasicDilation = "conv1"
    align_corners: bool = False
    stem: Stem = "torchvision"
    bins: tuple[int, ...] = (1, 2, 3, 6)
    ppm_channels: int = 128
    head_channels: int = 128
    head: Head = "pspnet"
    truncated: bool = False
    dropout: float = 0.1
    auxiliary: float = 0.4
    """Weight of the loss of the second head (section 3.3); 0: there is none."""
    pretrained: str | None = None
    """A model, or a folder that `import-weights` made, to begin from; None: random weights."""
    frozen_stages: int = 0
    """Layers of the backbone, from the stem on, that are not trained: 0 none, 1 the stem, 2 the first layer too."""
    frozen_norms: bool = False
    """Whether batch norms keep the statistics that they come with."""


@dataclass(frozen=True)
class Samples:
    """What a step sees."""

    patch: Pair = (512, 512)
    """Height and width of a patch in model pixels."""
    batch: int = 8
    spacing: tuple[float, float] | None = None
    """Millimetres (volumes) or world units (scenes) per model pixel; None: the input's own."""
    margin: int = 0
    """Neighbouring slices seen on each side (volumes)."""
    views: tuple[View, ...] = ("axial",)
    """Directions in which volumes are sliced, in turn."""
    orientation: str = "RAS"
    """World direction of each axis of a volume."""
    balanced: float = 0.5
    """Share of the patches that are put around a pixel of a class drawn evenly; the others lie anywhere."""
    most_of_one: float = 1.0
    """Most that one class may fill of a patch that lies anywhere, or it is drawn again: 0.75 in mmseg."""
    values: Values = "raw"
    """What is learned from: values of a scene as they are stored, or physical ones."""
    normalisation: Literal["fixed", "zscore", "window", "percentile"] = "fixed"
    """All but "zscore" take the training images' own mean and spread, unless `mean` and `std` are given."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Augmentation:
    """How a sample is changed; the labels follow each change of place."""

    scale: tuple[float, float] = (0.5, 2.0)
    """Range of the zoom, drawn evenly on a logarithmic scale."""
    stretch: float = 0.0
    """Most that height and width may be zoomed apart, as a share."""
    rotation: float = 10.0
    """Most degrees of a small rotation to either side."""
    quarter_turns: bool = True
    """Whether patches are turned by right angles."""
    flips: tuple[Literal["vertical", "horizontal", "sides"], ...] = ("vertical", "horizontal")
    """How a patch may be mirrored, each every other time: down, across, or from the left of the body to its right."""
    brightness: float = 0.2
    """Most that is added, in standard deviations of the normalised image."""
    contrast: float = 0.2
    """Most by which deviations from the mean are stretched, as a share."""
    gamma: float = 0.0
    """Most that the exponent of the image, scaled to 0..1, may differ from 1, as a logarithm."""
    colour: float = 0.1
    """Most by which each channel is stretched by itself, as a share; slices of a volume keep together."""
    noise: float = 0.02
    """Most standard deviation of added noise."""
    blur: float = 0.0
    """Share of the patches that are blurred, by a Gaussian of 0.3 to 1.2 pixels."""


@dataclass(frozen=True)
class Loss:
    """What is made small."""

    dice: float = 0.0
    """Weight of the soft Dice loss beside the cross-entropy."""
    class_weights: tuple[float, ...] = ()
    """Weights of the classes in the cross-entropy; empty: all equal."""
    smoothing: float = 0.0
    """Label smoothing of the cross-entropy."""


@dataclass(frozen=True)
class Schedule:
    """How the weights move."""

    steps: int = 20000
    optimiser: Literal["sgd", "adamw"] = "sgd"
    rate: float = 0.01
    """Learning rate of the backbone at the start."""
    new_layers: float = 10.0
    """By how much the pyramid and the heads learn faster (section 5.1 of the paper's code: 10)."""
    momentum: float = 0.9
    decay: float = 1e-4
    """Weight decay."""
    power: float = 0.9
    """Rates fall as (1 - step / steps) to this power."""
    coarse: float = 0.0
    """Share of the steps, from the first on, that are taken at twice the output stride: three times faster."""
    warm_up: int = 0
    """Steps over which rates grow from 0."""
    clip: float = 0.0
    """Most norm of the gradient; 0: any."""
    averaging: float = 0.0
    """Share of the old average kept at each step in the averaged weights, which are the ones published; 0: none."""
    every: int = 500
    """Steps between checkpoints, each with a validation."""
    checks: int = 200
    """Patches of the validation items that a validation looks at, spread evenly."""
    patience: int = 0
    """Validations without a better figure after which training ends; 0: never."""


@dataclass(frozen=True)
class Training:
    """One training: everything that decides the weights."""

    name: str
    kind: Literal["scene", "volume"]
    classes: tuple[ClassEntry, ...]
    channels: tuple[str, ...]
    """Names of the input's channels, in order."""
    data: Data
    network: Network = Network()
    samples: Samples = Samples()
    augmentation: Augmentation = Augmentation()
    loss: Loss = Loss()
    schedule: Schedule = Schedule()
    averaging: Literal["softmax", "logits"] = "softmax"
    """What is blended where patches overlap, when the model runs."""
    window: Literal["gaussian", "hann", "linear", "constant"] = "gaussian"
    seed: int = 0
    licence: str = "unknown"
    credits: str = "unknown"
    limits: tuple[str, ...] = ()
    """What the model is known to do wrongly, for its card."""

    def __post_init__(self) -> None:
        scaled = (self.data.scale, self.data.offset, self.samples.values) != (None, None, "raw")
        if self.kind == "volume" and scaled:
            raise ValueError("data.scale, data.offset and samples.values are for scenes; this is for volumes")


@dataclass(frozen=True)
class TrainingResources:
    """How a training is computed: speed only."""

    device: Annotated[
        str | None, Meaning("Device: cpu, cuda (all GPUs) or cuda:1.", unset="all GPUs, or else the CPU")
    ] = None
    workers: Annotated[int, Meaning("DataLoader worker processes; 0: load in the main process.")] = 0
    devices: Annotated[
        int | None,
        POSITIVE,
        Meaning(
            "GPUs, or processes on a CPU, that train together, each on its own batches.",
            unset="all GPUs, or one process",
        ),
    ] = None
    bar: bool = False
    """Whether a bar on stderr shows every step."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise RequestError(f"--workers {self.workers}: must be at least 0")


def read_training(path: Path) -> Training:
    """The training in a TOML file; RequestError with the file and the key for anything unknown, missing or wrong."""
    return read_toml(Training, path, "training")
