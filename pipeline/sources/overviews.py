"""Overviews of a scene, from its file."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pipeline.engine.protocols import Source


@runtime_checkable
class HasOverviews(Protocol):
    """A `Source` whose file may have overviews."""

    def overview(self, cells: int) -> Source | None:
        """Return the finest overview, if it has at least `cells` cells; None otherwise. The caller closes it."""
        ...


def overview_of(source: Source, cells: int) -> Source | None:
    """Return the finest overview of an input, if it has at least `cells` cells; None otherwise."""
    return source.overview(cells) if isinstance(source, HasOverviews) else None
