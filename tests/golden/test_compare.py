"""What may change from one version to another, and what may not."""

from __future__ import annotations

import pytest

from tests.golden.compare import differences

OLD = {"options run": ["--a"], "document run": {"n": 1, "told": ["licence"]}, "mask": "abc"}


def test_more_is_allowed_and_sentences_may_be_worded_otherwise():
    new = {"options run": ["--a", "--b"], "document run": {"n": 1, "m": 2, "told": ["license"]}, "mask": "abc"}
    assert differences(OLD, {**new, "options new": ["--c"]}) == []


@pytest.mark.parametrize(
    "change",
    [
        {"options run": ["--b"]},
        {"document run": {"n": 2, "told": ["licence"]}},
        {"document run": {"told": ["licence"]}},
        {"document run": {"n": 1, "told": []}},
        {"mask": "abd"},
        {"another mask": "abc"},
    ],
)
def test_what_is_lost_or_differs_is_named(change):
    assert differences(OLD, {**OLD, **change})
