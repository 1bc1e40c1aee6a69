"""Sets are what is reachable by the pairs, whatever their order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.sources.disjoint_sets import DisjointSets


@st.composite
def pairs(draw):
    count = draw(st.integers(1, 30))
    number = st.integers(0, count - 1)
    return count, draw(st.lists(st.tuples(number, number), max_size=40)), draw(st.integers(0, count))


@given(pairs())
def test_the_sets_are_the_connected_components_by_their_lowest_number(case):
    count, joins, grown = case
    sets = DisjointSets(count - grown)
    sets.grow(grown)
    for one, other in joins:
        sets.join(one, other)
    rows, columns = zip(*joins, strict=True) if joins else ((), ())
    _, labels = connected_components(coo_array(([1] * len(joins), (rows, columns)), (count, count)), directed=False)
    assert sets.roots().tolist() == [labels.tolist().index(label) for label in labels]
    assert [sets.root(number) for number in range(count)] == sets.roots().tolist()
