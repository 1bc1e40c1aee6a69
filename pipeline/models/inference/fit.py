"""Fit a model to one input: how its values are scaled, and the patch in its own pixels. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.models.card import Card, Int8, Normalization, Pair
from pipeline.sources.statistics import NO_STATISTICS, InputStatistics
from pipeline.sources.validity import is_plausible

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scaling:
    """Numbers that scale the values of one input: clipped to `low..high`, then `(value - mean) / std`."""

    mean: tuple[float, ...]
    """One per channel."""
    std: tuple[float, ...]
    """One per channel, above 0."""
    low: tuple[float, ...] = ()
    """One per channel, or empty: not clipped."""
    high: tuple[float, ...] = ()

    @classmethod
    def of(cls, card: Card, own: InputStatistics = NO_STATISTICS) -> Scaling:
        """The card's own numbers, or those that `by` makes of the input's `own`: one offset and scale per channel."""
        if card.normalization.by_input and not len(own.offset) == len(own.scale) == len(card.channels):
            raise ModelError(
                f"model {card.name} scales each input by its own statistics: it needs the offset and scale of each of "
                f"its {len(card.channels)} channels, got {own.offset} and {own.scale}"
            )
        return cls.by(card.normalization, own)

    @classmethod
    def by(cls, rule: Normalization, own: InputStatistics = NO_STATISTICS) -> Scaling:
        """The numbers of a rule; where that goes by input, from the input's `own`.

        They are mean and standard deviation for "zscore", and for "percentile" the value at the low percentile and
        what lies between that and the one at the high percentile.
        """
        if not rule.by_input:
            return cls(rule.mean, rule.std, rule.low, rule.high)
        scale = tuple(size if size > 0 else 1.0 for size in own.scale)
        if rule.kind == "zscore":
            return cls(own.offset, scale)
        high = tuple(low + size for low, size in zip(own.offset, scale, strict=True))
        mean = tuple(low + size * part for low, size, part in zip(own.offset, scale, rule.mean, strict=True))
        return cls(mean, tuple(size * part for size, part in zip(scale, rule.std, strict=True)), own.offset, high)

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> Floats:
        """Values `(n, channels, *seen)` scaled, as float32; 0 where not plausible, or not `valid` `(n, *seen)`."""
        with np.errstate(over="ignore"):
            scaled = values.astype(np.float32)
        unseen = _unseen(values.dtype, scaled, valid)
        if unseen is not None:
            scaled[unseen] = 0
        mean, std, low, high = (
            np.asarray(numbers, np.float32).reshape(-1, *(1,) * (values.ndim - 2))
            for numbers in (self.mean, self.std, self.low, self.high)
        )
        if self.low:
            np.clip(scaled, low, high, out=scaled)
        scaled -= mean
        scaled /= std
        if unseen is not None:
            scaled[unseen] = 0
        return scaled


def _unseen(dtype: np.dtype[Any], scaled: Floats, valid: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Which values, of this type before, are not plausible or not valid; None: all are, as integers always are."""
    unseen = ~is_plausible(scaled) if dtype.kind == "f" else None
    if valid is None:
        return unseen
    hidden = np.broadcast_to(~valid[:, None], scaled.shape)
    return hidden if unseen is None else unseen | hidden


def native_patch(card: Card, native_spacing: tuple[float, float] | None) -> tuple[Pair, Pair]:
    """Patch and overlap of `card` as (height, width) in pixels of an input of `native_spacing` (height, width).

    The card's own where nothing is resampled.
    """
    if not resamples(card, native_spacing):
        return card.patch, card.overlap
    shares = [model / native for native, model in lengths(card, native_spacing)]
    patch = _rounded(card.patch, shares, least=1)
    overlap = _rounded(card.overlap, shares, least=0)
    return patch, (min(overlap[0], patch[0] - 1), min(overlap[1], patch[1] - 1))


def model_patch(card: Card, native_spacing: tuple[float, float] | None, native: Pair) -> Pair:
    """Pixels (height, width) at which the network sees a patch of `native` pixels of an input of `native_spacing`.

    Exactly the card's patch for the patch of `native_patch`; in proportion for another; `native` if nothing resamples.
    """
    if not resamples(card, native_spacing):
        return native
    if native == native_patch(card, native_spacing)[0]:
        return card.patch
    return _rounded(native, [own / model for own, model in lengths(card, native_spacing)], least=1)


def resamples(card: Card, native_spacing: tuple[float, float] | None) -> bool:
    """Whether an input of `native_spacing` must be resampled: its cells and the model's differ by more than 1 %."""
    return any(abs(native / model - 1) > 0.01 for native, model in lengths(card, native_spacing))


def lengths(card: Card, native_spacing: tuple[float, float] | None) -> tuple[tuple[float, float], ...]:
    """Return the lengths, in one unit, of a cell of the input and of a model pixel, along height and width.

    Where the card has no spacing, or that of the input is unknown, by the card's zoom alone.
    """
    if card.spacing is None or native_spacing is None:
        return ((card.zoom or 1.0, 1.0),) * 2
    return tuple(zip(native_spacing, card.spacing, strict=True))


def int8_form(card: Card, seen: Pair | None = None) -> Int8:
    """The int8 form of `card`, else ModelError with the way out.

    It takes patches of one size, so that other `seen` pixels of them are refused; its trunk alone takes any.
    """
    if card.int8 is None:
        raise ModelError(
            f"model {card.name} has no int8 form; make one with `pipeline quantize`, or give --precision bfloat16"
        )
    if seen is not None and card.int8.patch != seen:
        raise ModelError(
            f"model {card.name}: its int8 form takes patches of {_sides(card.int8.patch)} model pixels, but this "
            f"run needs {_sides(seen)}; leave out --patch and scales of --tta, or --precision int8, or give "
            "--features shared"
        )
    return card.int8


def _sides(pair: Pair) -> str:
    return f"{pair[0]} x {pair[1]}"


def _rounded(lengths: Pair, zoom: list[float], least: int) -> Pair:
    height, width = (max(least, round(length * factor)) for length, factor in zip(lengths, zoom, strict=True))
    return height, width
