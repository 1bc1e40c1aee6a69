"""How an input is read for a model: which of its bands are the channels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.engine import Source
from pipeline.errors import InputError
from pipeline.io.formats import open_source
from pipeline.io.rasterband import Banded, BandName, bands_named


@dataclass(frozen=True)
class Wanted:
    """What a model takes, and what the user says of it."""

    model: str
    channels: tuple[str, ...]
    """Names of its channels, in order."""
    bands: tuple[BandName, ...] | None
    """Bands for them, if the user says so."""
    option: Literal["--bands", "data.bands"] = "--bands"
    """Where the user says so."""

    def said(self, words: Sequence[str]) -> str:
        """How the user would say these bands."""
        return f"--bands {','.join(words)}" if self.option == "--bands" else f"data.bands = {json.dumps(words)}"


@dataclass(frozen=True)
class Reading:
    """How an input is read: the same in every process."""

    bands: tuple[int, ...] | None = None
    """Numbers of the bands of a raster, from 1; None: all but alpha, or there are none."""

    def open(self, path: str) -> Source:
        """The input, read so."""
        return open_source(path, bands=self.bands)

    def applied(self, source: Source, path: str) -> Source:
        """The same of an input that is open already: itself, or another in its place."""
        if self.bands is None or (isinstance(source, Banded) and self.bands == source.bands):
            return source
        source.close()
        return self.open(path)


def reading_of(source: Source, path: str, wanted: Wanted) -> Reading:
    """How an input is read that is open with the bands that the user asks for, if any.

    Where none are asked for, and the file names a band for every channel, these are taken. Raises InputError where a
    band would be taken for a channel that has the name of another one.
    """
    if not isinstance(source, Banded):
        return Reading()
    named = [bands_named(source.about, channel) for channel in wanted.channels]
    by_name = tuple(numbers[0] for numbers in named if len(numbers) == 1)
    if wanted.bands is None and len(by_name) == len(wanted.channels):
        return Reading(None if by_name == source.bands else by_name)
    if len(source.bands) == len(wanted.channels):
        _check_order(path, source.bands, named, wanted)
    return Reading(None if wanted.bands is None else source.bands)


def _check_order(path: str, taken: Sequence[int], named: Sequence[tuple[int, ...]], wanted: Wanted) -> None:
    """Raise InputError for a band that is taken by its number, and has the name of another channel."""
    others = {numbers[0]: channel for channel, numbers in zip(wanted.channels, named, strict=True) if len(numbers) == 1}
    words = [str(word) for word in wanted.bands or taken]
    wrong = []
    for at, (number, own) in enumerate(zip(taken, named, strict=True)):
        if words[at].isdigit() and number in others and number not in own:
            words[at] = others[number]
            wrong.append(f"band {number}, named {others[number]}, as {wanted.channels[at]}")
    if wrong:
        by_name = f"{wanted.said(wanted.channels)} takes them by name, and " if all(named) else ""
        raise InputError(
            f"{path}: the model {wanted.model} would take {'; '.join(wrong)}; {by_name}{wanted.said(words)} takes them "
            "so all the same",
            code="unsuitable",
        )
