"""Documents (JSON, TOML) to frozen dataclasses, strictly: nothing unknown or missing, each value of its type."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pipeline.decoding.keys import Key, keys_of
from pipeline.decoding.readers import Reader
from pipeline.errors import RequestError

Record = TypeVar("Record")
UNKNOWN = "{place}{key}: unknown key{hint}; known are {known}"


class DecodeError(ValueError):
    """A document cannot be decoded; it says where, what was found and what is expected."""


def decode(
    kind: type[Record], value: object, place: str = "", *, may_miss: bool = False, unknown: str = UNKNOWN
) -> Record:
    """The dataclass `kind` from an object with exactly its keys; without those with a default, if it `may_miss`.

    `unknown` is how an unknown key is refused. Raises DecodeError with the key's path, what was found and what is
    expected; other ValueErrors come from the dataclass itself.
    """
    return _Decoder(may_miss, unknown).record(kind, value, place)


def read_toml(kind: type[Record], path: Path, what: str, *, unknown: str = UNKNOWN) -> Record:
    """The dataclass `kind` in a TOML file, which is a `what`; keys with a default may be left out.

    Raises RequestError with the file and the key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return decode(kind, values, may_miss=True, unknown=unknown)
    except OSError as error:
        raise RequestError(f"{path}: the {what} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: is not TOML ({error})") from error
    except ValueError as error:
        raise RequestError(f"{path}: {error}") from error


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean "..."?)` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, known, n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


@dataclass(frozen=True)
class _Decoder:
    may_miss: bool
    unknown: str

    def record(self, kind: type[Record], value: object, place: str) -> Record:
        if not isinstance(value, dict):
            raise DecodeError(_expected("an object", value, place))
        prefix = f"{place}." if place else ""
        keys = keys_of(kind)
        read: dict[str, Any] = {}
        for word, item in value.items():
            key = self._key(keys, word, value, prefix)
            read[key.field.name] = self._of_key(key, item, prefix + word)
        if missing := [key.name for key in keys if key.field.name not in read and not self._may_miss(key)]:
            raise DecodeError(f"{place or 'the whole document'}: missing keys {', '.join(missing)}")
        return kind(**read)

    def _key(self, keys: tuple[Key, ...], word: str, words: Iterable[str], prefix: str) -> Key:
        """What a word of `words` stands for."""
        known = {key.name: key for key in keys}
        former = {old: key for key in keys for old in key.former}
        if word in known:
            return known[word]
        if word not in former:
            names = ", ".join(known)
            raise DecodeError(self.unknown.format(place=prefix, key=word, hint=did_you_mean(word, known), known=names))
        if former[word].name in words:
            raise DecodeError(f"{prefix}{word}: is the older name of {former[word].name}; give that one alone")
        return former[word]

    def _may_miss(self, key: Key) -> bool:
        return key.meaning.sparse or (self.may_miss and not key.required)

    def _of_key(self, key: Key, value: object, place: str) -> object:
        return self._value(key.kind, value, place) if key.reader is None else _read(key.reader, value, place)

    def _value(self, kind: Any, value: object, place: str) -> Any:  # noqa: ANN401  (a type hint has no narrower type)
        origin = get_origin(kind)
        if is_dataclass(kind):
            return self.record(kind, value, place)  # type: ignore[arg-type]
        if origin in (Union, UnionType):
            return None if value is None else self._value(_one_of(kind, value), value, place)
        if origin is Literal:
            return _choice(get_args(kind), value, place)
        if origin is tuple:
            return self._items(get_args(kind), value, place)
        if origin is Mapping:
            return _checked(isinstance(value, dict), value, "an object", place)
        return _scalar(kind, value, place)

    def _items(self, kinds: tuple[Any, ...], value: object, place: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise DecodeError(_expected("a list", value, place))
        if kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(value)
        if len(kinds) != len(value):
            raise DecodeError(_expected(f"{len(kinds)} values", value, place))
        each = enumerate(zip(kinds, value, strict=True))
        return tuple(self._value(kind, item, f"{place}[{i}]") for i, (kind, item) in each)


def _read(reader: Reader, value: object, place: str) -> object:
    try:
        return reader.read(value)
    except DecodeError as error:
        raise DecodeError(f"{place}.{error}") from None
    except (TypeError, ValueError):
        raise DecodeError(f"{place} = {value!r} must be {reader.expected}") from None


def _one_of(kind: Any, value: object) -> Any:  # noqa: ANN401  (a type hint has no narrower type)
    """The part of a union that a value is of: of records, the first that knows most of its keys; else the first."""
    parts = [part for part in get_args(kind) if part is not NoneType]
    if isinstance(value, dict) and all(map(is_dataclass, parts)):
        return max(parts, key=lambda part: sum(key.name in value for key in keys_of(part)))
    return next((part for part in parts if type(value) is part), parts[0])


def _choice(known: tuple[object, ...], value: object, place: str) -> object:
    fits = any(value == choice and type(value) is type(choice) for choice in known)
    return _checked(fits, value, " or ".join(map(repr, known)), place)


def _scalar(kind: type, value: object, place: str) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    fits = type(value) is kind and not (isinstance(value, float) and not math.isfinite(value))
    words = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false"}
    return _checked(fits, value, words[kind], place)


def _checked(fits: bool, value: object, expected: str, place: str) -> object:
    if not fits:
        raise DecodeError(_expected(expected, value, place))
    return value


def _expected(what: str, value: object, place: str) -> str:
    return f"{place or 'the whole document'}: expected {what}, got {value!r}"
