"""Choices that weights do not determine, and their origin: the user, the file, or the defaults of its project."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.classes import hue_color
from pipeline.models.card import ClassEntry, Normalization, Pair
from pipeline.models.importing.options import ImportOptions, Padding
from pipeline.models.spec import BasicDilation, Dilation, OutputStride

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""Mean and standard deviation of red, green and blue, 0 to 255; those of torchvision times 255."""
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Defaults:
    """Choices that names and shapes do not determine; None: not given here."""

    where: str
    """Who says so, for the user to read."""
    output_stride: OutputStride | None = None
    dilation: Dilation | None = None
    basic_dilation: BasicDilation | None = None
    padding: Padding | None = None
    align_corners: bool | None = None
    averaging: Literal["softmax", "logits"] | None = None
    patch: Pair | None = None
    overlap: Pair | None = None
    classes: tuple[ClassEntry, ...] | None = None
    channels: tuple[str, ...] | None = None
    normalization: Normalization | None = None
    bins: tuple[int, ...] | None = None
    dropout: float | None = None
    threshold: float | None = None
    license: str | None = None
    credits: str | None = None
    advice: tuple[str, ...] = ()
    """What a user of these weights should know."""


def fixed(mean: tuple[float, ...], std: tuple[float, ...]) -> Normalization:
    """`(value - mean) / std` per channel."""
    return Normalization("fixed", mean, std)


def palette(count: int) -> list[tuple[int, int, int]]:
    """Return `count` distinct colors as red, green and blue: hues a golden angle apart, in three brightnesses."""
    return [hue_color(index * _GOLDEN, 0.75, (0.9, 0.65, 0.4)[index % 3]) for index in range(count)]


@dataclass
class Findings:
    """Answers, each with who gave it: an option first, then the file, then the defaults of its home project."""

    options: ImportOptions
    said: tuple[Defaults, ...]
    """What the file says of itself, the most trusted first."""
    usual: Defaults
    concluded: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def pick(self, what: str) -> Any:  # noqa: ANN401  (of the field `what`)
        """Return the value of the field `what`, or None if it is unknown, and note where it comes from."""
        told = getattr(self.options, what, None)
        option = f"--{what.replace('_', '-')}"
        found = self.said_of(what)
        if told is not None:
            over = "" if found is None or getattr(found, what) == told else f", but {found.where} differs"
            self.tell(what, told, f"{option}{over}")
            return told
        if found is not None:
            self.conclude(what, getattr(found, what), found.where)
            return getattr(found, what)
        value = getattr(self.usual, what)
        if value is not None:
            changed = f"; {option} changes it" if hasattr(self.options, what) else ""
            changed = "; --mean and --std change it" if what == "normalization" else changed
            self.tell(what, value, f"{self.usual.where}, not in the file{changed}")
        return value

    def said_of(self, what: str) -> Defaults | None:
        """The part of the file that says what the field `what` is."""
        return next((said for said in self.said if getattr(said, what) is not None), None)

    def note(self, text: str) -> None:
        """Note what the user should know."""
        self.told.append(f"note: {text}")

    def conclude(self, what: str, value: object, where: str) -> None:
        """Note what the file says."""
        self.concluded.append(_line(what, value, where))

    def tell(self, what: str, value: object, where: str) -> None:
        """Note what the file cannot say."""
        self.told.append(_line(what, value, where))


def _line(what: str, value: object, where: str) -> str:
    return f"{what.replace('_', ' ')}: {_plain(value)} ({where})"


def _plain(value: object) -> str:
    if isinstance(value, Normalization):
        ends = f", clipped to {_plain(value.low)} .. {_plain(value.high)}" if value.low else ""
        return f"{value.kind}, mean {_plain(value.mean)}, std {_plain(value.std)}{ends}" if value.mean else value.kind
    if isinstance(value, ClassEntry):
        return value.name
    if isinstance(value, tuple) and len(value) > 3 and len(set(value)) == 1:
        return f"{_plain(value[0])} each"
    if isinstance(value, tuple):
        return ", ".join(_plain(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
