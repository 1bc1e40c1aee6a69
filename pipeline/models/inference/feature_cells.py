"""Where cells of the input are among features: at a scale of test-time augmentation, and turned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.geometry import Box
from pipeline.models.card import Pair
from pipeline.models.inference.tta import Turn

Slices = tuple[slice, slice]


@dataclass(frozen=True)
class FeatureCells:
    """The features of one pass of the network. Shapes and boxes are whole units; their last two axes count."""

    native: Pair
    """Cells of the input of a unit, height and width."""
    model: Pair
    """Model pixels of a unit at the scale of this pass."""
    stride: int
    """Model pixels of a cell of the features."""
    turn: Turn
    """How the input is turned."""

    def pixels(self, shape: Sequence[int]) -> Pair:
        """Return the model pixels of an array, before it is turned."""
        height, width = (side // n * m for side, n, m in zip(shape[-2:], self.native, self.model, strict=True))
        return height, width

    def size(self, shape: Sequence[int]) -> Pair:
        """Return the height and width of the features of an array, which are turned."""
        height, width = (side // self.stride for side in self.pixels(shape))
        return (width, height) if self.turn.swapped else (height, width)

    def slices(self, box: Box, shape: Sequence[int]) -> Slices:
        """Return where a box of an array is in its features."""
        starts, stops = self.size(box.start), self.size(box.stop)
        rows, columns = (
            slice(length - stop, length - start) if axis in self.turn.flipped else slice(start, stop)
            for axis, start, stop, length in zip((-2, -1), starts, stops, self.size(shape), strict=True)
        )
        return rows, columns
