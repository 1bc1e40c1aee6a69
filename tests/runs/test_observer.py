"""Who follows a run sees each cell once, and stops it by whatever means it has."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.ledger import Ledger
from pipeline.errors import Interrupted
from pipeline.geometry import Lattice, cut_slabs, split_runs
from pipeline.geometry.partition import patches_of
from pipeline.runs.observer import SILENT, LedgerProgress, Observer, PatchProgress, Relay, Stoppable, check_stop
from tests.support.observers import Callbacks

CALLS = {"started": (9, 1), "phase": ("reading",), "advanced": (2.5,), "note": ("a line",), "patches_done": (3,)}


def test_an_observer_does_nothing_and_never_stops():
    for name, words in CALLS.items():
        assert getattr(SILENT, name)(*words) is None
    assert not SILENT.should_stop()
    assert SILENT.step("comparing") is SILENT
    check_stop(SILENT)


def test_a_relay_passes_all_on():
    seen = {}
    calls = {name: lambda *words, name=name: seen.update({name: words}) for name in (*CALLS, "slab_done")}
    relay = Relay(Callbacks(**calls))
    (slab,) = cut_slabs((4, 4), 4)
    for name, words in CALLS.items():
        getattr(relay, name)(*words)
    relay.slab_done(slab)
    assert seen == {**CALLS, "slab_done": (slab,)}


def test_a_relay_has_all_that_concerns_an_item():
    """A method that is added to Observer must not be lost on the way."""
    of_items = {"item", "step", "finished", "known", "remark"}
    methods = {name for name in dir(Observer) if not name.startswith("_")}
    assert methods - of_items <= set(vars(Relay))


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("other", [False, True])
def test_one_stops_if_either_says_so(own, other):
    mine, theirs = threading.Event(), threading.Event()
    stoppable = Stoppable(Callbacks(theirs), mine)
    for event, is_set in ((mine, own), (theirs, other)):
        if is_set:
            event.set()
    assert stoppable.should_stop() == (own or other)
    if own or other:
        with pytest.raises(Interrupted, match="run the same command again"):
            check_stop(stoppable)


@given(rows=st.integers(1, 60), columns=st.integers(1, 30), height=st.integers(1, 20), done=st.integers(0, 3))
def test_the_shares_of_all_patches_are_all_cells(rows, columns, height, done):
    lattice, advanced = Lattice((rows, columns), (8, 8), (4, 4), (0, 0)), []
    todo = cut_slabs((rows, columns), height)[done:]
    progress = PatchProgress(Callbacks(advanced=advanced.append), lattice, todo)
    progress.patches_done(patches_of(lattice, split_runs(todo, 1)))
    assert sum(advanced) == pytest.approx(sum(slab.size for slab in todo))


def test_slabs_that_others_mark_are_told_once(tmp_path):
    ledger, slabs, advanced = Ledger(tmp_path), cut_slabs((64, 8), 16), []
    ledger.begin({})
    progress = LedgerProgress(ledger, slabs, Callbacks(advanced=advanced.append))
    for part in (slabs[:1], (), slabs[1:]):
        for slab in part:
            ledger.mark(slab)
        progress.look()
    assert advanced == [128, 0, 3 * 128]
