"""The words of a command line. They go to the process as a list, so no shell ever reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Union

Value = Union[str, int, float, bool, Sequence[object], None]
"""Of an option: True is a flag; None, False and what is empty leave it out; a sequence is joined by commas."""

_SEGMENTING = (
    *("input", "model", "bands", "aoi", "crs", "workers", "patch", "overlap", "tta", "scale", "offset", "resolution"),
    *("memory", "device", "window", "features", "precision", "runtime", "json"),
)
_CLEANED = ("output", "sieve", "simplify", "min-area", "class", "image", "opacity", "dpi", "overwrite", "json")
OPTIONS: Mapping[str, frozenset[str]] = {
    "run": frozenset([*_SEGMENTING, "output", "layers", "overwrite", "restart", "no-prefect", "progress"]),
    "plan": frozenset([*_SEGMENTING, "probe", "no-probe"]),
    "export": frozenset(_CLEANED),
    "areas": frozenset(["zones", "name", "json"]),
    "evaluate": frozenset(["table", "ignore", "boundary", "pictures", "progress", "json"]),
    "info": frozenset(["json"]),
    "models": frozenset(["json"]),
}
"""By verb: the options that the plugin gives. A test holds them against the command."""


def command_line(verb: str, options: Mapping[str, Value], arguments: Iterable[str] = ()) -> list[str]:
    """Return the words after `pipeline`.

    Values are joined to their options by `=` and arguments come after `--`, so that neither is taken for an option.

    >>> command_line("areas", {"zones": "z.gpkg", "name": None, "json": True}, ["-mask.tif"])
    ['areas', '--zones=z.gpkg', '--json', '--', '-mask.tif']

    Raises:
        ValueError: If an option is not among `OPTIONS`.

    """
    unknown = set(options) - OPTIONS[verb]
    if unknown:
        raise ValueError(f"{verb}: {', '.join(sorted(unknown))} not in OPTIONS")
    flags = [word for name, value in options.items() for word in _option(name, value)]
    after = list(arguments)
    return [verb, *flags, *(["--", *after] if after else [])]


def _option(name: str, value: Value) -> Iterator[str]:
    if value is None or value is False or value == "" or value == [] or value == ():
        return
    yield f"--{name}" if value is True else f"--{name}={_text(value)}"


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_text, value))
    return f"{value:.17g}" if isinstance(value, float) else str(value)


def box_text(west: float, south: float, east: float, north: float, crs: str = "") -> str:
    """Return a box as `--aoi` takes it: in degrees, or in the CRS named at the end.

    >>> box_text(-12.5, 3, 0.1, 4, "EPSG:32633")
    '-12.5,3,0.1,4,EPSG:32633'
    """
    numbers = [repr(float(side)).removesuffix(".0") for side in (west, south, east, north)]
    return ",".join([*numbers, *([crs] if crs else [])])
