"""A scene from further away: one of the overviews that its file has."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pipeline.engine.protocols import Source


@runtime_checkable
class HasOverviews(Protocol):
    """A `Source` whose file may have overviews."""

    def coarser(self, cells: int) -> Source | None:
        """The coarsest overview of at least so many cells, to be closed by who asks; None where there is none."""
        ...


def coarser(source: Source, cells: int) -> Source | None:
    """The coarsest overview of an input that has at least so many cells, if it has one."""
    return source.coarser(cells) if isinstance(source, HasOverviews) else None
