"""Contracts for your own `Source`, `Sink` or `Predictor`, as classes of tests to subclass.

Needs pytest and Hypothesis: `pip install 'pipeline[testing]'`. May import the engine, geometry and errors; only tests
import it.
"""

import pytest

pytest.register_assert_rewrite("pipeline.testing.source", "pipeline.testing.sink", "pipeline.testing.predictor")

from pipeline.testing.predictor import PredictorContract  # noqa: E402  (only now are its asserts explained)
from pipeline.testing.sink import Output, SinkContract  # noqa: E402
from pipeline.testing.source import SourceContract  # noqa: E402
from pipeline.testing.strategies import boxes, grids, lattices  # noqa: E402

__all__ = ["Output", "PredictorContract", "SinkContract", "SourceContract", "boxes", "grids", "lattices"]
