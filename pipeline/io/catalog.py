"""What a catalog says about the values of an input: scale, offset, and whether the offset is applied already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

_APPLIED = "boa_offset_applied"
"""Of Sentinel-2, under the prefix of a catalog or none: the offset of the metadata is in the stored values already."""


@dataclass(frozen=True)
class CatalogValues:
    """Physical values are `stored * scale + offset`, and only `stored * scale` where the offset is applied."""

    scale: tuple[float, ...] = ()
    """One for each band of the input; empty if the catalog has none."""
    offset: tuple[float, ...] = ()
    """The same, by the metadata."""
    applied: bool = False
    """Whether the offset is in the stored values already."""

    @property
    def left(self) -> tuple[float, ...]:
        """The offset that is left to be applied."""
        return (0.0,) * len(self.offset) if self.applied else self.offset


def catalog_values(item: Mapping[str, Any], assets: Sequence[Mapping[str, Any]]) -> CatalogValues | None:
    """Return what the properties of an item and the fields of its assets say by STAC's raster extension.

    None if they say nothing. A flag of an asset counts before that of its item.

    Raises:
        TypeError: A scale or an offset is not a number.

    """
    bands = list(chain(*map(_bands, assets)))
    applied = [found for fields in (*assets, item) if (found := _flag(fields)) is not None]
    told = any(number is not None for pair in bands for number in pair)
    if not told and not any(applied[:1]):
        return None
    scale = tuple(_number(1.0 if scale is None else scale) for scale, _ in bands) if told else ()
    offset = tuple(_number(0.0 if offset is None else offset) for _, offset in bands) if told else ()
    return CatalogValues(scale, offset, applied=any(applied[:1]))


def _bands(asset: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Scale and offset of each band of an asset, by version 1 or 2 of the extension; those of the asset for one."""
    for band in asset.get("raster:bands") or asset.get("bands") or [{}]:
        yield (
            band.get("scale", band.get("raster:scale", asset.get("raster:scale"))),
            band.get("offset", band.get("raster:offset", asset.get("raster:offset"))),
        )


def _flag(fields: Mapping[str, Any]) -> bool | None:
    found = [value for name, value in fields.items() if name.rpartition(":")[2] == _APPLIED]
    return found[0] is True if found else None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"scale or offset {value!r} is not a number")
    return float(value)
