from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.sources.statistics import InputStatistics, MomentAccumulator, count_in

SLICES = arrays(np.float32, st.tuples(st.integers(1, 3), st.just(4), st.just(5)), elements=st.floats(1, 1e4, width=32))


@given(volume=SLICES)
def test_mean_and_deviation_of_each_channel_are_those_of_numpy(volume):
    """Channels of slices that are counted one after the other; nothing is 0 here."""
    seen = [MomentAccumulator() for _ in volume]
    for rows in np.array_split(volume, 2, axis=1):
        count_in(seen, rows)
    own = InputStatistics.of_moments(seen)
    exact = volume.reshape(len(volume), -1).astype(np.float64)
    np.testing.assert_allclose(own.offset, exact.mean(1), rtol=1e-9)
    np.testing.assert_allclose(own.scale, exact.std(1), rtol=1e-6, atol=1e-6 * exact.max())


def test_statistics_of_nothing_are_empty():
    assert InputStatistics.of_moments(()) == InputStatistics() == InputStatistics((), ())
