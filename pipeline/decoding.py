"""JSON values to frozen dataclasses, strictly: nothing unknown, nothing missing, every value of its declared type."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")


def decode(kind: type[Record], value: object, place: str = "", *, may_miss: bool = False) -> Record:
    """The dataclass `kind` from a JSON object with exactly its fields; without those with a default, if it `may_miss`.

    Raises ValueError with the key's path, what was found and what is expected.
    """
    if not isinstance(value, dict):
        raise ValueError(_expected("an object", value, place))  # noqa: TRY004  (a fault of the document, not of the code)
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    prefix = f"{place}." if place else ""
    for key in value:
        if key not in known:
            raise ValueError(f"{prefix}{key}: unknown key{did_you_mean(key, known)}; known are {', '.join(known)}")
    needed = [field.name for field in fields(kind) if not (may_miss and _has_default(field))]  # type: ignore[arg-type]
    if missing := [key for key in needed if key not in value]:
        raise ValueError(f"{place or 'the whole document'}: missing keys {', '.join(missing)}")
    return kind(**{key: _value(hints[key], value[key], f"{prefix}{key}", may_miss) for key in known if key in value})


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean "..."?)` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, known, n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _value(kind: Any, value: object, place: str, may_miss: bool) -> Any:  # noqa: ANN401  (a type hint has no narrower type)
    origin = get_origin(kind)
    if is_dataclass(kind):
        return decode(kind, value, place, may_miss=may_miss)  # type: ignore[arg-type]
    if origin in (Union, UnionType):
        return None if value is None else _value(_one_of(kind, value), value, place, may_miss)
    if origin is Literal:
        return _choice(get_args(kind), value, place)
    if origin is tuple:
        return _items(get_args(kind), value, place, may_miss)
    if origin is Mapping:
        return _checked(isinstance(value, dict), value, "an object", place)
    return _scalar(kind, value, place)


def _one_of(kind: Any, value: object) -> Any:  # noqa: ANN401
    """The part of a union that a value is of, or else the first."""
    parts = [part for part in get_args(kind) if part is not NoneType]
    return next((part for part in parts if type(value) is part), parts[0])


def _choice(known: tuple[object, ...], value: object, place: str) -> object:
    fits = any(value == choice and type(value) is type(choice) for choice in known)
    return _checked(fits, value, " or ".join(map(repr, known)), place)


def _items(kinds: tuple[Any, ...], value: object, place: str, may_miss: bool) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(_expected("a list", value, place))  # noqa: TRY004
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise ValueError(_expected(f"{len(kinds)} values", value, place))
    return tuple(
        _value(kind, item, f"{place}[{i}]", may_miss) for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _scalar(kind: type, value: object, place: str) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    fits = type(value) is kind and not (isinstance(value, float) and not math.isfinite(value))
    words = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false"}
    return _checked(fits, value, words[kind], place)


def _checked(fits: bool, value: object, expected: str, place: str) -> object:
    if not fits:
        raise ValueError(_expected(expected, value, place))
    return value


def _expected(what: str, value: object, place: str) -> str:
    return f"{place or 'the whole document'}: expected {what}, got {value!r}"
