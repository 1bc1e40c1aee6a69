"""Units of a lattice whose patches share features: cells of the input and pixels of the model that correspond exactly.

A patch can only take its part of shared features if it starts where one of their cells does, at every scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from pipeline.errors import RequestError
from pipeline.models.card import Card, Pair
from pipeline.models.inference.fit import lengths, resamples
from pipeline.models.inference.tta import TTA

HALO = 32
"""Model pixels that a block sees around its own."""
BLOCK = 576
"""Model pixels of the side of a block, at most, unless a patch is larger: whole steps of 64, 96, 128 or 192."""
UNIT = 64
"""Model pixels of a unit, at most, where the input is resampled; a halo has whole units."""

TOLERANCE = 0.1
"""Most that a scale of test-time augmentation may be rounded by, as a share."""


@dataclass(frozen=True)
class Units:
    """Patches, their starts and halos are multiples of a unit: `native` cells of the input, `model` pixels."""

    native: Pair
    """Cells (height, width)."""
    model: Pair
    """Model pixels (height, width), multiples of the output stride."""
    stride: int
    """Output stride: model pixels of a cell of the features."""

    def at(self, scale: float) -> Pair:
        """Return the model pixels of a unit at a scale of test-time augmentation: multiples of the stride."""
        height, width = (max(1, round(side * scale / self.stride)) * self.stride for side in self.model)
        return height, width

    def lattice_of(self, patch: Pair, overlap: Pair) -> tuple[Pair, Pair]:
        """Return patch and overlap in cells of the input, for those of a model in its own pixels."""
        sides = [_cells(p, o, m, n) for p, o, m, n in zip(patch, overlap, self.model, self.native, strict=True)]
        return (sides[0][0], sides[1][0]), (sides[0][1], sides[1][1])

    def whole(self, cells: Pair) -> Pair:
        """Return `cells` rounded down to whole units."""
        height, width = (side // native * native for side, native in zip(cells, self.native, strict=True))
        return height, width

    def pixels(self, cells: Pair) -> Pair:
        """Return the model pixels of whole units of `cells`."""
        height, width = (side // n * m for side, n, m in zip(cells, self.native, self.model, strict=True))
        return height, width

    def check(self, patch: Pair, overlap: Pair) -> None:
        """Raise RequestError for a patch or an overlap of the user that is not a multiple of the unit."""
        above = self.whole((patch[0] + self.native[0] - 1, patch[1] + self.native[1] - 1))
        for what, given, near in (("patch", patch, above), ("overlap", overlap, self.whole(overlap))):
            if given != self.whole(given):
                raise RequestError(
                    f"--{what} {_sides(given)}: must be a multiple of {_words(self.native)} cells where patches share "
                    f"features; give --{what} {_sides(near)}, or --features patch"
                )

    def halo(self) -> Pair:
        """Return the cells that a block sees around its own."""
        height, width = (-(-HALO // m) * n for m, n in zip(self.model, self.native, strict=True))
        return height, width

    def block(self) -> Pair:
        """Return the most cells of a block along height and width: whole units."""
        height, width = (max(1, BLOCK // m) * n for m, n in zip(self.model, self.native, strict=True))
        return height, width


def units_of(card: Card, spacing: tuple[float, float] | None, augmentation: TTA) -> Units:
    """Return the units for an input of `spacing` (height, width).

    They are the output stride where the model sees the input as it is; where it is resampled, the largest up to `UNIT`
    that patch and stride of the model are multiples of, so that rounding to whole cells changes its scale least.

    Raises:
        RequestError: if a scale of test-time augmentation has no whole cells of the features.

    """
    units = _units(card, spacing, augmentation)
    for scale in augmentation.scales:
        if any(abs(at / (side * scale) - 1) > TOLERANCE for at, side in zip(units.at(scale), units.model, strict=True)):
            raise RequestError(
                f"tta {scale:g}: {_words(units.model)} model pixels, the unit in which patches share features, have no "
                f"whole number of features of {units.stride} pixels there; give --features patch, or another scale"
            )
    return units


def _units(card: Card, spacing: tuple[float, float] | None, augmentation: TTA) -> Units:
    stride = card.pspnet.output_stride
    if not resamples(card, spacing) and augmentation.scales == (1.0,):
        return Units((stride, stride), (stride, stride), stride)
    model = _largest(card.patch[0], card.overlap[0], stride), _largest(card.patch[1], card.overlap[1], stride)
    if not resamples(card, spacing):
        return Units(model, model, stride)
    zoom = [native / own for native, own in lengths(card, spacing)]
    height, width = (max(1, round(side / factor)) for side, factor in zip(model, zoom, strict=True))
    return Units((height, width), model, stride)


def _largest(patch: int, overlap: int, stride: int) -> int:
    return stride * gcd(max(1, patch // stride), max(1, (patch - overlap) // stride), UNIT // stride)


def _cells(patch: int, overlap: int, model: int, native: int) -> tuple[int, int]:
    """Patch and overlap in cells: whole units, at least one for the patch and for its step."""
    units = max(1, round(patch / model))
    step = min(units, max(1, round((patch - overlap) / model)))
    return units * native, (units - step) * native


def _words(pair: Pair) -> str:
    return str(pair[0]) if pair[0] == pair[1] else _sides(pair)


def _sides(pair: Pair) -> str:
    return f"{pair[0]},{pair[1]}"
