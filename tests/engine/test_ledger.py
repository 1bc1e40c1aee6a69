from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.ledger import Ledger, differences, flat
from pipeline.errors import OutputError
from pipeline.geometry import cut_slabs

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, max_size=4)


@given(RECORDS)
def test_a_record_does_not_differ_from_itself_after_json(record):
    assert differences(json.loads(json.dumps(record)), record) == ""


@given(RECORDS, RECORDS)
def test_records_differ_or_are_equal(one, other):
    one, other = json.loads(json.dumps(one)), json.loads(json.dumps(other))
    names = {*flat(one), *flat(other)}
    same = all(flat(one).get(name) == flat(other).get(name) for name in names)
    assert (differences(one, other) == "") == same


def test_a_difference_has_its_name_and_both_values():
    before, now = {"a": {"b": [1, 2], "c": 0}, "d": None}, {"a": {"b": (1, 3), "c": 0}, "e": "x"}
    assert differences(before, now) == "a.b [1, 2] (now [1, 3]), e None (now 'x')"


def test_a_ledger_knows_what_is_done(tmp_path):
    slabs = cut_slabs((70, 30), 16, 10)
    ledger = Ledger(tmp_path / "work")
    assert not ledger.begun
    assert not ledger.any_done
    ledger.begin({"a": 1})
    assert ledger.begun
    assert not ledger.any_done
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ledger.mark, slabs[::2] * 2))
    assert Ledger(tmp_path / "work").done(slabs) == set(slabs[::2])
    assert ledger.any_done


def test_bands_of_another_height_and_width_are_safe_where_all_their_cells_are(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.begin({})
    for slab in cut_slabs((64, 8), 16):
        ledger.mark(slab)
    assert ledger.done(cut_slabs((64, 8), 32, 4)) == set(cut_slabs((64, 8), 32, 4))
    assert ledger.done(cut_slabs((64, 9), 32)) == set()


def test_a_ledger_refuses_another_run(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.begin({"window": "hann", "patch": (2, 3)})
    ledger.check({"patch": [2, 3], "window": "hann"})
    with pytest.raises(OutputError, match=r"window 'hann' \(now 'linear'\)\. .*--restart") as error:
        ledger.check({"patch": [2, 3], "window": "linear"})
    assert "patch" not in str(error.value)
    assert str(tmp_path) in str(error.value)
