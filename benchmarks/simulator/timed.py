"""The three protocols of the engine, each with a clock around it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Pixels, Predictor, Sink, Source
from pipeline.geometry import Box


class TimedSource(Source):
    """A source, and what its reads took."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.info = source.info
        self.seconds_of_mpx: list[float] = []
        """CPU seconds, as long as a read is done by the thread that calls it."""
        self.rows = 0
        """Most that were read at a time."""

    def read(self, box: Box) -> Pixels:
        """Read and note the time."""
        began = time.thread_time()
        pixels = self._source.read(box)
        self.seconds_of_mpx.append((time.thread_time() - began) / (box.size / 1e6))
        self.rows = max(self.rows, box.shape[0])
        return pixels

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class TimedPredictor:
    """A predictor of one thread, and what its patches took, from one call's end to the next: they are cut between."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor, self._before = predictor, 0.0
        self.classes, self.batch, self.threads = predictor.classes, 1, 1
        self.seconds: list[float] = []
        """CPU seconds of that thread."""

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> Any:  # noqa: ANN401
        """Predict and note the time."""
        scores = self._predictor(values, valid)
        now = time.thread_time()
        self.seconds.append(now - self._before)
        self._before = now
        return scores


class TimedSink:
    """A sink, and what its writes took, waits for the disk included."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.seconds_of_mpx: list[float] = []

    def write(self, slab: Box, values: Sequence[NDArray[Any]], *, whole: bool = True) -> None:
        """Write and note the time."""
        began = time.perf_counter()
        self._sink.write(slab, values, whole=whole)
        self.seconds_of_mpx.append((time.perf_counter() - began) / (slab.size / 1e6))
