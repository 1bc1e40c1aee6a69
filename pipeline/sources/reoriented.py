"""A volume in another orientation: permuted and reversed, never resampled. NumPy only."""

from __future__ import annotations

from dataclasses import replace

from pipeline.engine.protocols import Pixels, Source
from pipeline.errors import RequestError
from pipeline.geometry import Box
from pipeline.geometry.orientation import orient, turned_grid, unturned


class ReorientedSource(Source):
    """A `Source` whose axes are a permutation and reversal of another's; each cell stays where it is in the world.

    The names of axes stay in order: the first axis is the one that is swept. The grid has no `reference`, since that
    describes the geometry of the other source.
    """

    def __init__(self, source: Source, order: tuple[int, ...], flips: tuple[bool, ...]) -> None:
        shape = source.grid.shape
        if sorted(order) != list(range(len(shape))) or len(flips) != len(shape):
            raise RequestError(
                f"order {order} and flips {flips} must name each axis of {source.grid.axes} exactly once"
            )
        self.source = source
        self.order = order
        self.flips = flips
        grid = turned_grid(source.grid, order, flips)
        self.info = replace(source.info, grid=grid, block=tuple(source.block[axis] for axis in order))

    def read(self, box: Box) -> Pixels:
        """Read the pixels of `box`, given in the axes of this view."""
        values, valid = self.source.read(self.to_source(box))
        return Pixels(
            orient(values, self.order, self.flips),
            None if valid is None else orient(valid, self.order, self.flips),
        )

    def close(self) -> None:
        """Close the source."""
        self.source.close()

    def to_source(self, box: Box) -> Box:
        """Convert `box` from the axes of this view to those of the source."""
        return unturned(box, self.grid.shape, self.order, self.flips)
