"""The result of one item."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.errors import duration_text
from pipeline.files.html import escaped, table
from pipeline.files.object_path import is_object

if TYPE_CHECKING:
    from pipeline.masks.mask_file import MaskFile

HELD = "held"
"""Code of items that another run is working on."""
Rule = Literal["value-range", "ground-resolution", "voxel-spacing", "field-of-view", "unknown-units", "appearance"]
"""Rules by which an input may be far from what a model was trained on; docs/concepts/domain.md explains each."""


@dataclass(frozen=True)
class Remark:
    """Why a mask may be wrong although it was made."""

    rule: Rule
    message: str
    """Both values, and what to do; without the name of the input."""

    def __str__(self) -> str:
        return f"warning: {self.message} ({self.rule})"


@dataclass(frozen=True)
class Report:
    """The result of one item."""

    input: str
    output: str | None
    status: Literal["done", "skipped", "failed"]
    reason: str | None
    """Why it was skipped, failed or was made again."""
    seconds: float
    cells: int
    """Cells of the input's grid."""
    model: str | None = None
    code: str | None = None
    """Why it failed, in a word: unreadable, unsuitable, model, output, patch, memory, system, request, error or one of
    `errors.LASTING`; or held: it is left to another run."""
    seam_index: float | None = None
    """Mean disagreement where patches overlap, 0 to 1; None where it was not asked for."""
    disagreement: float | None = None
    """Mean disagreement of several models or views, 0 to 1; None where it was not asked for."""
    repeated: float | None = None
    """Share of the patches that were not computed, because the same values had been seen before; None with workers."""
    warnings: tuple[Remark, ...] = ()
    """In what the input is far from what the model was trained on."""
    distance: float | None = None
    """How far values look from those of the training, in units of how far its inputs are from each other; None where
    the model does not know what those look like."""

    @property
    def mask(self) -> MaskFile | None:
        """The mask, if there is one on a disk: a notebook shows it."""
        from pipeline.masks.mask_file import MaskFile

        there = self.output is not None and not self.missing and not is_object(self.output)
        return MaskFile(Path(self.output or "")) if there else None

    def _repr_html_(self) -> str:
        """Return what a notebook shows: how it ended, and the mask."""
        mask = self.mask
        return table(_rows(self)) + ("" if mask is None else mask._repr_html_())

    @property
    def missing(self) -> bool:
        """Whether there is no mask: it failed, or another run is still working on it."""
        return self.status == "failed" or self.code == HELD


def _rows(report: Report) -> list[tuple[str, str]]:
    """Return what is known about a result, in HTML."""
    rate = f", {report.cells / 1e6 / report.seconds:.2f} Mpx/s" if report.status == "done" and report.seconds else ""
    known = {
        "input": report.input,
        "output": report.output,
        "status": report.status if report.code is None else f"{report.status} ({report.code})",
        "reason": report.reason,
        "model": report.model,
        "time": f"{duration_text(report.seconds)}, {report.cells / 1e6:,.1f} Mpx{rate}" if report.cells else None,
        "seam index": None if report.seam_index is None else f"{report.seam_index:.4f}",
        "disagreement": None if report.disagreement is None else f"{report.disagreement:.4f}",
        **{f"warning {number}": remark.message for number, remark in enumerate(report.warnings, 1)},
    }
    return [(name, escaped(value)) for name, value in known.items() if value]
