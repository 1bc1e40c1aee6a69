from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decoding import DecodeError, Meaning, Reader, decode, keys_of, read_toml
from pipeline.decoding import given as given_of
from pipeline.decoding.readers import NUMBERS, PAIR
from pipeline.errors import RequestError
from pipeline.training.config import Training


@dataclass(frozen=True)
class Inner:
    rate: Annotated[float, Meaning("A rate.", name="learning_rate")] = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = Inner()
    pair: Annotated[tuple[int, int] | None, PAIR, Meaning("Two.", former=("two",))] = None
    scale: Annotated[tuple[float, ...], NUMBERS] = ()


def read_inner(value):
    return decode(Inner, value, may_miss=True)


@dataclass(frozen=True)
class Whole:
    part: Annotated[Inner | None, Reader("a table", read_inner)] = None


def test_a_key_has_one_name_and_older_ones():
    new = {"name": "x", "inner": {"learning_rate": 1}, "pair": 3}
    old = {"name": "x", "inner": {"rate": 1.0}, "two": [3, 3]}
    assert decode(Outer, new, may_miss=True) == decode(Outer, old, may_miss=True) == Outer("x", Inner(1.0), (3, 3))
    assert [key.name for key in keys_of(Inner)] == ["learning_rate"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "the whole document: missing keys name"),
        (
            {"name": "x", "inner": {"lerning_rate": 1}},
            'inner.lerning_rate: unknown key (did you mean "learning_rate"?)',
        ),
        ({"name": "x", "inner": {"rate": 1, "learning_rate": 2}}, "inner.rate: is the older name of learning_rate"),
        ({"name": "x", "inner": {"rate": "1"}}, "inner.rate: expected a finite number, got '1'"),
        ({"name": "x", "pair": "1"}, "pair = '1' must be a whole number, or [height, width]"),
        ({"name": "x", "scale": [1, True]}, "scale = [1, True] must be a number or a list of numbers"),
        ([], "the whole document: expected an object, got []"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(values, said):
    with pytest.raises(DecodeError) as error:
        decode(Outer, values, may_miss=True)
    assert str(error.value).startswith(said)


def test_an_unknown_key_is_refused_in_the_words_of_the_document():
    with pytest.raises(DecodeError, match=r"^no nam here$"):
        decode(Outer, {"nam": "x"}, unknown="no {key} here")


def test_a_reader_may_read_a_table_within():
    assert decode(Whole, {"part": {"rate": 2}}) == Whole(Inner(2.0))
    with pytest.raises(DecodeError, match=r"part\.x: unknown key"):
        decode(Whole, {"part": {"x": 2}})


@given(st.floats(0, 1), st.integers(1, 9) | st.none())
def test_only_what_differs_is_given(rate, side):
    record = Outer("x", Inner(rate), None if side is None else (side, side))
    assert given_of(record).get("pair") == record.pair
    assert ("inner" in given_of(record)) == (rate != 0.5)


def test_a_training_reads_older_names(tmp_path):
    names = {"learning_rate": "rate", "head_lr_multiplier": "new_layers", "ema_decay": "averaging"}
    for new, old in names.items():
        read = []
        for name in (new, old):
            text = f'name = "a"\nkind = "scene"\nclasses = []\nchannels = []\n[data]\n[schedule]\n{name} = 0.25\n'
            (tmp_path / "t.toml").write_text(text)
            read.append(read_toml(Training, tmp_path / "t.toml", "training"))
        assert read[0] == read[1]
        assert getattr(read[0].schedule, old) == 0.25


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RequestError, match=r"none\.toml: the recipe cannot be read \(No such file"):
        read_toml(Outer, tmp_path / "none.toml", "recipe")
