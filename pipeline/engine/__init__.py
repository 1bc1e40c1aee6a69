"""The sweep: patches in lattice order, blended in bounded memory, decided and written slab by slab.

May import geometry, files, classes and errors; nothing of sources, io, models or what is above them.
"""

from pipeline.engine.decision import STEPS, Confidence, Decision, Disagreement, Labels, Probabilities, Scores
from pipeline.engine.network import Failure
from pipeline.engine.observer import SweepObserver
from pipeline.engine.protocols import (
    BlockPredictor,
    Pixels,
    PlainSource,
    Predictor,
    Sink,
    Source,
    SourceInfo,
    as_source,
)
from pipeline.engine.recipe import Recipe
from pipeline.engine.sweep import sweep
from pipeline.engine.windows import WINDOWS

__all__ = [
    "STEPS",
    "WINDOWS",
    "BlockPredictor",
    "Confidence",
    "Decision",
    "Disagreement",
    "Failure",
    "Labels",
    "Pixels",
    "PlainSource",
    "Predictor",
    "Probabilities",
    "Recipe",
    "Scores",
    "Sink",
    "Source",
    "SourceInfo",
    "SweepObserver",
    "as_source",
    "sweep",
]
