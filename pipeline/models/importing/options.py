"""What is said of a file of weights that it cannot say itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pipeline.decoding import did_you_mean
from pipeline.errors import RequestError
from pipeline.models.card import Pair
from pipeline.models.spec import BasicDilation, Dilation, OutputStride

Preset = Literal["semseg", "mmseg", "mmseg-b", "mmseg-mnv2", "smp", "torchvision", "timm", "ssl4eo", "satlas", "own"]


@dataclass(frozen=True)
class Wishes:
    """Options of an import; None: as the file says, else as its home project usually has it."""

    preset: Preset | None = None
    """Family of the file; None: told by its names."""
    output_stride: OutputStride | None = None
    dilation: Dilation | None = None
    basic_dilation: BasicDilation | None = None
    align_corners: bool | None = None
    patch: Pair | None = None
    """Height and width of a patch."""
    overlap: Pair | None = None
    """Height and width shared by neighbouring patches."""
    classes: tuple[str, ...] | None = None
    """Names of the classes, from class 0."""
    channels: tuple[str, ...] | None = None
    """Names of the channels that the file's first convolution takes, in its order."""
    mean: tuple[float, ...] | None = None
    """One per channel of the result, in units of the input."""
    std: tuple[float, ...] | None = None
    """One per channel of the result, above 0."""
    drop_channels: tuple[str, ...] = ()
    """Channels to leave out, such as B10."""
    for_channels: tuple[str, ...] | None = None
    """Channels of the result; those of the same name keep their filters, others come from `extend`."""
    extend: Literal["zero", "tile"] | None = None
    """Filters of channels that the file does not know; see `pipeline.models.importing.first_conv`."""
    threshold: float | None = None
    """Probability from which a head of one plane (sigmoid) says class 1."""
    name: str | None = None
    licence: str | None = None
    credits: str | None = None
    kind: Literal["scene", "volume"] = "scene"
    orientation: str | None = None
    """World direction of each axis x, y, z in training, such as "RAS" (volumes)."""
    view: Literal["axial", "coronal", "sagittal"] | None = None
    half: bool = False
    """Store float16, half the size, instead of float32."""
    overwrite: bool = False
    """Replace a model that is there."""

    def __post_init__(self) -> None:
        known: dict[str, tuple[object, ...]] = {
            "preset": get_args(Preset),
            "output_stride": get_args(OutputStride),
            "dilation": get_args(Dilation),
            "basic_dilation": get_args(BasicDilation),
            "extend": ("zero", "tile"),
            "kind": ("scene", "volume"),
            "view": ("axial", "coronal", "sagittal"),
        }
        for name, choices in known.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                words = [str(choice) for choice in choices]
                near = did_you_mean(str(value), words)
                raise RequestError(f"--{name.replace('_', '-')} {value!r}{near}: choose one of {', '.join(words)}")
        if self.patch is not None and min(self.patch) < 1:
            raise RequestError(f"--patch {self.patch}: must be at least 1")
