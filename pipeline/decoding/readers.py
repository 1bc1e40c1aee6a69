"""Readers of values, from a key of a TOML file and from the text of an option."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Any


@dataclass(frozen=True)
class Reader:
    """How a value is read."""

    expected: str
    """What a file may hold, in words."""
    read: Callable[[Any], Any]
    """The value of what a file holds; TypeError or ValueError for anything else."""
    parse: Callable[[str], Any] = str
    """The value of an option's text; ValueError for any other text, with words that begin with it."""
    metavar: str = "<str>"
    """Placeholder of the value in the help of the command line."""
    repeated: bool = False
    """Whether the option may be given again."""
    gather: Callable[[tuple[Any, ...]], Any] = tuple
    """The value of what is parsed of such an option."""
    in_forms: bool = False
    """Whether a form of Prefect takes the text of an option, too."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:  # noqa: ANN401  (pydantic's)
        """Return the schema of the field, for Prefect's parameters; with the texts that it may be given as."""
        schema: dict[str, Any] = handler(source)
        if not self.in_forms:
            return schema
        return {
            "type": "function-before",
            "function": {"type": "no-info", "function": self._of_form},
            "schema": schema,
            "metadata": {"pydantic_js_functions": [self._with_text]},
        }

    def _of_form(self, value: Any) -> Any:  # noqa: ANN401  (what a form has)
        return self.parse(value) if isinstance(value, str) else value

    @staticmethod
    def _with_text(schema: Any, handler: Any) -> dict[str, Any]:  # noqa: ANN401  (pydantic's)
        told: dict[str, Any] = handler(schema)
        return {**told, "anyOf": [{"type": "string"}, *told.get("anyOf", [])]}


def text(value: object) -> str:
    """A text; TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError
    return value


def texts(value: object) -> tuple[str, ...]:
    """A text or a list of texts."""
    return tuple(map(text, value)) if isinstance(value, list) else (text(value),)


def one_or_several(values: tuple[str, ...]) -> str | tuple[str, ...]:
    """The only one of them, or all."""
    return values[0] if len(values) == 1 else values


def words(value: object) -> tuple[str, ...]:
    """A list of texts, or a text of them with commas."""
    return tuple(map(text, value)) if isinstance(value, list) else tuple(text(value).split(","))


def words_and_numbers(value: object) -> tuple[str | float, ...]:
    """A list of texts and numbers, or a text of them with commas."""
    return tuple(map(_word_or_number, value)) if isinstance(value, list) else tuple(text(value).split(","))


def _word_or_number(value: object) -> str | float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError
    return value


def whole(value: object) -> int:
    """A whole number; TypeError for anything else, also for true and false."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def pair(value: Any) -> tuple[int, int]:  # noqa: ANN401  (what stands in a file)
    """A whole number for both, or a list of two."""
    height, width = map(whole, (value, value) if isinstance(value, int) else value)
    return height, width


def truth(value: object) -> bool:
    """True or false; TypeError for anything else."""
    if not isinstance(value, bool):
        raise TypeError
    return value


def number(value: object) -> float:
    """A number; TypeError for anything else, also for true and false."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return float(value)


def numbers(value: Any) -> tuple[float, ...]:  # noqa: ANN401  (what stands in a file)
    """A number, or a list of numbers."""
    return tuple(map(number, value)) if isinstance(value, list) else (number(value),)


def lengths(value: Any) -> tuple[float, float]:  # noqa: ANN401  (what stands in a file)
    """A number for both, or a list of two."""
    height, width = map(number, value if isinstance(value, list) else (value, value))
    return height, width


def parse_wholes(words: str) -> tuple[int, ...]:
    """The numbers in a text such as "4,3,2"."""
    try:
        return tuple(int(part) for part in words.split(","))
    except ValueError:
        raise ValueError(f"{words!r} must be whole numbers with commas, e.g. 4,3,2") from None


def parse_words(words: str) -> tuple[str, ...]:
    """The words in a text such as "red,green,blue"."""
    found = tuple(part.strip() for part in words.split(","))
    if not all(found):
        raise ValueError(f"{words!r} must be words with commas, e.g. red,green,blue")
    return found


def parse_numbers(words: str) -> tuple[float, ...]:
    """The finite numbers in a text such as "0.5,255"."""
    try:
        found = tuple(float(part) for part in words.split(","))
    except ValueError:
        found = (nan,)
    if not all(map(isfinite, found)):
        raise ValueError(f"{words!r} must be numbers with commas, e.g. 0.5,255")
    return found


def parse_pair(words: str) -> tuple[int, int]:
    """Height and width in a text such as "512" or "512,768"."""
    found = parse_wholes(words)
    if len(found) > 2 or min(found) < 0:
        raise ValueError(f"{words!r} must be one whole number, or height and width, e.g. 512,768")
    return found[0], found[-1]


def parse_lengths(words: str) -> tuple[float, float]:
    """Height and width in a text such as "10" or "10,20"."""
    found = parse_numbers(words)
    if len(found) > 2:
        raise ValueError(f"{words!r} must be one number, or height and width, e.g. 10,20")
    return found[0], found[-1]


def parse_positive(words: str) -> int:
    """The number in a text such as "4", which is above 0."""
    try:
        found = int(words)
    except ValueError:
        raise ValueError(f"{words!r}: must be a whole number") from None
    if found < 1:
        raise ValueError(f"{words}: must be at least 1")
    return found


def parse_size(words: str) -> int:
    """The bytes in a text such as "500MiB" or "2GB"."""
    units = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9, "B": 1}
    unit = next((unit for unit in units if words.upper().endswith(unit)), "")
    try:
        return int(float(words[: len(words) - len(unit)]) * units.get(unit, 1))
    except (ValueError, OverflowError):
        raise ValueError(f"{words!r}: must be a size, e.g. 500MiB or 2GiB") from None


def parse_duration(words: str) -> float:
    """The seconds in a text such as "30s", "15m", "6h" or "1d"."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    try:
        seconds = float(words.rstrip("smhd")) * units[words[-1:] if words[-1:].isalpha() else "s"]
    except (KeyError, ValueError):
        seconds = nan
    if not 0 <= seconds < inf:
        raise ValueError(f"{words!r}: must be a time, e.g. 30s, 15m, 6h or 1d")
    return seconds


TEXT = Reader("a text", text)
TEXTS = Reader("a text or a list of texts", texts, repeated=True)
ONE_OR_SEVERAL = Reader(
    "a text or a list of texts", lambda value: one_or_several(texts(value)), repeated=True, gather=one_or_several
)
WORDS = Reader("a text or a list of texts", words, parse_words, "<str>,...")
WORDS_AND_NUMBERS = Reader("a text or a list of words and numbers", words_and_numbers, parse_words, "<str>,...")
WHOLE = Reader("a whole number", whole, int, "<int>")
WHOLES = Reader("a list of whole numbers", lambda value: tuple(map(whole, value)), parse_wholes, "<int>,...")
POSITIVE = Reader("a whole number", whole, parse_positive, "<int>")
PAIR = Reader("a whole number, or [height, width]", pair, parse_pair, "<int>[,<int>]")
NUMBER = Reader("a number", number, float, "<float>")
NUMBERS = Reader("a number or a list of numbers", numbers, parse_numbers, "<float>,...")
LENGTHS = Reader("a number, or [height, width]", lengths, parse_lengths, "<float>[,<float>]")
TRUTH = Reader("true or false", truth)
SIZE = Reader("a text", text, parse_size, "<size>", in_forms=True)
DURATION = Reader("a text", text, parse_duration, "<time>")
