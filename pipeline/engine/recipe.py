"""The recipe of a sweep."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.engine.decision import Decision
from pipeline.geometry import Blocks, Lattice


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the bytes of the output, beside the pixels and the network."""

    lattice: Lattice
    """Its shape may be that of the grid, or larger: cells beyond the grid are mirrored for the network."""
    window: str
    """Name of the blend window."""
    decisions: tuple[Decision, ...]
    """What to write: one array per slab for each decision."""
    blocks: Blocks | None = None
    """Blocks of the lattice whose patches a `BlockPredictor` computes together; None: each patch by itself."""

    @property
    def needs_second_moment(self) -> bool:
        """Whether the squares of the scores are blended too."""
        return any(decision.needs_second_moment for decision in self.decisions)
