"""Rows come back as they were written, whatever stands in them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RequestError
from pipeline.io.tables import read_rows, write_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(
    suffix=st.sampled_from([".csv", ".tsv"]),
    rows=st.lists(st.fixed_dictionaries({"input": TEXT, "a, b\t": TEXT}), max_size=5),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_rows_come_back(tmp_path_factory, suffix, rows, line_end):
    path = tmp_path_factory.mktemp("t") / f"x{suffix}"
    write_rows(path, ["input", "a, b\t"], [(row["input"], row["a, b\t"]) for row in rows], line_end=line_end)
    assert read_rows(path) == rows


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", "\uff1d1", '=HYPERLINK("mailto:a")']


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_a_formula_and_all_come_back(tmp_path, suffix, text):
    path = tmp_path / f"x{suffix}"
    write_rows(path, ["input", "number"], [(text, -1.5), (Path(text), -2)])
    with path.open(newline="") as file:
        _, *rows = csv.reader(file, delimiter="\t" if suffix == ".tsv" else ",")
    assert [row[0][0] for row in rows] == ["'", "'"]
    assert [row[1] for row in rows] == ["-1.5", "-2"], "numbers are left as they are"
    assert [row["input"] for row in read_rows(path)] == [text, text]


def test_the_suffix_says_what_parts_columns(tmp_path):
    write_rows(tmp_path / "x.tsv", ["a", "b"], [(1, None)])
    assert (tmp_path / "x.tsv").read_bytes() == b"a\tb\n1\t\n"
    write_rows(tmp_path / "x.csv", ["a", "b"], [(0.5, "c,d")])
    assert (tmp_path / "x.csv").read_bytes() == b'a,b\n0.5,"c,d"\n'


def test_the_mark_of_a_spreadsheet_is_no_part_of_a_name(tmp_path):
    (tmp_path / "x.csv").write_bytes("input\nü\n".encode("utf-8-sig"))
    assert read_rows(tmp_path / "x.csv") == [{"input": "ü"}]


@pytest.mark.parametrize("content", [b"input\n\xff\n", None])
def test_what_cannot_be_read_is_named_with_its_option(tmp_path, content):
    if content is not None:
        (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(RequestError, match=r"^--table .*x\.csv: the table cannot be read \(.+\)$"):
        read_rows(tmp_path / "x.csv", "--table ")
