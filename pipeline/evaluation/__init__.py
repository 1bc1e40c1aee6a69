"""Predictions against truth: figures by class, by item and over all, in constant memory for scenes."""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.evaluation.request import Asked, Kept, Measures
    from pipeline.evaluation.run import evaluate_asked

__all__ = ["Asked", "Kept", "Measures", "evaluate_asked"]

__getattr__ = lazy(
    __name__,
    {
        "pipeline.evaluation.request": ("Asked", "Kept", "Measures"),
        "pipeline.evaluation.run": ("evaluate_asked",),
    },
)
