"""Overviews of a scene, from its file."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pipeline.engine.protocols import Pixels, Source
from pipeline.geometry import Box


@runtime_checkable
class HasOverviews(Protocol):
    """A `Source` whose file may have overviews."""

    def overview(self, cells: int, *, coarsest: bool = False) -> Source | None:
        """Return the finest overview, or the coarsest, with at least `cells` cells; None: there is none.

        The caller closes it.
        """
        ...


@runtime_checkable
class HasReducedReads(Protocol):
    """A `Source` that reads at a lower resolution by itself, from overviews as far as its file has some."""

    factors: tuple[int, ...]
    """By how much the overviews of the file are smaller, the finest first; empty: there are none."""

    def read_reduced(self, box: Box, shape: tuple[int, int]) -> Pixels:
        """Return the pixels of `box` as `(channels, *shape)`."""
        ...


def overview_of(source: Source, cells: int, *, coarsest: bool = False) -> Source | None:
    """Return the finest overview of an input, or the coarsest, with at least `cells` cells; None: there is none."""
    return source.overview(cells, coarsest=coarsest) if isinstance(source, HasOverviews) else None
