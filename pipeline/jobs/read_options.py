"""Resolve how an input is read for a model: which bands are its channels, and in which units."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.engine import Source
from pipeline.errors import InputError
from pipeline.geometry import Grid
from pipeline.io.band_names import BandName, HasBands, RasterBand, bands_named
from pipeline.io.catalog import CatalogValues
from pipeline.io.formats import Input
from pipeline.io.opening import open_source
from pipeline.models.card import Values
from pipeline.sources.calibrated import CalibratedSource, Calibration
from pipeline.sources.channels import RepeatedChannels

_CALIBRATION_HINT = (
    "give one scale and one offset for all channels, or one for each, e.g. --scale 0.0001 --offset -0.1, or --scale 1"
)


@dataclass(frozen=True)
class InputRequirements:
    """What a model takes, and what the user specifies about it."""

    model: str
    channels: tuple[str, ...]
    """Names of its channels, in order."""
    bands: tuple[BandName, ...] | None
    """Bands for them, if the user selects any."""
    values: Values
    """Whether it takes stored or physical values."""
    scale: tuple[float, ...] | None
    """Scale of all channels, or of each, in place of the file's."""
    offset: tuple[float, ...] | None
    """Offset of all channels, or of each, in place of the file's."""
    option: Literal["--bands", "data.bands"] = "--bands"
    """Option or key that selects bands."""
    catalog: CatalogValues | None = None
    """What the catalog that the input is from says about its values."""

    def option_text(self, words: Sequence[str]) -> str:
        """Return the option that selects these bands, as the user would write it."""
        return f"--bands {','.join(words)}" if self.option == "--bands" else f"data.bands = {json.dumps(words)}"


@dataclass(frozen=True)
class ReadOptions:
    """How an input is read: the same in every process."""

    bands: tuple[BandName, ...] | None = None
    """Bands of a raster: numbers from 1, or names until they are known; None: all but alpha, or there are none."""
    calibration: Calibration | None = None
    """Conversion from stored values to those that the model takes; None: they are the same."""
    onto: Grid | None = None
    """Grid that a scene is resampled to; None: its own."""
    affine: str | None = None
    """Affine to use if a NIfTI's sform and qform disagree: sform or qform; None: refuse."""
    volume: int | None = None
    """Index of a volume in a 4-D NIfTI file, from 0."""
    keep_text: bool = False
    """Whether free text and extensions of a NIfTI header are copied."""
    series: str | None = None
    """UID of one of several DICOM series."""
    allow: tuple[str, ...] = ()
    """Schemes and folders to which a raster may refer, beside its own."""
    windows: tuple[int, ...] | None = None
    """Channel of the volume for each channel of the model; None: one to one."""

    def open(self, path: str | Input) -> Source:
        """Open an input with these options.

        Raises:
            InputError: With the path, the reason and a way out.

        """
        how: dict[str, Any] = {"affine": self.affine or "strict", "volume": self.volume, "keep_text": self.keep_text}
        how |= {"series": self.series, "allow": self.allow}
        return self._calibrate(open_source(path, bands=self.bands, onto=self.onto, **how))

    def apply(self, source: Source, path: str | Input) -> Source:
        """Return an open input with these options: itself, or opened again with other bands."""
        if self.bands is None or (isinstance(source, HasBands) and self.bands == source.bands):
            return self._calibrate(source)
        source.close()
        return self.open(path)

    def _calibrate(self, source: Source) -> Source:
        return self.repeat_channels(source if self.calibration is None else CalibratedSource(source, self.calibration))

    def repeat_channels(self, source: Source) -> Source:
        """Return a volume with each channel repeated as often as the model takes it."""
        return source if self.windows is None else RepeatedChannels(source, self.windows)


def resolve_read_options(source: Source, path: str, needs: InputRequirements) -> ReadOptions:
    """Return how to read an input that is open with the bands that the user selects, if any.

    If none are selected and the file names a band for every channel, those are taken.

    Raises:
        InputError: If a band would be used as a channel although it is named like another one, if the model takes
            physical values and the integers of the file have no scale and offset, or if the user gives an offset that
            is in the file already.

    """
    _check_offset(path, needs)
    bands = _bands(source, path, needs)
    numbers = (bands or source.bands) if isinstance(source, HasBands) else ()
    chosen = [source.band_info[number - 1] for number in numbers] if isinstance(source, HasBands) else []
    if chosen and needs.catalog is not None:
        chosen = _from_catalog(chosen, numbers, needs.catalog)
    try:
        calibration = _calibration(source, chosen, needs)
    except ValueError as error:
        raise InputError(f"{path}: {error}; {_CALIBRATION_HINT}", code="unsuitable") from error
    calibration = None if calibration is None or calibration.is_identity else calibration
    return ReadOptions(bands, calibration, windows=_windows(source, needs))


def _windows(source: Source, needs: InputRequirements) -> tuple[int, ...] | None:
    """Return the volume's channel for each channel of the model, if several are windows of one; else None."""
    names = tuple(dict.fromkeys(needs.channels))
    if source.grid.is_scene or len(names) == len(needs.channels) or source.channels != len(names):
        return None
    return tuple(map(names.index, needs.channels))


def _bands(source: Source, path: str, needs: InputRequirements) -> tuple[int, ...] | None:
    if not isinstance(source, HasBands):
        return None
    named = [bands_named(source.band_info, channel) for channel in needs.channels]
    by_name = tuple(numbers[0] for numbers in named if len(numbers) == 1)
    if needs.bands is None and len(by_name) == len(needs.channels):
        return None if by_name == source.bands else by_name
    if len(source.bands) == len(named):
        _check_order(path, source.bands, named, needs)
    return None if needs.bands is None else source.bands


def _calibration(source: Source, chosen: Sequence[RasterBand], needs: InputRequirements) -> Calibration | None:
    """Return the user's calibration; else, for a model of physical values, that of the file. Raises ValueError."""
    if needs.scale is not None or needs.offset is not None:
        return _given_calibration(needs, len(chosen) or source.channels)
    return None if needs.values == "raw" else _file_calibration(source, chosen, needs)


def _given_calibration(needs: InputRequirements, count: int) -> Calibration:
    return Calibration(_each("scale", needs.scale or (1.0,), count), _each("offset", needs.offset or (0.0,), count))


def _check_offset(path: str, needs: InputRequirements) -> None:
    if needs.catalog is not None and needs.catalog.applied and min(needs.offset or (0.0,)) < 0:
        given = ",".join(f"{number:g}" for number in needs.offset or ())
        raise InputError(
            f"{path}: the catalog says that its offset is in the stored values already (boa_offset_applied), and "
            f"--offset {given} would apply it again; leave out --offset",
            code="unsuitable",
        )


def _from_catalog(chosen: Sequence[RasterBand], numbers: Sequence[int], catalog: CatalogValues) -> list[RasterBand]:
    """Return bands with the scale and offset of the catalog where the file has none, and no offset that is applied."""
    if all((band.scale, band.offset) == (1.0, 0.0) for band in chosen) and max(numbers) <= len(catalog.scale):
        pairs = [(catalog.scale[number - 1], catalog.left[number - 1]) for number in numbers]
    else:
        pairs = [(band.scale, 0.0 if catalog.applied else band.offset) for band in chosen]
    return [replace(band, scale=scale, offset=left) for band, (scale, left) in zip(chosen, pairs, strict=True)]


def _file_calibration(source: Source, chosen: Sequence[RasterBand], needs: InputRequirements) -> Calibration | None:
    if source.dtype.kind != "f" and all((band.scale, band.offset) == (1.0, 0.0) for band in chosen):
        raise ValueError(
            f"the model {needs.model} takes physical values, but these are {source.dtype.name} without scale or offset"
        )
    return Calibration(tuple(band.scale for band in chosen), tuple(band.offset for band in chosen)) if chosen else None


def _each(what: str, numbers: tuple[float, ...], count: int) -> tuple[float, ...]:
    """Return one number for each channel."""
    if len(numbers) not in (1, count):
        raise ValueError(f"{what} has {len(numbers)} numbers for {count} channels")
    return numbers if len(numbers) == count else numbers * count


def _check_order(path: str, taken: Sequence[int], named: Sequence[tuple[int, ...]], needs: InputRequirements) -> None:
    """Raise InputError for a band that is selected by its number, and is named like another channel."""
    others = {numbers[0]: channel for channel, numbers in zip(needs.channels, named, strict=True) if len(numbers) == 1}
    words = [str(word) for word in needs.bands or taken]
    wrong = []
    for at, (number, own) in enumerate(zip(taken, named, strict=True)):
        if words[at].isdigit() and number in others and number not in own:
            words[at] = others[number]
            wrong.append(f"band {number}, named {others[number]}, as {needs.channels[at]}")
    if wrong:
        by_name = f"{needs.option_text(needs.channels)} takes them by name; " if all(named) else ""
        raise InputError(
            f"{path}: the model {needs.model} would take {'; '.join(wrong)}; {by_name}{needs.option_text(words)} keeps "
            "this order",
            code="unsuitable",
        )
