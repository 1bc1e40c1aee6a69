"""Backbones trained on satellite images: which bands they take, in which order, and how those are scaled.

The numbers are those of torchgeo's weights and of the projects that they come from: SSL4EO-S12 (arXiv:2211.07044),
SSL4EO-L (arXiv:2306.09424), SatlasPretrain (arXiv:2211.15660), SeCo (arXiv:2103.16607), GASSL (arXiv:2011.09980).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pipeline.models.card import Normalization
from pipeline.models.importing.defaults import IMAGENET, Defaults, fixed
from pipeline.models.importing.options import Preset

LEVEL_1C = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
"""Bands of Sentinel-2, top of atmosphere."""
LEVEL_2A = tuple(band for band in LEVEL_1C if band != "B10")
"""Bands of Sentinel-2, surface reflectance."""
_RGB = ("B4", "B3", "B2")
_SATLAS_MS = (*_RGB, "B5", "B6", "B7", "B8", "B11", "B12")
_S2_MEAN = (1612.9, 1397.6, 1322.3, 1373.1, 1561.0, 2108.4, 2390.7, 2318.7, 2581.0, 837.7, 22.0, 2195.2, 1537.4)
_S2_STD = (791.0, 854.3, 878.7, 1144.9, 1127.5, 1164.2, 1276.0, 1249.5, 1345.9, 577.5, 47.5, 1340.0, 1142.9)
_OFFSET = (
    "Sentinel-2 products of processing baseline 04.00 and later add 1000 to every value: run them with --offset -1000"
)
_NO_B10 = "the bands are those of Level-1C; for Level-2A, which has no B10, import with --drop-channels B10"
_TCI = "the first three channels are the 8-bit true-color image (TCI), not reflectances"


class SatelliteSource(NamedTuple):
    """One set of backbones."""

    preset: Preset
    pattern: str
    """What the name of its files holds, as a regular expression."""
    defaults: Defaults


def _source(
    preset: Preset,
    pattern: str,
    channels: tuple[str, ...],
    normalization: Normalization,
    license_: str | None,
    credits_: str,
    advice: tuple[str, ...] = (),
) -> SatelliteSource:
    defaults = Defaults(
        f"usual in {credits_}",
        channels=channels,
        normalization=normalization,
        license=license_,
        credits=credits_,
        advice=advice,
    )
    return SatelliteSource(preset, pattern, defaults)


def _over(scale: float, count: int) -> Normalization:
    return fixed((0.0,) * count, (scale,) * count)


def _satlas_ms() -> Normalization:
    high = (255.0,) * 3 + (8160.0,) * 6
    return Normalization("window", (0.0,) * 9, high, (0.0,) * 9, high)


def _seco() -> Normalization:
    """To 0 .. 1 between two quantiles, then as ImageNet."""
    low, high = (3.0, 2.0, 0.0), (88.0, 103.0, 129.0)
    span = [(top - bottom) / 255 for bottom, top in zip(low, high, strict=True)]
    mean = tuple(bottom + part * scale for bottom, part, scale in zip(low, IMAGENET[0], span, strict=True))
    std = tuple(part * scale for part, scale in zip(IMAGENET[1], span, strict=True))
    return Normalization("window", mean, std, low, high)


def _landsat(pattern: str, channels: tuple[str, ...]) -> SatelliteSource:
    return _source("ssl4eo", pattern, channels, _over(255.0, len(channels)), "CC-BY-4.0", "SSL4EO-L")


def _bands(*numbers: int | str) -> tuple[str, ...]:
    return tuple(f"B{number}" for number in numbers)


_CC, _ODC = "CC-BY-4.0", "ODC-By-1.0"
_S12, _SATLAS = "SSL4EO-S12", "SatlasPretrain"
_TEN = 10_000.0

SOURCES = (
    _source("ssl4eo", "softcon", LEVEL_1C, fixed(_S2_MEAN, _S2_STD), _CC, _S12, (_NO_B10, _OFFSET)),
    _source("ssl4eo", "s2|sentinel2_all|ms_decur|b13", LEVEL_1C, _over(_TEN, 13), _CC, _S12, (_NO_B10, _OFFSET)),
    _source("ssl4eo", "sentinel2_rgb_moco|b3_", _RGB, _over(_TEN, 3), _CC, _S12, (_OFFSET,)),
    _source(
        "ssl4eo",
        "sentinel1|sar_decur|b2_",
        ("VV", "VH"),
        fixed((-12.59, -20.26), (5.26, 5.91)),
        _CC,
        _S12,
        ("values are decibels",),
    ),
    _landsat("tm_toa", _bands(*range(1, 8))),
    _landsat("oli_sr", _bands(*range(1, 8))),
    _landsat("etm_sr", _bands(1, 2, 3, 4, 5, 7)),
    _landsat("etm_toa", _bands(1, 2, 3, 4, 5, "6_VCID_1", "6_VCID_2", 7, 8)),
    _landsat("oli_tirs_toa", _bands(*range(1, 12))),
    _source("satlas", "_ms|satlas", _SATLAS_MS, _satlas_ms(), _ODC, _SATLAS, (_TCI, _OFFSET)),
    _source("satlas", "resnet(50|152)_(si|mi)_rgb|satlas", _RGB, _over(255.0, 3), _ODC, _SATLAS, (_TCI,)),
    _source("timm", "seco[_-]?eco", LEVEL_2A, _over(_TEN, 12), None, "SSL4Eco", (_OFFSET,)),
    _source("timm", "rgb_seco", _RGB, _seco(), None, "SeCo", (_TCI,)),
    _source("timm", "gassl", ("red", "green", "blue"), fixed(*IMAGENET), None, "fMoW, GASSL"),
)


def find_source(name: str, in_channels: int, preset: Preset | None) -> SatelliteSource | None:
    """Find the source of a backbone by the `name` of its file, else by the `preset` asked for or detected.

    A file of 13 channels whose name says nothing is taken for SSL4EO-S12's.
    """
    fits = [source for source in SOURCES if len(source.defaults.channels or ()) == in_channels]
    for source in fits:
        if preset in (None, source.preset) and re.search(source.pattern, name.lower()):
            return source
    if preset is None and in_channels == len(LEVEL_1C):
        preset = "ssl4eo"
    return next((source for source in fits if source.preset == preset and source.pattern != "softcon"), None)


def advice_for(source: SatelliteSource, channels: tuple[str, ...]) -> tuple[str, ...]:
    """What a user of the backbone should know, who takes these `channels` of it."""
    return tuple(advice for advice in source.defaults.advice if advice != _NO_B10 or "B10" in channels)
