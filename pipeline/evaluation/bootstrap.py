"""How far figures would move with other items: percentile intervals by the bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.counts import Counts, Figures, add_counts

_RANGE = (2.5, 97.5)


def intervals(
    items: Sequence[Counts], figures: Callable[[Counts], Figures], draws: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """95 % intervals `(2, ...)` of each figure: of `draws` times as many items drawn with replacement.

    Draws for which a figure is not defined are left out of its interval. NaN where there is one item only, or no draw.
    """
    if len(items) < 2 or draws < 1:
        return {name: np.full((2, *np.shape(value)), np.nan) for name, value in figures(add_counts(items)).items()}
    weights = np.random.default_rng(seed).multinomial(len(items), [1 / len(items)] * len(items), draws)
    drawn = figures(add_counts(items, weights))
    return {name: np.apply_along_axis(_percentiles, 0, values) for name, values in drawn.items()}


def _percentiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    defined = values[~np.isnan(values)]
    return np.percentile(defined, _RANGE) if defined.size else np.full(2, np.nan)
