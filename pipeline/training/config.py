"""A training, as its TOML file has it: typed, checked, with the key's path in every error. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pipeline.decoding import Meaning, keys_of, read_toml
from pipeline.decoding.readers import POSITIVE
from pipeline.errors import RequestError
from pipeline.models.card import ClassEntry, Pair, Values
from pipeline.models.spec import Backbone as BackboneName
from pipeline.models.spec import BasicDilation, Dilation, Head, OutputStride, Stem
from pipeline.training.limits import LIMITS, beyond

View = Literal["axial", "coronal", "sagittal"]


@dataclass(frozen=True)
class Data:
    """Which files are learned from."""

    images: Annotated[str | None, Meaning("Pattern of the images, relative to the training file; or give `table`.")] = (
        None
    )
    labels: Annotated[
        str | None,
        Meaning("Path of each image's labels, with `{stem}` for the image's name without folder and suffix."),
    ] = None
    table: Annotated[
        str | None,
        Meaning(
            'A `.csv` or `.tsv` with the columns `image` and `label`, and optionally `split` ("train" or "validation").'
        ),
    ] = None
    validation: Annotated[
        tuple[str, ...], Meaning("Stems, or patterns of stems, of the images held out for validation.")
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meaning("Stems, or patterns of stems, that are not used at all: the test split.")
    ] = ()
    unlabeled: Annotated[
        tuple[str, ...],
        Meaning("Patterns of images without labels, on which `teacher.models` alone say what is right."),
    ] = ()
    bands: Annotated[
        tuple[int | str, ...] | None,
        Meaning(
            "Raster bands by number (from 1) or name.", unset="the bands named like the channels, else all but alpha"
        ),
    ] = None
    scale: Annotated[
        tuple[float, ...] | None,
        Meaning(
            "Scale of scene values, one number or one per channel: training sees `value * scale + offset`.",
            unset='1, or that of the file if `samples.values` is "physical" and `offset` is not given',
        ),
    ] = None
    offset: Annotated[
        tuple[float, ...] | None,
        Meaning("Offset of scene values, one number or one per channel.", unset="0, or that of the file"),
    ] = None
    ignore: Annotated[tuple[int, ...], Meaning("Label values to ignore, besides nodata.")] = (255,)


@dataclass(frozen=True)
class Network:
    """The network, as in the card of a model; channels and classes follow from the rest."""

    backbone: Annotated[BackboneName, Meaning("As in the card of a model.")] = "resnet18"
    output_stride: Annotated[OutputStride, Meaning("As in the card of a model.")] = 8
    dilation: Annotated[Dilation, Meaning("As in the card of a model.")] = "contracted"
    basic_dilation: Annotated[BasicDilation, Meaning("As in the card of a model.")] = "conv1"
    align_corners: Annotated[bool, Meaning("As in the card of a model.")] = False
    stem: Annotated[Stem, Meaning("As in the card of a model.")] = "torchvision"
    bins: Annotated[tuple[int, ...], Meaning("As in the card of a model.")] = (1, 2, 3, 6)
    ppm_channels: Annotated[int, Meaning("As in the card of a model.")] = 128
    head_channels: Annotated[int, Meaning("As in the card of a model.")] = 128
    head: Annotated[Head, Meaning("As in the card of a model.")] = "pspnet"
    truncated: Annotated[bool, Meaning("As in the card of a model.")] = False
    dropout: Annotated[float, Meaning("As in the card of a model.")] = 0.1
    decoder_channels: Annotated[
        tuple[int, ...] | None, Meaning("As in the card of a model.", unset="no decoder: the network of the paper")
    ] = None
    auxiliary: Annotated[
        float, Meaning("Weight of the auxiliary loss (section 3.3 of the paper); 0: no auxiliary head.")
    ] = 0.4
    pretrained: Annotated[
        str | None,
        Meaning(
            "Model or backbone to start from: the name of a packaged one, such as `landcover` or `efficientnet_lite0`, "
            "a folder (relative to the data, else to the working directory), or a model on a hub.",
            unset="random weights",
        ),
    ] = None
    frozen_stages: Annotated[
        int,
        Meaning("Backbone layers that are not trained, from the stem on: 0 none, 1 the stem, 2 also the first layer."),
    ] = 0
    frozen_norms: Annotated[bool, Meaning("Keep the batch norm statistics of the pretrained weights.")] = False


@dataclass(frozen=True)
class Samples:
    """What a step sees."""

    patch: Annotated[Pair, Meaning("Patch size (height, width) in model pixels.")] = (512, 512)
    batch: Annotated[int, Meaning("Patches per step.")] = 8
    spacing: Annotated[
        tuple[float, float] | None,
        Meaning(
            "Pixel size of the model: millimeters (volumes) or meters on the ground (scenes).", unset="the input's own"
        ),
    ] = None
    zoom: Annotated[
        float | None,
        Meaning("Model pixels along each axis for a cell of the input, without a spacing.", unset="1"),
    ] = None
    margin: Annotated[int, Meaning("Neighboring slices seen on each side (volumes).")] = 0
    views: Annotated[tuple[View, ...], Meaning("Slicing directions of volumes, used in turn.")] = ("axial",)
    orientation: Annotated[str, Meaning("World direction of each axis of a volume.")] = "RAS"
    balanced: Annotated[
        float,
        Meaning("Share of the patches centered on a pixel of a class drawn evenly; the others are placed at random."),
    ] = 0.5
    unlabeled: Annotated[
        float, Meaning("Share of the patches that are drawn from the images without labels, where there are some.")
    ] = 0.25
    most_of_one: Annotated[
        float,
        Meaning(
            "Largest share of a randomly placed patch that one class may fill, else another is drawn; 0.75 in mmseg.",
            name="cat_max_ratio",
        ),
    ] = 1.0
    values: Annotated[
        Values,
        Meaning('Scene values to train on: "raw" as stored, or "physical" after the scale and offset of each band.'),
    ] = "raw"
    normalization: Annotated[
        Literal["fixed", "zscore", "window", "percentile"],
        Meaning(
            '"fixed", "zscore" (per volume), "window", or "percentile" (per image), as in the card. '
            'All but "zscore" use the mean and standard deviation of the training images unless `mean` and `std` '
            "are given.",
            former=("normalisation",),
        ),
    ] = "fixed"
    mean: Annotated[
        tuple[float, ...],
        Meaning(
            'Mean per channel, in units of the input; for "percentile", of the stretched values (0 to 1).',
            unset="measured",
        ),
    ] = ()
    std: Annotated[tuple[float, ...], Meaning("Standard deviation per channel, above 0.", unset="measured")] = ()
    low: Annotated[tuple[float, ...], Meaning("Lower end of the window, or lower percentile, per channel.")] = ()
    high: Annotated[tuple[float, ...], Meaning("Upper end of the window, or upper percentile, per channel.")] = ()


@dataclass(frozen=True)
class Augmentation:
    """How a sample is changed; the labels follow each change of place."""

    scale: Annotated[tuple[float, float], Meaning("Zoom range, drawn evenly on a logarithmic scale.")] = (0.5, 2.0)
    stretch: Annotated[float, Meaning("Largest difference in zoom between height and width, as a share.")] = 0.0
    rotation: Annotated[float, Meaning("Largest rotation to either side, in degrees.")] = 10.0
    quarter_turns: Annotated[bool, Meaning("Rotate patches by multiples of 90 degrees.")] = True
    flips: Annotated[
        tuple[Literal["vertical", "horizontal", "sides"], ...],
        Meaning(
            'Flips, each applied with probability 0.5: vertical, horizontal, or "sides" (left and right of the body).'
        ),
    ] = ("vertical", "horizontal")
    brightness: Annotated[float, Meaning("Largest shift, in standard deviations of the normalized image.")] = 0.2
    contrast: Annotated[float, Meaning("Largest change in contrast, as a share.")] = 0.2
    gamma: Annotated[
        float, Meaning("Largest absolute logarithm of the gamma exponent, which applies to the image scaled to 0..1.")
    ] = 0.0
    color: Annotated[
        float,
        Meaning(
            "Largest change in scale of a single channel, as a share; slices of a volume change together.",
            former=("colour",),
        ),
    ] = 0.1
    noise: Annotated[float, Meaning("Largest standard deviation of added Gaussian noise.")] = 0.02
    blur: Annotated[float, Meaning("Share of the patches that are blurred, by a Gaussian of 0.3 to 1.2 pixels.")] = 0.0


@dataclass(frozen=True)
class Loss:
    """What is made small."""

    dice: Annotated[float, Meaning("Weight of the soft Dice loss, added to the cross-entropy.")] = 0.0
    class_weights: Annotated[
        tuple[float, ...], Meaning("Weights of the classes in the cross-entropy.", unset="all equal")
    ] = ()
    smoothing: Annotated[float, Meaning("Label smoothing of the cross-entropy.", name="label_smoothing")] = 0.0
    boundary: Annotated[
        float, Meaning("Weight in the cross-entropy of pixels at most 2 away from another class; others have 1.")
    ] = 1.0
    hardest: Annotated[
        float, Meaning("Share of the labeled pixels of a batch, those with the most cross-entropy, that count.")
    ] = 1.0


@dataclass(frozen=True)
class Teacher:
    """Models that are learned from beside the labels, or where there are none: distillation and self-training."""

    models: Annotated[
        tuple[str, ...],
        Meaning(
            "Models with the same classes and channels, by name or folder (relative to the data, else to the working "
            "directory); the mean of their probabilities is what is learned."
        ),
    ] = ()
    weight: Annotated[float, Meaning("Weight of the cross-entropy against their probabilities.")] = 0.5
    confident: Annotated[
        float, Meaning("Least probability of their most likely class for a pixel to count; 0: all count.")
    ] = 0.0


@dataclass(frozen=True)
class Schedule:
    """How the weights move."""

    steps: Annotated[int, Meaning("Number of steps.")] = 20000
    optimizer: Annotated[Literal["sgd", "adamw"], Meaning('"sgd" or "adamw".', former=("optimiser",))] = "sgd"
    rate: Annotated[float, Meaning("Initial learning rate of the backbone.", name="learning_rate")] = 0.01
    new_layers: Annotated[
        float,
        Meaning(
            "Learning rate multiplier of the pyramid and the heads (10 in the paper's code).", name="head_lr_multiplier"
        ),
    ] = 10.0
    momentum: Annotated[float, Meaning("Momentum of SGD.")] = 0.9
    decay: Annotated[float, Meaning("Weight decay.", name="weight_decay")] = 0.0001
    power: Annotated[float, Meaning("The learning rate falls as (1 - step / steps) to this power.")] = 0.9
    coarse: Annotated[
        float,
        Meaning(
            "Share of the steps, from the first on, taken at twice the output stride: three times faster, same weights."
        ),
    ] = 0.0
    warm_up: Annotated[int, Meaning("Steps over which the learning rate rises from 0.")] = 0
    clip: Annotated[float, Meaning("Largest gradient norm; 0: no clipping.", name="gradient_clip_norm")] = 0.0
    averaging: Annotated[
        float,
        Meaning(
            "Decay of the exponential moving average of the weights, which is what is published; 0: no averaging.",
            name="ema_decay",
        ),
    ] = 0.0
    every: Annotated[int, Meaning("Steps between checkpoints, each with a validation.", name="checkpoint_interval")] = (
        500
    )
    checks: Annotated[
        int, Meaning("Patches of the validation items used by a validation, spread evenly.", name="validation_patches")
    ] = 200
    patience: Annotated[int, Meaning("Validations without improvement before training stops; 0: never.")] = 0


@dataclass(frozen=True)
class Training:
    """One training: everything that decides the weights."""

    name: Annotated[str, Meaning("Name of the model.")]
    kind: Annotated[Literal["scene", "volume"], Meaning('"scene" or "volume".')]
    classes: Annotated[
        tuple[ClassEntry, ...], Meaning("List of `{name, color}`; the number of a class is its position, from 0.")
    ]
    channels: Annotated[tuple[str, ...], Meaning("Names of the input's channels, in order.")]
    data: Annotated[Data, Meaning("See below.")]
    network: Annotated[Network, Meaning("See below.")] = Network()
    samples: Annotated[Samples, Meaning("See below.")] = Samples()
    augmentation: Annotated[Augmentation, Meaning("See below.")] = Augmentation()
    loss: Annotated[Loss, Meaning("See below.")] = Loss()
    teacher: Annotated[Teacher, Meaning("See below.")] = Teacher()
    schedule: Annotated[Schedule, Meaning("See below.")] = Schedule()
    averaging: Annotated[
        Literal["softmax", "logits"],
        Meaning('What is blended where patches overlap, when the model runs: "softmax" or "logits".'),
    ] = "softmax"
    window: Annotated[Literal["gaussian", "hann", "linear", "constant"], Meaning("Blend window of the model.")] = (
        "gaussian"
    )
    seed: Annotated[int, Meaning("Random seed of the initial weights, the samples and dropout.")] = 0
    license: Annotated[
        str, Meaning("License of the weights, an SPDX identifier if there is one.", former=("licence",))
    ] = "unknown"
    credits: Annotated[str, Meaning("Whose data the model is trained on.")] = "unknown"
    limits: Annotated[tuple[str, ...], Meaning("Known limitations of the model, one sentence each, for its card.")] = ()

    def __post_init__(self) -> None:
        for fault in _faults(self):
            raise ValueError(fault)
        scaled = (self.data.scale, self.data.offset, self.samples.values) != (None, None, "raw")
        if self.kind == "volume" and scaled:
            raise ValueError("data.scale, data.offset and samples.values are for scenes; this is for volumes")
        if self.data.unlabeled and not self.teacher.models:
            raise ValueError("data.unlabeled: nothing can be learned from images without labels; give teacher.models")


def as_written(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe in the card of a model with the keys of a training file, whichever version wrote it."""
    tables = {key.field.name: key.kind for key in keys_of(Training) if is_dataclass(key.kind)}
    return {
        name: _renamed(tables[name], values) if name in tables and isinstance(values, Mapping) else values
        for name, values in recipe.items()
    }


def _renamed(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401  (the dataclass of a table)
    names = {name: key.name for key in keys_of(kind) for name in (key.name, *key.former)}
    return {names.get(name, name): value for name, value in values.items()}


def _faults(training: Training) -> Iterator[str]:
    """Yield what is wrong with the numbers of a training, with the key."""
    for table in LIMITS:
        yield from beyond(table, getattr(training, table))
    low, high = training.augmentation.scale
    if low > high:
        yield f"augmentation.scale: must be the smallest and the largest zoom, got {[low, high]}"
    if training.kind == "volume" and not training.samples.views:
        yield "samples.views: must have at least one direction, such as axial"
    weights, classes = training.loss.class_weights, len(training.classes)
    if weights and len(weights) != classes:
        yield f"loss.class_weights: must be a number for each of the {classes} classes, got {len(weights)}"
    if weights and not any(weights):
        yield "loss.class_weights: must not all be 0"


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
