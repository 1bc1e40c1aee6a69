"""A scene from further away: one of the overviews that its file has."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pipeline.engine.protocols import Source


@runtime_checkable
class HasOverviews(Protocol):
    """A `Source` whose file may have overviews."""

    def overview(self, cells: int) -> Source | None:
        """The finest overview, if it has at least so many cells, to be closed by who asks; None where there is none."""
        ...


def overview_of(source: Source, cells: int) -> Source | None:
    """The finest overview of an input, if it has one of at least so many cells."""
    return source.overview(cells) if isinstance(source, HasOverviews) else None
