"""Fitting a temperature: what is put in is found again, and the negative log-likelihood is least there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from pipeline.models import temperature as module
from pipeline.models.temperature import HIGHEST, LOWEST, LogitSample, fit_temperature


def drawn(seed, classes, cells=4000):
    """Logits, and classes drawn by their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (cells, classes))
    return logits, (logits + rng.gumbel(size=logits.shape)).argmax(1)


def likelihood(temperature, logits, truth):
    scaled = logits / temperature
    scaled = scaled - scaled.max(1, keepdims=True)
    return np.mean(np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(truth)), truth])


@settings(max_examples=15)
@given(st.integers(0, 99), st.integers(2, 6), st.floats(0.2, 8))
def test_it_is_where_the_likelihood_is_greatest_and_what_logits_were_multiplied_by(seed, classes, factor):
    logits, truth = drawn(seed, classes)
    found = fit_temperature(logits * factor, truth)
    best = minimize_scalar(likelihood, (0.1, 15), (0.05, 20), args=(logits * factor, truth), method="bounded").x
    assert found == pytest.approx(best, rel=2e-3)
    assert found / fit_temperature(logits, truth) == pytest.approx(factor, rel=2e-3)
    assert found == pytest.approx(factor, rel=0.15)


def test_no_more_is_looked_at_than_four_digits_need(monkeypatch):
    looks, look = [], module._is_too_sure
    monkeypatch.setattr(module, "_is_too_sure", lambda *words: looks.append(words[-1]) or look(*words))
    logits, truth = drawn(1, 3)
    found = fit_temperature(logits, truth)
    assert len(looks) < 26
    low, high = np.log(LOWEST), np.log(HIGHEST)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if look(*shifted_of(logits, truth), np.exp(middle)) else (low, middle)
    assert found == float(f"{np.exp(low):.4g}"), "as after any number of halvings"


def shifted_of(logits, truth):
    shifted = logits - logits.max(1, keepdims=True)
    return shifted, shifted[np.arange(len(truth)), truth]


def test_what_is_always_right_or_always_wrong_ends_at_the_bounds():
    logits = np.array([[3.0, 0.0], [0.0, 3.0]])
    assert fit_temperature(logits, np.array([0, 1])) == pytest.approx(LOWEST, rel=1e-3)
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(HIGHEST, rel=1e-3)
    assert LogitSample(10, 2).temperature() == 1
    sample = LogitSample(2, 2)
    sample.add(0, logits.T, np.array([0, 1]))
    assert sample.temperature() == 1, "nothing is known of labels that are always right"


def test_a_sample_is_the_same_however_the_cells_come(monkeypatch):
    monkeypatch.setattr(module, "MOST", 3000)
    logits, truth = drawn(0, 3)
    truth[::7], logits[5] = -1, np.nan
    whole, parts = LogitSample(len(truth), 3), LogitSample(len(truth), 3)
    whole.add(0, logits.T, truth)
    for first, last in ((0, 11), (11, 1200), (1200, 4000)):
        parts.add(first, logits[first:last].T, truth[first:last])
    kept = np.concatenate(whole.truth)
    assert 700 < len(kept) < 1000
    assert (kept >= 0).all()
    np.testing.assert_array_equal(np.concatenate(parts.logits), np.concatenate(whole.logits))
    np.testing.assert_array_equal(np.concatenate(parts.truth), kept)
    assert whole.temperature() == pytest.approx(1, rel=0.2)
