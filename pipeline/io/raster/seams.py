"""The seams of a first overview whose tiles are made of blocks of cells: windows of odd sides reach across them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.io.majority import halve
from pipeline.io.tiles import TILE, Overview

_BLOCK = 2 * TILE


class Seams:
    """Mends the first row of the overview in each row of tiles, and the first column in each tile, from the top on."""

    def __init__(self, overview: Overview, shape: tuple[int, ...], nodata: int) -> None:
        """Take the overview of labels of `shape`."""
        self._overview, self._nodata, self._columns = overview, nodata, shape[1]
        self._odd_row, self._odd_column = (side % 2 for side in shape)
        self._across = -(-shape[1] // _BLOCK)
        self._above = np.full(self._across * _BLOCK, nodata, overview.dtype)
        """The last row of labels of the blocks above."""

    def mend(self, row: int, strip: NDArray[Any]) -> None:
        """Mend the next row of tiles, `(TILE, columns)`, unpacked.

        Raises:
            DamagedError: Edges are not as they were written.

        """
        edges = [self._overview.edges(row, column) for column in range(self._across)]
        if self._odd_row and row:
            top = self._top(np.concatenate([block[:2] for block in edges], 1))
            strip[0, : top.size] = top
        if self._odd_column:
            for at in range(1, self._across):
                strip[:, at * TILE] = self._left(at, edges[at - 1][5], edges[at][3:5])[: len(strip)]
        self._above = np.concatenate([block[2] for block in edges])

    def _top(self, first: NDArray[Any]) -> NDArray[Any]:
        """The first row of the overview, by the last row of labels above, and the first two."""
        rows = np.vstack([self._above, first])[:, : self._columns]
        rows = np.pad(rows, [(0, 0), (self._odd_column, 0)], constant_values=self._nodata)
        (top,) = halve(rows, self._nodata, (1, self._odd_column))
        return np.asarray(top)

    def _left(self, at: int, last: NDArray[Any], first: NDArray[Any]) -> NDArray[Any]:
        """The first column of a tile, by the last column of labels on its left, and the first two."""
        columns, above = np.vstack([last, first]).T, self._above[at * _BLOCK - 1 : at * _BLOCK + 2]
        rows = np.vstack([above, columns]) if self._odd_row else columns
        return halve(rows, self._nodata, (self._odd_row, 1))[:, 0]
