"""A scene at any resolution, whether its file has overviews or not: what lacks is made in the background, in memory."""

from __future__ import annotations

from threading import Event, Thread

import numpy as np

from pipeline.engine import Pixels, Source
from pipeline.errors import PipelineError
from pipeline.geometry import Box
from pipeline.io.reduced import read_reduced, reduced_shape
from pipeline.sources.overviews import HasReducedReads

TILE = 256
"""Cells along a side of a tile."""
_DIRECT = 8
"""Step, counted from the coarsest overview, up to which cells are reduced when they are asked for."""
_LARGEST = 2048
"""Most cells along a side of a copy in memory."""
_STRIP = 128
"""Rows of it that are made at a time."""


def levels_of(shape: tuple[int, ...]) -> int:
    """Return the number of resolutions, each half the one before, down to the one at which a scene fits a tile."""
    return 1 + (-(-max(shape) // TILE) - 1).bit_length()


class Reader:
    """Reads a scene with `step` cells along each axis as one, for steps that are powers of 2.

    Steps that would take too many cells of the file are answered from a copy in memory. It is made by a thread, from
    the top; rows that are not there yet are not valid.
    """

    def __init__(self, source: Source, nodata: int | None = None) -> None:
        """Begin; `nodata` is that of labels, and None for other values."""
        self.source, self._nodata = source, nodata
        shape = source.grid.shape
        factors = source.factors if isinstance(source, HasReducedReads) else ()
        direct = _DIRECT * (factors[-1] if factors else 1)
        first = max(2 * direct, 1 << (-(-max(shape) // _LARGEST) - 1).bit_length())
        self._copy = _Copy(source, first, nodata) if 1 << levels_of(shape) - 1 > direct else None

    @property
    def progress(self) -> float:
        """Share of the copy that is made, 0 to 1; 1 without one."""
        return 1.0 if self._copy is None else self._copy.progress

    @property
    def problem(self) -> str:
        """Why the copy could not be made; empty if it could."""
        return "" if self._copy is None else self._copy.problem

    def read(self, box: Box, step: int) -> Pixels:
        """Return the pixels of `box`, which begins at a multiple of `step`, as `reduced_shape(box, step)`."""
        if self._copy is None or step < self._copy.step:
            return read_reduced(self.source, box, step, nodata=self._nodata)
        return self._copy.read(box, step)

    def close(self) -> None:
        """Stop the thread and close the source."""
        if self._copy is not None:
            self._copy.stop()
        self.source.close()


class _Copy:
    """A scene with `step` cells as one, made by a thread."""

    def __init__(self, source: Source, step: int, nodata: int | None) -> None:
        self._source, self.step, self._nodata = source, step, nodata
        self._shape = (source.grid.shape[0], source.grid.shape[1])
        held = reduced_shape(Box.whole(self._shape), step)
        self._values = np.zeros((source.channels, *held), source.dtype)
        self._valid = np.zeros(held, np.bool_)
        self.progress, self.problem = 0.0, ""
        self._stopped = Event()
        self._thread = Thread(target=self._make, name="copy", daemon=True)
        self._thread.start()

    def read(self, box: Box, step: int) -> Pixels:
        """Return every n-th cell of the copy; the last ones again where the end of the scene is less than a step."""
        more = step // self.step
        starts, shape = (side // self.step for side in box.start), reduced_shape(box, step)
        rows, columns = (
            np.minimum(start + more // 2 + more * np.arange(size), held - 1)
            for start, size, held in zip(starts, shape, self._valid.shape, strict=True)
        )
        return Pixels(self._values[:, rows[:, None], columns], self._valid[rows[:, None], columns])

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _make(self) -> None:
        rows, columns = self._shape
        height = _STRIP * self.step
        try:
            for top in range(0, rows, height):
                if self._stopped.is_set():
                    return
                self._add(Box((top, 0), (min(top + height, rows), columns)))
        except (PipelineError, ValueError) as error:
            self.problem, self.progress = str(error), 1.0

    def _add(self, box: Box) -> None:
        values, valid = read_reduced(self._source, box, self.step, nodata=self._nodata)
        at = slice(box.start[0] // self.step, box.start[0] // self.step + values.shape[1])
        self._values[:, at] = values
        self._valid[at] = True if valid is None else valid
        self.progress = box.stop[0] / self._shape[0]
