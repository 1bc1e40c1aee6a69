"""The bands of a raster: their names, the numbers that a name selects, and the units of their values."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pipeline.errors import InputError

_LISTED = 50
"""Most bands that a message lists."""
BandName = int | str
"""A band of a raster: its number from 1, or a name."""


@dataclass(frozen=True)
class RasterBand:
    """The metadata of one band of a file."""

    names: tuple[str, ...] = ()
    """Its description, and the names in its tags."""
    color: str | None = None
    """GDAL's color interpretation, where it distinguishes bands: red, nir."""
    scale: float = 1.0
    """Physical values are `value * scale + offset`."""
    offset: float = 0.0

    @property
    def name(self) -> str | None:
        """Its first name, else its color; None without either."""
        return next(iter((*self.names, *filter(None, [self.color]))), None)


@runtime_checkable
class HasBands(Protocol):
    """A `Source` whose bands are known."""

    band_info: tuple[RasterBand, ...]
    """The metadata of each band of the file."""
    bands: tuple[int, ...]
    """Numbers, from 1, of the bands that are read."""


def band_names(words: Sequence[object]) -> tuple[BandName, ...]:
    """Return bands as given by a user: an integer, also as text, or else a name.

    Raises:
        TypeError, ValueError: Something is neither.

    """
    return tuple(map(_band_name, words))


def _band_name(word: object) -> BandName:
    if isinstance(word, bool) or not isinstance(word, BandName):
        raise TypeError(word)
    if isinstance(word, int):
        return word
    if not word.strip():
        raise ValueError(word)
    return int(word) if word.strip().isdecimal() else word.strip()


def bands_named(bands: Sequence[RasterBand], name: str) -> tuple[int, ...]:
    """Return the numbers of the bands called `name`, ignoring case, spaces, hyphens and zeros (B04 is b4).

    Descriptions and tags take precedence over colors, which a writer of RGB files fills in by itself.
    """
    wanted = _bare(name)
    named = tuple(number for number, band in enumerate(bands, 1) if wanted in map(_bare, band.names))
    return named or tuple(number for number, band in enumerate(bands, 1) if band.color and wanted == _bare(band.color))


def numbers_of(path: str, bands: Sequence[RasterBand], asked: Sequence[BandName]) -> list[int]:
    """Return the number of each band that is `asked` for.

    Raises:
        InputError: A band does not exist, or its name is ambiguous; the message lists all bands.

    """
    if not asked:
        raise InputError(
            f"{path}: there is no band selected; it has the bands {', '.join(listed(bands))}", "unsuitable"
        )
    return [_number(path, bands, one) for one in band_names(asked)]


def in_another_order(bands: Sequence[RasterBand], others: Sequence[RasterBand]) -> bool:
    """Return whether a band of one raster has the name of a different band of the other."""
    by_name: defaultdict[str, list[int]] = defaultdict(list)
    by_color: defaultdict[str, list[int]] = defaultdict(list)
    for number, other in enumerate(others, 1):
        for name in other.names:
            by_name[_bare(name)].append(number)
        by_color[_bare(other.color or "")].append(number)
    names = [_bare(band.name) if band.name else "" for band in bands]
    found = [by_name[name] or by_color[name] if name else [] for name in names]
    return any(numbers and number not in numbers for number, numbers in enumerate(found, 1))


def units_of(raster: HasBands) -> list[tuple[float, float]]:
    """Return the scale and offset of each band that is read."""
    return [(band.scale, band.offset) for band in (raster.band_info[number - 1] for number in raster.bands)]


def listed(bands: Sequence[RasterBand]) -> list[str]:
    """Return the number and name of each band, e.g. "1 red"; of many, those of the first."""
    first = [f"{number} {band.name}" if band.name else f"{number}" for number, band in enumerate(bands[:_LISTED], 1)]
    return first + ["..."] * (len(bands) > _LISTED)


def _number(path: str, bands: Sequence[RasterBand], asked: BandName) -> int:
    found = bands_named(bands, asked) if isinstance(asked, str) else (asked,) * (1 <= asked <= len(bands))
    if len(found) > 1:
        several = ", ".join(map(str, found))
        raise InputError(f"{path}: the bands {several} are all named {asked}; give the number of one", "unsuitable")
    if not found:
        raise InputError(f"{path}: there is no band {asked}; it has the bands {', '.join(listed(bands))}", "unsuitable")
    return found[0]


def _bare(name: str) -> str:
    return re.sub(r"^b0+(?=\d)", "b", re.sub(r"[\s_-]+", "", name.casefold()))
