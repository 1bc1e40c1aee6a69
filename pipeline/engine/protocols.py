"""The whole plug-in surface: what the engine asks of an input, of a network and of an output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Box, Grid


class Pixels(NamedTuple):
    """Values of a box, and which of its cells were observed."""

    values: NDArray[Any]
    """Array of shape `(channels, *box.shape)` in the input's own type, or float32 where it is scaled."""
    valid: NDArray[np.bool_] | None
    """Array of `box.shape`, False where there is no observation (nodata, NaN, mask, alpha); None: all observed."""


class Source(Protocol):
    """An input: `read(box)` equals `read(whole)[box]`, byte for byte, from any thread."""

    grid: Grid
    channels: int
    dtype: np.dtype[Any]
    """Type of the values that `read` returns."""
    block: tuple[int, ...]
    """Shape of the pieces in which the file is stored, per grid axis: reads aligned to it decode nothing twice."""

    def read(self, box: Box) -> Pixels:
        """Pixels of `box`, which lies inside the grid."""
        ...

    def close(self) -> None:
        """Release the file; further reads are errors."""
        ...


class Predictor(Protocol):
    """A network: patches in, scores out. The same patch gives the same bytes, in any batch and thread.

    One whose scores are not NumPy's but those of a device has `arrays`, an `Arrays`, too.
    """

    classes: int
    """Number of score planes."""
    batch: int
    """Patches per call."""
    threads: int
    """Calls that may run at the same time."""

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> Any:  # noqa: ANN401
        """Scores of shape `(n, classes, *patch)` for values of shape `(n, channels, *seen)`, valid of `(n, *seen)`.

        Float32, an array of NumPy or of `arrays`, and the caller's to change.
        """
        ...


class Sink(Protocol):
    """An output; each slab is written once, by one worker."""

    def write(self, slab: Box, values: Sequence[NDArray[Any]], *, whole: bool = True) -> None:
        """Write `values`, of `(*planes, *slab.shape)` for each decision; their bytes are safe when this returns.

        Not `whole`: the network failed on some of it, so that the slab will be made again.
        """
        ...
