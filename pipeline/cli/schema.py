"""Everything that can be asked of the command line, as one document for programs that call it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer.main
from typer.models import CommandInfo

from pipeline.decoding import Key
from pipeline.io.formats import FORMATS, Format
from pipeline.io.suffixes import READ_BY_GDAL, SIDECARS, VECTORS
from pipeline.masks.export import SEGMENTS
from pipeline.models.card import Card
from pipeline.models.catalogue import load_card, names

FORMAT = 1
"""Version of the document; it is raised when a key changes its meaning or goes away."""
_TYPES = {bool: "boolean", int: "integer", float: "number", Path: "path"}
"""By Python's type: ours; any other is text."""
_READ = {"int": "integer", "float": "number"}
"""By the word in a reader's placeholder: the type of what it reads of a text."""


def schema(app: typer.Typer) -> dict[str, Any]:
    """Return the verbs with their options, the packaged models with their classes, and the formats, as JSON values."""
    commands: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    shown = [entry for entry in app.registered_commands if not entry.hidden]
    return {
        "format": FORMAT,
        "pipeline": version("pipeline"),
        "verbs": [_verb(commands[_name(entry)], entry.callback) for entry in shown],
        "models": [_model(load_card(name)) for name in names()],
        "formats": _formats(),
        "exports": {"vectors": list(VECTORS), "beside": list(SIDECARS), "segments": [SEGMENTS]},
    }


def _name(entry: CommandInfo) -> str:
    return entry.name or getattr(entry.callback, "__name__", "").replace("_", "-")


def _verb(command: Any, function: Any) -> dict[str, Any]:  # noqa: ANN401  (typer's, and what it was made of)
    keys, signature = getattr(function, "keys", {}), inspect.signature(function).parameters
    given: dict[str, list[dict[str, Any]]] = {"argument": [], "option": []}
    for one in command.params:
        if not getattr(one, "hidden", False) and one.name in signature:
            given[one.param_type_name].append(_parameter(one, signature[one.name], keys.get(one.name)))
    return {"name": command.name, "help": command.help, "arguments": given["argument"], "options": given["option"]}


def _parameter(shown: Any, own: inspect.Parameter, key: Key | None) -> dict[str, Any]:  # noqa: ANN401  (typer's)
    """Return an argument or an option; those of a dataclass also know their choices, and what they name."""
    meaning, _, unset = (shown.help or "").partition(" Default: ")
    metavar = key.reader.metavar if key is not None and key.reader is not None else ""
    kind, several = _bare(own.annotation)
    read = re.fullmatch(r"<(int|float)>(,\.\.\.|\[,<\1>\])?", metavar)
    return {
        "name": own.name if key is None else key.name,
        "flags": [*shown.opts, *shown.secondary_opts] if shown.param_type_name == "option" else [],
        "help": meaning,
        "type": _READ[read[1]] if read is not None and kind is str else _TYPES.get(kind, "text"),
        "choices": [] if key is None else list(key.choices),
        "several": "repeated" if several else "commas" if "," in metavar else None,
        "names": None if key is None else key.meaning.role,
        "required": own.default is inspect.Parameter.empty,
        "default": _plain(own.default),
        "unset": unset.removesuffix("."),
        "panel": getattr(shown, "rich_help_panel", None),
    }


def _bare(annotation: Any) -> tuple[Any, bool]:  # noqa: ANN401  (a type hint)
    """Return the type of one value, and whether there may be several."""
    origin, parts = get_origin(annotation), [part for part in get_args(annotation) if part is not NoneType]
    if origin is list:
        return parts[0], True
    return _bare(parts[0]) if origin in (Annotated, Union, UnionType) else (annotation, False)


def _plain(default: object) -> object:
    if isinstance(default, Path):
        return str(default)
    return default if isinstance(default, (bool, int, float, str)) else None


def _model(card: Card) -> dict[str, Any]:
    classes = [{"value": value, "name": one.name, "color": list(one.color)} for value, one in enumerate(card.classes)]
    return {
        "name": card.name,
        "kind": card.kind,
        "channels": list(card.channels),
        "patch": list(card.patch),
        "spacing": None if card.spacing is None else list(card.spacing),
        "license": card.license,
        "classes": classes,
    }


def _formats() -> list[dict[str, Any]]:
    """Return the formats that have suffixes, or are folders; a file of DICOM alone is one of its folder's."""
    found: dict[str, dict[str, Any]] = {}
    for one in FORMATS:
        if _suffixes_of(one) or one.gathers:
            found.setdefault(one.name, _format(one))
    return list(found.values())


def _format(one: Format) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "read": _suffixes_of(one),
        "written": list(one.mask_suffixes),
        "folders": one.gathers,
    }


def _suffixes_of(one: Format) -> list[str]:
    """Return the suffixes of inputs; GDAL reads more than a folder stands for."""
    also = READ_BY_GDAL if one.name == "raster" else ()
    return list(dict.fromkeys((*one.suffixes, *one.read_only, *one.unsure, *also)))
