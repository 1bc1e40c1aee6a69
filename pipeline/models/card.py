"""The card of a model: everything that its weights do not say, as a frozen dataclass and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pipeline.classes import Snomed
from pipeline.decoding import Meaning, decode, did_you_mean, encode
from pipeline.errors import ModelError, RequestError
from pipeline.files.signatures import stand_in
from pipeline.models.spec import NetworkSpec, ONNXSpec, PSPNetSpec

FORMAT = 2
"""Version of the card's layout."""
_ADDED: Mapping[str, Any] = {"training": {}, "limits": [], "values": "raw", "view_weights": [], "domain": None}
"""Keys that older cards of this format do not have."""
Pair = tuple[int, int]
Range = tuple[float, float]
"""A smallest and a largest value."""
Values = Literal["raw", "physical"]
Features = Literal["patch", "shared"]
"""Whether each patch computes its own features, or overlapping ones share them."""
ViewName = Literal["axial", "coronal", "sagittal"]


@dataclass(frozen=True)
class ClassEntry:
    """One class; its id is its position in the card."""

    name: str
    color: Annotated[tuple[int, int, int], Meaning("Red, green and blue, 0 to 255.", name="colour")]
    snomed: Annotated[
        Snomed | None, Meaning("Category and type in SNOMED CT, each `{code, meaning}`.", sparse=True)
    ] = None


@dataclass(frozen=True)
class Normalization:
    """How values are scaled before the network sees them: `(value - mean) / std` per channel.

    "fixed": with the mean and std given here, in units of the input. "zscore": with those of each volume, over its
    finite voxels other than 0. "window": clipped to `low..high` first, then as "fixed". "percentile": clipped to the
    values at the percentiles `low..high` of each input, which become 0 and 1; then as "fixed", in these units.
    """

    kind: Literal["fixed", "zscore", "window", "percentile"]
    mean: tuple[float, ...]
    """One per channel; empty for "zscore"."""
    std: tuple[float, ...]
    """One per channel, above 0; empty for "zscore"."""
    low: tuple[float, ...] = ()
    """Lower end of the window, or lower percentile, one per channel; empty for other kinds."""
    high: tuple[float, ...] = ()
    """Upper end, or percentile, one per channel, above `low`; empty for other kinds."""

    @property
    def by_input(self) -> bool:
        """Whether each input is scaled by numbers of its own."""
        return self.kind in ("zscore", "percentile")

    def check(self, channels: int) -> None:
        """Raise ValueError if this cannot scale an input of `channels` channels."""
        expected = 0 if self.kind == "zscore" else channels
        if len(self.mean) != expected or len(self.std) != expected or min(self.std, default=1.0) <= 0:
            raise ValueError(
                f"normalisation: kind {self.kind!r} with {channels} channels needs {expected} means and as many "
                f"stds above 0, got {self.mean} and {self.std}"
            )
        ends = channels if self.kind in ("window", "percentile") else 0
        if len(self.low) != ends or len(self.high) != ends:
            raise ValueError(
                f"normalisation: kind {self.kind!r} with {channels} channels needs {ends} values of low and of high, "
                f"got {self.low} and {self.high}"
            )
        if any(low >= high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"normalisation: low must be below high, got {self.low} and {self.high}")
        if self.kind == "percentile" and not 0 <= min(self.low) < max(self.high) <= 100:
            raise ValueError(f"normalisation: percentiles are from 0 to 100, got {self.low} and {self.high}")


@dataclass(frozen=True)
class Int8:
    """The int8 form of a network for OpenVINO: two files next to the weights, and how well it agrees with float32."""

    xml_sha256: str
    """SHA-256 of `int8.xml`, the graph, hexadecimal."""
    bin_sha256: str
    """SHA-256 of `int8.bin`, its weights, hexadecimal."""
    patch: Pair
    """Height and width of the only patches that it takes, in model pixels, unless they share features."""
    rest: Literal["float32", "bfloat16"]
    """What the layers that are not in int8 are computed in."""
    agreement: float
    """Share of pixels that got the label of float32 when it was made, on patches that it was not fitted to."""
    patches: int
    """Number of those patches."""

    def __post_init__(self) -> None:
        if min(self.patch) < 1 or self.patches < 1 or not 0 <= self.agreement <= 1:
            raise ValueError(f"int8: needs a patch, a share from 0 to 1 and a number of patches, got {self}")


@dataclass(frozen=True)
class Appearance:
    """What the values of training inputs look like: mean and standard deviation over samples of them, for each channel.

    Empty where something is not measured: level and contrast of a model that scales each input by itself.
    """

    level: tuple[Range, ...] = ()
    """Of the mean of the values."""
    contrast: tuple[Range, ...] = ()
    """Of the natural logarithm of their standard deviation."""
    roughness: tuple[Range, ...] = ()
    """Of the logarithm of the mean difference of neighbors, in standard deviations."""
    asymmetry: tuple[Range, ...] = ()
    """Of the mean minus the median, in standard deviations."""
    agreement: tuple[Range, ...] = ()
    """Of the correlation with the mean of the other channels."""
    usual: float | None = None
    """Distance of training inputs from the others, that of most of them; None: there was only one."""

    def check(self, channels: int) -> None:
        """Raise ValueError if this cannot be that of a model with so many channels."""
        if self.usual is not None and self.usual <= 0:
            raise ValueError(f"domain.appearance.usual: must be above 0, got {self.usual}")
        for name in ("level", "contrast", "roughness", "asymmetry", "agreement"):
            found = getattr(self, name)
            if len(found) not in (0, channels) or any(spread < 0 for _, spread in found):
                raise ValueError(
                    f"domain.appearance.{name}: needs a mean and a standard deviation for each of {channels} channels, "
                    f"got {found}"
                )


@dataclass(frozen=True)
class Domain:
    """What a model was trained on: inputs that are far from it are told, or refused. What is unknown is left empty."""

    values: tuple[Range, ...] = ()
    """Lowest and highest value of each channel, as the model takes them."""
    ground_resolution: Range | None = None
    """Meters on the ground of a pixel (scenes)."""
    spacing: tuple[Range, ...] = ()
    """Millimeters of a voxel along x, y and z of the model's orientation (volumes)."""
    field_of_view: tuple[Range, ...] = ()
    """Millimeters of a whole volume along x, y and z of the model's orientation."""
    appearance: Annotated[Appearance | None, Meaning("What values look like.", sparse=True)] = None
    """None: unknown."""

    def check(self, kind: str, channels: int) -> None:
        """Raise ValueError if this cannot be the domain of a model of `kind` with so many channels."""
        if self.appearance is not None:
            self.appearance.check(channels)
        if len(self.values) not in (0, channels):
            raise ValueError(f"domain.values: needs a range for each of {channels} channels, got {self.values}")
        axes = {0, 3} if kind == "volume" else {0}
        if {len(self.spacing), len(self.field_of_view)} - axes or (kind == "volume" and self.ground_resolution):
            raise ValueError(
                "domain: scenes have a ground_resolution; volumes have a spacing and a field_of_view for x, y and z"
            )
        lengths = [*self.spacing, *self.field_of_view, *([self.ground_resolution] if self.ground_resolution else [])]
        if any(low > high for low, high in (*self.values, *lengths)) or any(low <= 0 for low, _ in lengths):
            raise ValueError(f"domain: ranges are a smallest and a largest value, lengths above 0, got {self}")


@dataclass(frozen=True)
class Card:
    """Description of a model: its input, its output, how it is run, and where it comes from."""

    format: int
    """Version of this layout: `FORMAT`."""
    name: str
    kind: Literal["scene", "volume"]
    """What it segments: scenes (y, x), or volumes (z, y, x) slice by slice."""
    classes: tuple[ClassEntry, ...]
    """Class table; a class's id is its position."""
    network: NetworkSpec
    patch: Pair
    """Height and width of a patch in model pixels: the size that it was trained at."""
    overlap: Pair
    """Height and width shared by neighboring patches, in model pixels."""
    channels: tuple[str, ...]
    """Names of the input's channels, in order."""
    margin: int
    """Neighboring slices seen on each side (volumes); 0 for scenes."""
    normalization: Annotated[Normalization, Meaning("How values are scaled.", name="normalisation")]
    spacing: tuple[float, float] | None
    """Millimeters (volumes) or meters on the ground (scenes) per model pixel, height, width; None: the input's own."""
    orientation: str | None
    """World direction of each axis x, y, z that it was trained in, such as "RAS" (volumes); None for scenes."""
    views: tuple[ViewName, ...]
    """Directions in which slices are cut (volumes), in the order in which scores are averaged; none for scenes."""
    averaging: Literal["softmax", "logits"]
    """What is blended where patches overlap."""
    window: Literal["gaussian", "hann", "linear", "constant"]
    """Weight of a pixel by its place in the patch."""
    weights_sha256: str
    """SHA-256 of the weights' file, hexadecimal."""
    license: Annotated[str, Meaning("License of the weights (SPDX where there is one).", name="licence")]
    credits: str
    """Whose data it was trained on."""
    evaluation: Mapping[str, Any]
    """Figures measured on held-out data, and how, under names such as "test"."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """How it came by its weights: data and splits, samples, augmentation, loss, schedule and seed."""
    limits: tuple[str, ...] = ()
    """What it is known to do wrongly, a sentence each."""
    values: Values = "raw"
    """What it takes of a scene: values as they are stored, or physical ones, by the scale and offset of each band."""
    int8: Int8 | None = None
    """Its form in int8, if it has one."""
    view_weights: tuple[float, ...] = ()
    """Weight of each of `views` where scores are averaged, above 0; empty: all alike."""
    domain: Domain | None = None
    """What it was trained on; None: unknown."""
    features: Annotated[
        Features | None, Meaning("How overlapping patches get their features, unless a job says so.", sparse=True)
    ] = None
    """None: "patch"."""
    temperature: Annotated[
        float | None, Meaning("What logits are divided by before the softmax, so that probabilities hold.", sparse=True)
    ] = None
    """None: 1."""
    zoom: Annotated[
        float | None, Meaning("Model pixels along each axis for a cell of the input, of whatever size.", sparse=True)
    ] = None
    """None: 1. Not beside a spacing."""

    def __post_init__(self) -> None:
        self._check_table()
        self._check_patches()
        self._check_kind()
        self._check_views()
        self._check_onnx()
        self.normalization.check(len(self.channels))
        if self.domain is not None:
            self.domain.check(self.kind, len(self.channels))

    def _check_table(self) -> None:
        names, count = [entry.name for entry in self.classes], self.network.classes
        if len(set(names)) != len(names) or len(names) != count:
            raise ValueError(f"classes: {len(names)} given, {len(set(names))} different; network has {count}")
        if any(not 0 <= value <= 255 for value in chain.from_iterable(entry.color for entry in self.classes)):
            raise ValueError(f"classes: colors are three values from 0 to 255, got {self.classes}")

    def _check_patches(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"format: this version reads format {FORMAT}, got {self.format}")
        if any(not 0 <= overlap < patch for patch, overlap in zip(self.patch, self.overlap, strict=True)):
            raise ValueError(f"overlap: must be from 0 to below the patch {self.patch}, got {self.overlap}")
        if self.margin < 0 or len(self.channels) * (2 * self.margin + 1) != self.network.in_channels:
            raise ValueError(
                f"margin: {len(self.channels)} channels of {2 * self.margin + 1} slices do not make "
                f"network.in_channels = {self.network.in_channels}"
            )
        self._check_lengths()
        if self.temperature is not None and self.temperature <= 0:
            raise ValueError(f"temperature: must be above 0, got {self.temperature}")

    def _check_lengths(self) -> None:
        if self.spacing is not None and min(self.spacing) <= 0:
            raise ValueError(f"spacing: must be above 0, got {self.spacing}")
        if self.zoom is not None and (self.zoom <= 0 or self.spacing is not None):
            raise ValueError(f"zoom: must be above 0, and not beside a spacing, got {self.zoom} and {self.spacing}")

    def _check_kind(self) -> None:
        of_volumes = (self.orientation is not None, bool(self.views))
        if of_volumes != ((self.kind == "volume"),) * 2 or (self.kind == "scene" and self.margin):
            raise ValueError("kind: volumes need an orientation and views; scenes have neither, and no margin")
        if self.kind == "volume" and self.values != "raw":
            raise ValueError('values: must be "raw" for volumes, whose files are always scaled as their headers say')

    def _check_views(self) -> None:
        if self.view_weights and (len(self.view_weights) != len(self.views) or min(self.view_weights) <= 0):
            raise ValueError(
                f"view_weights: needs a number above 0 for each of {len(self.views)} views, got {self.view_weights}"
            )
        if len(set(self.views)) != len(self.views):
            raise ValueError(f"views: each can be given once, got {', '.join(self.views)}")

    def _check_onnx(self) -> None:
        if not isinstance(self.network, ONNXSpec):
            return
        if self.int8 is not None or self.features == "shared":
            raise ValueError('network: only a PSPNet has an int8 form, or features = "shared"')
        if self.network.scores == "labels" and self.averaging != "softmax":
            raise ValueError('averaging: must be "softmax" for a network that gives labels, which have no logits')
        if not self.network.takes(self.patch):
            raise ValueError(f"patch: the network takes patches of {_taken(self.network)}, got {self.patch}")

    @property
    def pspnet(self) -> PSPNetSpec:
        """The architecture of its PSPNet.

        Raises:
            ModelError: if it is another network.

        """
        if isinstance(self.network, PSPNetSpec):
            return self.network
        raise ModelError(
            f"model {self.name}: its network is an ONNX file, which can be run and evaluated; only a PSPNet can be "
            "trained further, teach another, be quantized or exported, and share features"
        )

    def check_seen(self, size: Pair) -> None:
        """Raise ModelError if the network cannot compute patches of a height and width in model pixels."""
        network = self.network
        if isinstance(network, PSPNetSpec) or network.takes(size):
            return
        raise ModelError(
            f"model {self.name}: its ONNX network takes patches of {_taken(network)} model pixels, but this run needs "
            f"{size[0]} x {size[1]}; leave out --patch and scales of --tta, or give such ones"
        )

    @property
    def calibrated(self) -> bool:
        """Whether its logits are divided by a temperature other than 1."""
        return self.temperature not in (None, 1)

    @property
    def divisor(self) -> float:
        """What its logits are divided by before the softmax."""
        return 1.0 if self.temperature is None else self.temperature

    def to_words(self) -> dict[str, Any]:
        """Return the card as JSON values; without a domain, if that is unknown, as older versions have it."""
        words: dict[str, Any] = encode(self)
        return words if self.domain is not None else {key: value for key, value in words.items() if key != "domain"}

    def to_json(self) -> str:
        """Return the card as a JSON document, one key per line."""
        return json.dumps(self.to_words(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Read a card from JSON.

        Raises:
            ValueError: with the path of the key, if anything is unknown, missing or of the wrong type.

        """
        document = json.loads(text)
        return decode(cls, _complete(document) if isinstance(document, dict) else document)


def _taken(network: ONNXSpec) -> str:
    """The sizes of patches that a network takes, in words."""
    if network.size is not None:
        return " x ".join(map(str, network.size))
    return f"multiples of {network.multiple}"


def _complete(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a card's document with the keys that may be left out."""
    words = {**_ADDED, **document}
    if isinstance(words["domain"], dict):
        words["domain"] = {**encode(Domain()), **words["domain"]}
        if isinstance(appearance := words["domain"].get("appearance"), dict):
            words["domain"]["appearance"] = {**encode(Appearance()), **appearance}
    return words


def views_of(asked: str | Sequence[str] | None) -> tuple[ViewName, ...] | None:
    """Return the views named by "axial,coronal" or ("axial", "coronal"), or None for none.

    Raises:
        RequestError: for unknown and for repeated views.

    """
    known: tuple[ViewName, ...] = get_args(ViewName)
    names = asked.split(",") if isinstance(asked, str) else asked or ()
    words = [name.strip() for name in names]
    for word in words:
        if word not in known:
            raise RequestError(f"unknown view {word!r}{did_you_mean(word, known)}; choose one of {', '.join(known)}")
    if len(set(words)) != len(words):
        raise RequestError(f"view {','.join(words)}: each can be given once")
    return tuple(view for word in words for view in known if view == word) or None


def read_card(path: Path) -> Card:
    """Read the card in the file `path`.

    Raises:
        ModelError: with the file and the key, if it cannot be used.

    """
    try:
        return Card.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot read the card of this model ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{path}: {stand_in(path) or error}") from error
