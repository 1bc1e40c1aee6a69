"""The result of one item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Report:
    """The result of one item."""

    input: str
    output: str | None
    status: Literal["done", "skipped", "failed"]
    reason: str | None
    """Why it was skipped or failed."""
    seconds: float
    cells: int
    """Cells of the input's grid."""
    model: str | None = None
    code: str | None = None
    """Why it failed, in a word: unreadable, unsuitable, model, output, patch, memory, system, request or error."""
    seam_index: float | None = None
    """Mean disagreement where patches overlap, 0 to 1; None where it was not asked for."""
