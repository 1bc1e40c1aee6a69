"""The contract of every `Predictor`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.engine import Predictor
from pipeline.engine.arrays import arrays_of


class PredictorContract:
    """Tests of a `Predictor`: subclass it in a module of tests, and give the fixtures `predictor` and `patches`."""

    margin: tuple[int, ...] = ()
    """Cells that the network sees on both sides of a patch per axis, but does not predict; none by default."""

    @pytest.fixture
    def predictor(self) -> Predictor:
        """The predictor to test."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture named predictor")

    @pytest.fixture
    def patches(self) -> NDArray[Any]:
        """Values of at least two different patches, `(n, channels, *seen)`, in the type of a source."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture named patches")

    def test_scores_are_finite_float32_for_each_class_and_cell(
        self, predictor: Predictor, patches: NDArray[Any]
    ) -> None:
        """They have the shape `(n, classes, *patch)`."""
        margin = self.margin or (0,) * (patches.ndim - 2)
        patch = tuple(seen - 2 * m for seen, m in zip(patches.shape[2:], margin, strict=True))
        for group in _groups(predictor, patches):
            scores = _scores(predictor, group)
            assert scores.shape == (len(group), predictor.classes, *patch)
            assert scores.dtype == np.float32
            assert np.isfinite(scores).all()

    def test_a_batch_gives_what_its_patches_give_one_by_one(self, predictor: Predictor, patches: NDArray[Any]) -> None:
        """The same patch gives the same bytes, whatever is in the batch with it, and wherever it is in it."""
        alone = [_scores(predictor, patch[None])[0].tobytes() for patch in patches]
        for order in (slice(None), slice(None, None, -1)):
            found = [scores for group in _groups(predictor, patches[order]) for scores in _scores(predictor, group)]
            assert [scores.tobytes() for scores in found] == alone[order], "scores depend on the batch"

    def test_the_same_patches_give_the_same_scores_again(self, predictor: Predictor, patches: NDArray[Any]) -> None:
        """Even if the caller has changed the scores; the predictor leaves its input as it is."""
        group = _groups(predictor, patches)[0]
        before = group.copy()
        scores = _scores(predictor, group)
        first = scores.tobytes()
        scores += 1
        assert _scores(predictor, group).tobytes() == first
        np.testing.assert_array_equal(group, before, "the predictor changed what it was given")

    def test_threads_get_what_one_gets(self, predictor: Predictor, patches: NDArray[Any]) -> None:
        """As many calls as `threads` run at the same time."""
        groups = _groups(predictor, patches) * 3
        with ThreadPoolExecutor(predictor.threads) as pool:
            together = list(pool.map(lambda group: _scores(predictor, group).tobytes(), groups))
        assert together == [_scores(predictor, group).tobytes() for group in groups]

    def test_no_mask_is_the_mask_of_all(self, predictor: Predictor, patches: NDArray[Any]) -> None:
        """`valid` is None where every cell was observed, which gives what an array of True does."""
        for group in _groups(predictor, patches):
            every = np.ones((len(group), *group.shape[2:]), np.bool_)
            masked = arrays_of(predictor).to_numpy(predictor(group, every))
            assert masked.tobytes() == _scores(predictor, group).tobytes()


def _groups(predictor: Predictor, patches: NDArray[Any]) -> list[NDArray[Any]]:
    """Patches for one call each."""
    return [patches[first : first + predictor.batch] for first in range(0, len(patches), predictor.batch)]


def _scores(predictor: Predictor, group: NDArray[Any]) -> NDArray[np.float32]:
    return arrays_of(predictor).to_numpy(predictor(group, None))
