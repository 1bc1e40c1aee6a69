"""Test-time augmentation: which turns and scales of a patch the network sees, before their scores are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.decoding import did_you_mean
from pipeline.errors import RequestError
from pipeline.models.card import Pair

SMALLEST, LARGEST = 0.25, 4.0
"""Scales beyond which a patch is no longer one of its kind."""


class Turn(NamedTuple):
    """One of the eight symmetries of a square, of the last two axes of an array."""

    swapped: bool
    """Whether rows become columns, first."""
    flipped: tuple[int, ...]
    """Axes that are then reversed: -2 the rows, -1 the columns."""


_FLIPS = ((), (-1,), (-2,), (-2, -1))
WORDS: dict[str, tuple[Turn, ...]] = {
    "flips": tuple(Turn(False, axes) for axes in _FLIPS),
    "turns": tuple(Turn(swapped, axes) for swapped in (False, True) for axes in _FLIPS),
}
"""By word: the turns that it stands for, in the order in which they are averaged; the first is none."""


@dataclass(frozen=True)
class TTA:
    """Turns and scales in which the network sees each patch: every turn at every scale."""

    symmetry: str | None = None
    """A word of `WORDS`; None: the patch is not turned."""
    scales: tuple[float, ...] = (1.0,)
    """Ascending, each once, 1 among them."""

    @classmethod
    def of(cls, asked: str | Sequence[str | float] | None) -> TTA:
        """What "flips,0.75,1.25" or ("flips", 0.75, 1.25) asks for, in any order; the patch as it is always belongs.

        Raises RequestError for other words, and for scales that are not from `SMALLEST` to `LARGEST`.
        """
        parts = asked.split(",") if isinstance(asked, str) else asked or ()
        values = [_number(part) for part in parts]
        words = {value.strip() for value in values if isinstance(value, str)}
        scales = {value for value in values if isinstance(value, float)}
        if unknown := sorted(words - set(WORDS)):
            word = unknown[0]
            raise RequestError(
                f"unknown tta {word!r}{did_you_mean(word, WORDS)}; give {' or '.join(WORDS)}, scales or both, "
                "e.g. flips,0.75,1.25"
            )
        if not all(SMALLEST <= scale <= LARGEST for scale in scales):
            raise RequestError(f"tta {', '.join(map(str, parts))}: scales must be from {SMALLEST:g} to {LARGEST:g}")
        return cls("turns" if "turns" in words else "flips" if words else None, tuple(sorted({1.0, *scales})))

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns, in the order in which they are averaged."""
        return WORDS["flips"][:1] if self.symmetry is None else WORDS[self.symmetry]

    @property
    def words(self) -> tuple[str | float, ...] | None:
        """The shortest way to ask for this; None where nothing is augmented."""
        scales = [scale for scale in self.scales if scale != 1]
        return (*([self.symmetry] if self.symmetry else []), *scales) or None

    @property
    def cost(self) -> float:
        """Pixels that the network sees for each of a patch."""
        return len(self.turns) * sum(scale**2 for scale in self.scales)

    def sizes(self, seen: Pair) -> tuple[Pair, ...]:
        """Height and width at each scale of a patch that the network sees at the size `seen`."""
        height, width = seen
        return tuple((max(1, round(height * scale)), max(1, round(width * scale))) for scale in self.scales)

    def check(self, seen: Pair) -> None:
        """Raise RequestError if a patch that the network sees at the size `seen` cannot be turned so."""
        height, width = seen
        if self.symmetry == "turns" and height != width:
            raise RequestError(
                f"tta turns: needs square patches, but the network sees {height} x {width}; "
                "give flips instead, or another --patch"
            )


NO_AUGMENTATION = TTA()
"""The patch as it is, alone."""


def _number(part: str | float) -> str | float:
    """What can be read as a number, as one."""
    try:
        return float(part)
    except ValueError:
        return part
