"""An input that can be stopped between reads, for passes over all of it before the sweep."""

from __future__ import annotations

from pipeline.engine import Pixels, Source
from pipeline.engine.observer import check_stop
from pipeline.geometry import Box
from pipeline.runs.observer import Observer
from pipeline.sources.overviews import overview_of


class StoppableSource(Source):
    """Another source, whose reads raise Interrupted once the run is to stop."""

    def __init__(self, source: Source, observer: Observer) -> None:
        self._source, self._observer, self.info = source, observer, source.info

    def read(self, box: Box) -> Pixels:
        """Return the pixels of the other source.

        Raises:
            Interrupted: If the run is to stop.

        """
        check_stop(self._observer)
        return self._source.read(box)

    def overview(self, cells: int, *, coarsest: bool = False) -> Source | None:
        """Return the overview of the other source."""
        return overview_of(self._source, cells, coarsest=coarsest)

    def close(self) -> None:
        """Close the other source."""
        self._source.close()
