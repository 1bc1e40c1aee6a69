"""Several networks as one: the scores of each patch are averaged before they are blended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.arrays import arrays_of
from pipeline.engine.protocols import Predictor


class EnsemblePredictor:
    """A `Predictor` whose scores are the mean of those of others, added in their order.

    Blending is linear, so these are the scores of blending each by itself, but for the rounding.
    """

    classes: int
    batch: int
    threads: int

    def __init__(
        self, members: Sequence[Predictor], *, squares: bool = False, scales: Sequence[float] | None = None
    ) -> None:
        """Average predictors of one device and the same classes.

        Args:
            members: The predictors.
            squares: Whether the mean of the squares of their scores is a last plane, as the disagreement needs it;
                then it is also that between them.
            scales: What the scores of each are multiplied by; None: nothing.

        """
        self.classes, self.threads = members[0].classes, members[0].threads
        self.batch = min(member.batch for member in members)
        self.arrays = arrays_of(members[0])
        self._members, self._squares, self._scales = members, squares, scales or (1.0,) * len(members)

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> Any:  # noqa: ANN401  (of its arrays)
        """Scores `(n, classes, *patch)`, and one plane more with `squares`; as those of the members otherwise."""
        scaled = zip(self._members, self._scales, strict=True)
        each = (member(values, valid) * scale if scale != 1 else member(values, valid) for member, scale in scaled)
        planes = map(self.arrays.with_squares, each) if self._squares else each
        return reduce(add, planes) / len(self._members)
