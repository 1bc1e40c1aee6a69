"""The sweep: patches in lattice order, blended in bounded memory, decided and written band by band."""

from pipeline.engine.decision import Decision, Labels, Scores
from pipeline.engine.protocols import Pixels, Predictor, Sink, Source
from pipeline.engine.sweep import Failure, Recipe, Watch, sweep
from pipeline.engine.window import WINDOWS

__all__ = [
    "WINDOWS",
    "Decision",
    "Failure",
    "Labels",
    "Pixels",
    "Predictor",
    "Recipe",
    "Scores",
    "Sink",
    "Source",
    "Watch",
    "sweep",
]
