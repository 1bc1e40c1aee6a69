"""Compare predictions with truth: figures by class, by item and overall, in constant memory for scenes.

May import archives, runs, models and everything below them; nothing of training or the command line.
"""

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
