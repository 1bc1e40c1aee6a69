"""The whole plug-in surface: what the engine asks of an input, of a network and of an output."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Box, Grid


class Pixels(NamedTuple):
    """Values of a box, and which of its cells were observed."""

    values: NDArray[Any]
    """Array of shape `(channels, *box.shape)` in the input's own type, or float32 where it is scaled."""
    valid: NDArray[np.bool_] | None
    """Array of `box.shape`, False where there is no observation (nodata, NaN, mask, alpha); None: all observed."""


@dataclass(frozen=True)
class SourceInfo:
    """What an input is: known once it is open, and constant from then on.

    A source made of another one describes itself by `replace(other.info, ...)`, so that it drops nothing.
    """

    grid: Grid
    channels: int
    dtype: np.dtype[Any]
    """Type of the values that `read` returns."""
    block: tuple[int, ...]
    """Shape of the pieces in which the file is stored, per grid axis: reads aligned to it decode nothing twice."""
    sequential: bool = False
    """Whether reads in ascending order are much cheaper than any other, as in a gzip file: one thread reads it."""
    volumes: int = 1
    """Volumes in the file, of which this is one."""
    nodata: float | None = None
    """Value of a cell without an observation, in the first channel; None: there is none, or it is not known."""
    path: str | None = None
    """What messages call the input, without any secrets; None: it has no name."""


@runtime_checkable
class Source(Protocol):
    """An input: `read(box)` equals `read(whole)[box]`, byte for byte, from any thread.

    To write one, subclass this, set `info` and define `read` and `close`. `pipeline.testing.SourceContract` tests it.
    """

    info: SourceInfo

    @abstractmethod
    def read(self, box: Box) -> Pixels:
        """Pixels of `box`, which lies inside the grid."""
        ...

    @abstractmethod
    def close(self) -> None:
        """Release the file; further reads are errors. Closing twice does no harm."""
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
    """An input that is no `Source` by inheritance: it has `info`, or else the fields of `SourceInfo` as attributes."""

    def read(self, box: Box) -> Pixels: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


def as_source(source: Source | PlainSource) -> Source:
    """The source itself, or one around an input that does not inherit from `Source`."""
    return source if isinstance(source, Source) else _Adapted(source)


class _Adapted(Source):
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

    One whose scores are not NumPy's but those of a device is `pipeline.engine.arrays.HasArrays`, too.
    `pipeline.testing.PredictorContract` tests it.
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
    """An output; each slab is written once, by one worker. `pipeline.testing.SinkContract` tests it."""

    def write(self, slab: Box, values: Sequence[NDArray[Any]], *, whole: bool = True) -> None:
        """Write `values`, of `(*planes, *slab.shape)` for each decision; their bytes are safe when this returns.

        Not `whole`: the network failed on some of it, so that the slab will be made again.
        """
        ...
