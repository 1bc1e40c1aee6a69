"""How far values look from those of a training: that of other samples of it is small, of another kind large."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.engine import Pixels
from pipeline.models.card import Appearance, Card, Domain, Normalization
from pipeline.models.inference.unlikeness import appearance_of, unlikeness_of
from pipeline.sources.appearance import MEASURES, looks_of
from tests.support.model_cases import CARD_2D

FIXED, BY_INPUT = Normalization("fixed", (0.0, 0.0), (1.0, 1.0)), Normalization("zscore", (), ())


def kind(seed, *, level=100.0, blur=1):
    """Samples of one kind of image, each of its own brightness."""
    rng = np.random.default_rng(seed)
    for _ in range(9):
        base = rng.normal(0, 30, (64 // blur, 64 // blur)).repeat(blur, 0).repeat(blur, 1)
        values = level + rng.normal(0, 10) + base + rng.normal(0, 9, (2, 64, 64))
        yield Pixels(values.astype(np.float32), None)


def far(appearance, **how):
    return unlikeness_of(looks_of(list(kind(99, **how))), appearance)


@pytest.mark.parametrize("rule", [FIXED, BY_INPUT])
def test_others_of_the_kind_are_near_and_another_kind_is_far(rule):
    known = appearance_of([looks_of(list(kind(seed))) for seed in range(5)], rule)
    assert far(known).distance < 1.3
    assert far(known, blur=8).distance > 2
    assert far(known, blur=8).measure == "roughness"
    darker = far(known, level=20.0)
    assert (darker.distance > 2) == (rule is FIXED)
    assert (known.level, known.contrast) == ((), ()) if rule is BY_INPUT else len(known.level) == 2


def test_the_distance_is_the_root_mean_square_of_that_of_each_measure():
    known = Appearance(level=((100.0, 10.0),), contrast=((3.0, 0.5),), roughness=((0.0, 0.0),))
    looks = np.array([[[120.0], [3.5], [0.3], [9.0], [np.nan]]])
    found = unlikeness_of(looks, known)
    apart = np.sqrt((2**2 + 1**2 + 3**2) / 3)
    assert found == (pytest.approx(apart / 1.5), "roughness", 0), "a training of one input does not know what is usual"
    assert unlikeness_of(looks, replace(known, usual=0.5)).distance == pytest.approx(apart / 0.5)
    assert unlikeness_of(np.full((1, 5, 1), np.nan), known) is None


def test_what_is_usual_is_the_distance_of_most_inputs_from_the_others():
    """The mean is that of the others, the spread that of all."""
    looks = [looks_of(list(kind(seed, level=100.0 + 40 * seed))) for seed in range(6)]
    found = appearance_of(looks, FIXED).usual
    known, alone = vars(appearance_of(looks, FIXED)), []
    for at, own in enumerate(looks):
        means = np.mean([each.mean(0) for each in [*looks[:at], *looks[at + 1 :]]], 0)
        spreads = {name: [spread for _, spread in known[name]] for name in MEASURES}
        moved = {name: tuple(zip(means[row], spreads[name], strict=True)) for row, name in enumerate(MEASURES)}
        alone.append(unlikeness_of(own, Appearance(**moved, usual=1.0)).distance)
    assert found == pytest.approx(np.percentile(alone, 95), rel=1e-3)
    assert appearance_of(looks[:1], FIXED).usual is None


def test_items_count_alike_however_many_samples_they_have():
    one, other = np.zeros((1, 5, 1)), np.ones((99, 5, 1))
    assert appearance_of([one, other], FIXED).level == ((0.5, 0.5),)
    assert appearance_of([], FIXED) is None


def test_a_card_may_have_it_and_checks_it():
    known = appearance_of([looks_of(list(kind(0)))], FIXED)
    card = replace(CARD_2D, domain=Domain(appearance=known))
    assert Card.from_json(card.to_json()) == card
    assert "appearance" not in replace(CARD_2D, domain=Domain()).to_json()
    with pytest.raises(
        ValueError, match=r"domain.appearance.level: needs a mean and a standard deviation for each of 2"
    ):
        replace(CARD_2D, domain=Domain(appearance=Appearance(level=((1.0, 2.0),))))
