"""Words of the command line as values."""

from __future__ import annotations

from math import inf, isfinite, nan

from pipeline.errors import RequestError
from pipeline.io.band_names import BandName, band_names


def whole_numbers(text: str) -> tuple[int, ...]:
    """The numbers in a text such as "4,3,2"; RequestError for any other."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise RequestError(f"{text!r} must be whole numbers with commas, as in 4,3,2") from None


def bands(text: str) -> tuple[BandName, ...]:
    """The bands in a text such as "4,red,nir08": numbers and names; RequestError for an empty one."""
    try:
        return band_names(text.split(","))
    except ValueError:
        raise RequestError(f"{text!r} must be bands with commas, as in 4,3,2 or red,green,blue") from None


def words(text: str | None) -> tuple[str, ...] | None:
    """The words in a text such as "red,green,blue", if it is given; RequestError for an empty one."""
    if text is None:
        return None
    found = tuple(part.strip() for part in text.split(","))
    if not all(found):
        raise RequestError(f"{text!r} must be words with commas, as in red,green,blue")
    return found


def numbers(text: str | None) -> tuple[float, ...] | None:
    """The finite numbers in a text such as "0.5,255", if it is given; RequestError for any other."""
    if text is None:
        return None
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = (nan,)
    if not all(map(isfinite, found)):
        raise RequestError(f"{text!r} must be numbers with commas, as in 0.5,255")
    return found


def pair(text: str) -> tuple[int, int]:
    """Height and width in a text such as "512" or "512,768"; RequestError for any other."""
    numbers = whole_numbers(text)
    if len(numbers) > 2 or min(numbers) < 0:
        raise RequestError(f"{text!r} must be one whole number, or height and width, as in 512,768")
    return numbers[0], numbers[-1]


def volume(text: str) -> int | str:
    """The number of a volume in a text such as "3", or "all"; RequestError for any other."""
    if text == "all":
        return text
    try:
        return int(text)
    except ValueError:
        raise RequestError(f"--volume {text!r}: must be the number of a volume, from 0, or all") from None


def lengths(text: str) -> tuple[float, float]:
    """Height and width in a text such as "10" or "10,20"; RequestError for any other."""
    found = numbers(text) or ()
    if not 1 <= len(found) <= 2:
        raise RequestError(f"{text!r} must be one number, or height and width, as in 10,20")
    return found[0], found[-1]


def positive(option: str, value: int | None) -> int | None:
    """The value of `option`, if it is given; RequestError if it is below 1."""
    if value is not None and value < 1:
        raise RequestError(f"{option} {value}: must be at least 1")
    return value


def duration(option: str, text: str | None) -> float | None:
    """The seconds in a text such as "30s", "15m", "6h" or "1d", if it is given; RequestError for any other."""
    if text is None:
        return None
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    try:
        seconds = float(text.rstrip("smhd")) * units[text[-1:] if text[-1:].isalpha() else "s"]
    except (KeyError, ValueError):
        seconds = nan
    if not 0 <= seconds < inf:
        raise RequestError(f"{option} {text!r}: must be a time, as in 30s, 15m, 6h or 1d")
    return seconds


def size_in_bytes(text: str | None) -> int | None:
    """The bytes in a text such as "500MiB" or "2GB", if it is given; RequestError for any other."""
    if text is None:
        return None
    units = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9, "B": 1}
    unit = next((unit for unit in units if text.upper().endswith(unit)), "")
    try:
        return int(float(text[: len(text) - len(unit)]) * units.get(unit, 1))
    except (ValueError, OverflowError):
        raise RequestError(f"--memory {text!r}: must be a size, as in 500MiB or 2GiB") from None
