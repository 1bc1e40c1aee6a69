"""The plug-in interface: what the engine needs of an input, of a network and of an output."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Box, Cut, Grid


class Pixels(NamedTuple):
    """Values of a box, and which of its cells are valid."""

    values: NDArray[Any]
    """Array `(channels, *box.shape)` in the type of the input, or float32 where it is scaled."""
    valid: NDArray[np.bool_] | None
    """Array `box.shape`, False where there is no observation (nodata, NaN, mask, alpha); None: all cells are valid."""


@dataclass(frozen=True)
class SourceInfo:
    """Description of an input: known once it is open, and constant from then on.

    A source that wraps another one uses `replace(other.info, ...)`, so that it drops nothing.
    """

    grid: Grid
    channels: int
    dtype: np.dtype[Any]
    """Type of the values that `read` returns."""
    block: tuple[int, ...]
    """Shape of the blocks or chunks of the file, per grid axis: reads aligned to it decode nothing twice."""
    sequential: bool = False
    """Whether reads in ascending order are much cheaper than others (e.g. in gzip files): one thread reads it."""
    volumes: int = 1
    """Number of volumes in the file, of which this is one."""
    nodata: float | None = None
    """Nodata value of the first channel; None: there is none, or it is unknown."""
    path: str | None = None
    """Name of the input in messages, without secrets; None: it has no name."""
    held: int = 0
    """Bytes of the file that are held while it is read, beside what is returned, if that is much: a large block."""
    version: str | None = None
    """Of a source that a program brings: a word that changes whenever its values do; None: a run is not resumed."""


@runtime_checkable
class Source(Protocol):
    """An input: `read(box)` equals `read(whole)[box]`, byte for byte, from any thread.

    To write one, subclass this, set `info` and define `read` and `close`. `pipeline.testing.SourceContract` tests it.
    """

    info: SourceInfo

    @abstractmethod
    def read(self, box: Box) -> Pixels:
        """Read the pixels of `box`, which is inside the grid."""
        ...

    @abstractmethod
    def close(self) -> None:
        """Close the file; reads are errors from then on. Closing twice does no harm."""
        ...

    @property
    def grid(self) -> Grid:
        """The grid of `info`."""
        return self.info.grid

    @property
    def channels(self) -> int:
        """The number of channels of `info`."""
        return self.info.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of values of `info`."""
        return self.info.dtype

    @property
    def block(self) -> tuple[int, ...]:
        """The block of `info`."""
        return self.info.block


class PlainSource(Protocol):
    """An input that does not inherit from `Source`: it has `info`, or the fields of `SourceInfo` as attributes."""

    def read(self, box: Box) -> Pixels: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


def as_source(source: Source | PlainSource) -> Source:
    """Return `source` itself, or wrap an input that does not inherit from `Source`."""
    return source if isinstance(source, Source) else _PlainAdapter(source)


class _PlainAdapter(Source):
    def __init__(self, source: PlainSource) -> None:
        self._source = source
        self.info = _info_of(source)

    def read(self, box: Box) -> Pixels:
        return self._source.read(box)

    def close(self) -> None:
        self._source.close()


def _info_of(source: Any) -> SourceInfo:  # noqa: ANN401  (whatever has the attributes)
    if hasattr(source, "info"):
        info: SourceInfo = source.info
        return info
    names = [field.name for field in fields(SourceInfo)]
    return SourceInfo(**{name: getattr(source, name) for name in names if hasattr(source, name)})


class Predictor(Protocol):
    """A network: patches in, scores out. The same patch gives the same bytes, in any batch and thread.

    If its scores are on a device rather than NumPy arrays, it is a `pipeline.engine.arrays.HasArrays` too.
    `pipeline.testing.PredictorContract` tests it.
    """

    classes: int
    """Number of classes: planes of the scores."""
    batch: int
    """Patches per call."""
    threads: int
    """Calls that may run at the same time."""

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> Any:  # noqa: ANN401
        """Return scores `(n, classes, *patch)` of `values` `(n, channels, *seen)`, with `valid` `(n, *seen)`.

        They are float32, an array of NumPy or of `arrays`, which the caller may change.
        """
        ...


class BlockPredictor(Protocol):
    """A network that computes features once for all patches: blocks in, pieces of patches out, joined to scores.

    The same block gives the same bytes, in any thread. If its scores are on a device rather than NumPy arrays, it is a
    `pipeline.engine.arrays.HasArrays` too.
    """

    classes: int
    """Number of classes: planes of the scores."""
    threads: int
    """Blocks that may be computed at the same time."""

    def pieces(self, values: NDArray[Any], valid: NDArray[np.bool_] | None, cuts: Sequence[Cut]) -> Sequence[Any]:
        """Return what a block gives to each patch; kept until the other blocks of that patch are computed.

        A piece has `nbytes`, and is not changed by anyone.

        Args:
            values: Values `(channels, *seen)` of the block.
            valid: Valid cells `(*seen)`; None: all.
            cuts: Where the patches are in the block, without their margin.

        """
        ...

    def joined(self, pieces: Sequence[Any], cuts: Sequence[Cut]) -> Any:  # noqa: ANN401
        """Return what the scores of a patch are made of; small, for it is kept until its lattice row is blended.

        Args:
            pieces: What each block gave, in the order of where they are in the patch.
            cuts: The cut of each.

        """
        ...

    def scores(self, joined: Any) -> Any:  # noqa: ANN401
        """Return scores `(classes, *patch)` of a patch, as `Predictor` does."""
        ...


class Sink(Protocol):
    """An output; each slab is written once, by one worker. `pipeline.testing.SinkContract` tests it."""

    def write(self, slab: Box, values: Sequence[NDArray[Any]], *, whole: bool = True) -> None:
        """Write `values`, `(*planes, *slab.shape)` for each decision; their bytes are safe when this returns.

        Not `whole`: the network failed on part of it, and the next run writes the slab again.
        """
        ...
