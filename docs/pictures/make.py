"""The pictures of these pages, made from real sweeps.

    python docs/pictures/make.py

windows.png   what the blend windows make of a network that paints each patch in a color of its own
carried.png   which cells are final, and which are carried over, at three moments of one sweep
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Pixels, Recipe, Scores, Source, SourceInfo, sweep
from pipeline.engine.blend import Blend
from pipeline.geometry import Box, Grid, Lattice, cut_slabs
from pipeline.io.raster import write_png

FOLDER = Path(__file__).parent
Picture = NDArray[np.uint8]
"""`(3, rows, columns)`."""

COLORS = np.array([(230, 120, 40), (50, 120, 210), (60, 140, 60), (240, 210, 80)], np.float32)
LATTICE = Lattice((250, 350), (100, 100), (40, 40), (0, 0))
"""Rows of patches begin at 0, 60, 120 and 150: the last is shifted inward."""
UNTOUCHED, FINAL, CARRIED, PATCH = (238, 238, 238), (120, 160, 120), (240, 150, 50), (40, 40, 40)


class Places(Source):
    """A source whose pixels say where they are: row and column."""

    info = SourceInfo(
        grid=Grid(LATTICE.shape, ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), ("y", "x")),
        channels=2,
        dtype=np.dtype(np.float32),
        block=(50, 350),
    )

    def read(self, box: Box) -> Pixels:
        """The indices of the cells of `box`."""
        return Pixels(np.indices(box.shape, np.float32) + np.array(box.start, np.float32)[:, None, None], None)

    def close(self) -> None:
        """Nothing is open."""


class Painter:
    """A network that gives every pixel of a patch the color of the patch."""

    classes, batch, threads = 3, 1, 1

    def __init__(self, lattice: Lattice) -> None:
        self._starts = lattice.starts

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """Red, green and blue as scores."""
        row, column = (starts.index(int(at)) for starts, at in zip(self._starts, values[0, :, 0, 0], strict=True))
        color = COLORS[2 * (row % 2) + column % 2]
        return np.broadcast_to(color[None, :, None, None], (1, 3, *values.shape[2:])).copy()


class Canvas:
    """A sink in memory."""

    def __init__(self) -> None:
        self.picture = np.zeros((3, *LATTICE.shape), np.uint8)

    def write(self, slab: Box, values: tuple[NDArray[Any], ...], *, whole: bool = True) -> None:
        """Take the colors of a slab."""
        self.picture[(slice(None), *slab.slices)] = np.rint(values[0])


def painted(lattice: Lattice, window: str) -> Picture:
    """What a sweep makes of the painter's patches."""
    canvas = Canvas()
    bands = cut_slabs(lattice.shape, 64)
    sweep(Places(), Painter(lattice), canvas, Recipe(lattice, window, (Scores((3,)),)), bands)
    return canvas.picture


def carried(patches: int) -> Picture:
    """The cells of the lattice after so many patches, by what the blend returned as final."""
    blend = Blend(1, LATTICE, Box.whole(LATTICE.shape))
    picture = np.empty((3, *LATTICE.shape), np.uint8)
    picture[:] = np.array(UNTOUCHED)[:, None, None]
    for patch in [patch for _, row in LATTICE.rows() for patch in row][:patches]:
        final, _ = blend.add(patch, None, np.ones(patch.shape, np.float32))
        for box, color in ((patch, CARRIED), (final, FINAL)):
            picture[(slice(None), *box.slices)] = np.array(color)[:, None, None]
    return outlined(picture, patch)


def outlined(picture: Picture, box: Box) -> Picture:
    """The picture with a line of two pixels along the inside of `box`."""
    inner = Box(tuple(a + 2 for a in box.start), tuple(b - 2 for b in box.stop))
    inside = picture[(slice(None), *inner.slices)].copy()
    picture[(slice(None), *box.slices)] = np.array(PATCH)[:, None, None]
    picture[(slice(None), *inner.slices)] = inside
    return picture


def beside(pictures: list[Picture], gap: int = 10) -> Picture:
    """Pictures side by side on white."""
    white = np.full((3, pictures[0].shape[1], gap), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, white)][:-1], axis=2)


def main() -> None:
    """Write the pictures beside this file."""
    apart = Lattice(LATTICE.shape, LATTICE.patch, (0, 0), (0, 0))
    panels = [painted(apart, "constant"), *(painted(LATTICE, window) for window in ("constant", "linear", "gaussian"))]
    above, below = beside(panels[:2]), beside(panels[2:])
    white = np.full((3, 10, above.shape[2]), 255, np.uint8)
    write_png(FOLDER / "windows.png", np.concatenate([above, white, below], axis=1))
    write_png(FOLDER / "carried.png", beside([carried(count) for count in (3, 10, 24)]))


if __name__ == "__main__":
    main()
