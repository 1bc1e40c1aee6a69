"""Messages name a few of many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import first_of


@given(st.lists(st.text("abc", min_size=1), max_size=25), st.integers(1, 12))
def test_the_first_names_are_told_and_that_there_are_more(names, most):
    told = first_of(names, most).split("; ") if names else []
    assert told[:most] == names[:most]
    assert told[most:] == (["..."] if len(names) > most else [])
