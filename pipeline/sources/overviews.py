"""Overviews of a scene, from its file."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pipeline.engine.protocols import Source


@runtime_checkable
class HasOverviews(Protocol):
    """A `Source` whose file may have overviews."""

    def overview(self, cells: int, *, coarsest: bool = False) -> Source | None:
        """Return the finest overview, or the coarsest, with at least `cells` cells; None: there is none.

        The caller closes it.
        """
        ...


def overview_of(source: Source, cells: int, *, coarsest: bool = False) -> Source | None:
    """Return the finest overview of an input, or the coarsest, with at least `cells` cells; None: there is none."""
    return source.overview(cells, coarsest=coarsest) if isinstance(source, HasOverviews) else None
