"""Predictions against truth: figures by class, by item and over all, in constant memory for scenes."""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.evaluation.request import EvaluationOutputs, EvaluationRequest, Measures
    from pipeline.evaluation.run import run_evaluation

__all__ = ["EvaluationOutputs", "EvaluationRequest", "Measures", "run_evaluation"]

__getattr__ = lazy(
    __name__,
    {
        "pipeline.evaluation.request": ("EvaluationRequest", "EvaluationOutputs", "Measures"),
        "pipeline.evaluation.run": ("run_evaluation",),
    },
)
