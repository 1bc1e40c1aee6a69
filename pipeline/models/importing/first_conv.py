"""The first convolution for other channels than it was trained with.

Ways, named by `ImportOptions.extend`, for the channels of `ImportOptions.for_channels`:

- none: channels that the file knows keep their filters, in whichever order; the others are left out;
- "zero": the same, and new channels get filters of zeros: the network computes what it did, and training does the rest;
- "tile": as segmentation-models-pytorch and timm do it: the filters are repeated in turn and scaled by
  `channels before / channels after`; a single channel gets their sum.

New channels are scaled by the average of the numbers of the old ones, unless others are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.decoding import did_you_mean
from pipeline.errors import RequestError
from pipeline.models.card import Normalization
from pipeline.models.importing.options import ImportOptions


@dataclass(frozen=True)
class InputLayer:
    """What a first convolution takes."""

    channels: tuple[str, ...]
    normalization: Normalization
    filters: Tensor
    """`(filters, channels, h, w)`."""


def adapt_channels(before: InputLayer, options: ImportOptions) -> InputLayer:
    """Return `before` for the channels of the options.

    Raises:
        RequestError: for unknown channels.

    """
    wanted = _wanted(before.channels, options)
    if wanted == before.channels:
        return before
    places = [before.channels.index(name) if name in before.channels else None for name in wanted]
    if options.extend is None and None in places:
        new = [name for name in wanted if name not in before.channels]
        raise RequestError(
            f"--for-channels: {', '.join(new)} {_is_are(new)} not among the file's channels, "
            f"{', '.join(before.channels)}; choose with --extend zero or --extend tile how their filters are made"
        )
    filters = _tiled(before.filters, len(wanted)) if options.extend == "tile" else _picked(before.filters, places)
    return InputLayer(wanted, _picked_numbers(before.normalization, places), filters)


def _wanted(channels: tuple[str, ...], options: ImportOptions) -> tuple[str, ...]:
    if unknown := [name for name in options.drop_channels if name not in channels]:
        near = did_you_mean(unknown[0], channels)
        raise RequestError(f"--drop-channels: unknown channel {unknown[0]}{near}; known are {', '.join(channels)}")
    wanted = tuple(n for n in options.for_channels or channels if n not in options.drop_channels)
    if not wanted or len(set(wanted)) != len(wanted):
        raise RequestError(f"channels after --for-channels and --drop-channels: {wanted}; expected different names")
    return wanted


def _picked(filters: Tensor, places: Sequence[int | None]) -> Tensor:
    nothing = torch.zeros_like(filters[:, 0])
    return torch.stack([nothing if place is None else filters[:, place] for place in places], dim=1)


def _tiled(filters: Tensor, count: int) -> Tensor:
    before = filters.shape[1]
    if count == 1:
        return filters.sum(1, keepdim=True)
    return filters[:, [index % before for index in range(count)]] * (before / count)


def _picked_numbers(rule: Normalization, places: Sequence[int | None]) -> Normalization:
    mean, std, low, high = (_numbers(part, places) for part in (rule.mean, rule.std, rule.low, rule.high))
    return Normalization(rule.kind, mean, std, low, high)


def _numbers(numbers: tuple[float, ...], places: Sequence[int | None]) -> tuple[float, ...]:
    if not numbers:
        return ()
    average = sum(numbers) / len(numbers)
    return tuple(average if place is None else numbers[place] for place in places)


def _is_are(found: Sequence[str]) -> str:
    return "is" if len(found) == 1 else "are"
