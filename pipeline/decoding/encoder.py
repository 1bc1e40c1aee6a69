"""Frozen dataclasses to the documents that they are read from: the inverse of decoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from pipeline.decoding.keys import keys_of


def encode(record: Any) -> dict[str, Any]:  # noqa: ANN401  (any dataclass)
    """Return the fields of a dataclass's value under their names in files, in order, and those of nested ones too.

    Tuples stay tuples, which JSON writes as the lists that `decode` reads.
    """
    named = [(key, getattr(record, key.field.name)) for key in keys_of(type(record))]
    return {key.name: _value(value) for key, value in named if value is not None or not key.meaning.sparse}


def _value(value: Any) -> Any:  # noqa: ANN401  (of any type)
    if is_dataclass(value):
        return encode(value)
    if isinstance(value, tuple):
        return tuple(map(_value, value))
    if isinstance(value, Mapping):
        return {key: _value(item) for key, item in value.items()}
    return value
