"""A sealed file is read as it was written, or is told to be damaged."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DamagedError
from pipeline.files.sealed import read_sealed, write_sealed

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
RECORDS = st.dictionaries(st.text("abc", min_size=1), VALUES | st.lists(VALUES, max_size=3), max_size=4)


@given(RECORDS)
def test_a_record_comes_back(tmp_path_factory, record):
    path = tmp_path_factory.mktemp("s") / "a.json"
    write_sealed(path, record)
    assert read_sealed(path) == record
    assert json.loads(path.read_text()).items() >= record.items(), "others read it as JSON"


@given(RECORDS, st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_changes_no_value(tmp_path_factory, record, share, bit):
    path = tmp_path_factory.mktemp("s") / "a.json"
    write_sealed(path, record)
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 1 << bit
    path.write_bytes(content)
    with suppress(DamagedError):
        assert read_sealed(path) == record


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"[]", b"[1, 2]", b"7", b"\xff\xfe", b"null", b"[" * 100_000])
def test_what_is_no_record_is_damaged(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"a\.json: is damaged"):
        read_sealed(path)


def test_a_file_of_an_earlier_version_is_read_as_it_is(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1, "b": [2]}')
    assert read_sealed(tmp_path / "a.json") == {"a": 1, "b": [2]}
