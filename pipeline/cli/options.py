"""Make the options of verbs from the fields of dataclasses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from pipeline.cli.app import errors
from pipeline.cli.completion import completer_of
from pipeline.decoding import Key, Meaning, keys_of
from pipeline.errors import RequestError
from pipeline.files.object_path import ObjectPath, as_output

WHAT = "What: decides the mask; a job file may hold these"
HOW = "How: speed and memory"

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]


class ProgressForm(StrEnum):
    """How progress is shown."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True)
class Following:
    """How a run is followed."""

    quiet: Annotated[bool, Meaning("Show no progress bar.", short="-q")] = False
    progress: Annotated[
        ProgressForm, Meaning("Progress and messages on stderr: text, or json, a line for each, for programs.")
    ] = ProgressForm.TEXT

    @property
    def as_json(self) -> bool:
        """Whether it is followed by a program."""
        return self.progress is ProgressForm.JSON


class Panel:
    """A title in the help over the options of a dataclass, and the fields that are options; none: all of them.

    Without a title, they are among the options of the verb itself.
    """

    def __init__(self, title: str | None, *names: str) -> None:
        self.title, self.names = title, names


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function, in which a parameter that is a dataclass stands for one option per field.

    Errors end the command with one line and their exit code.
    """
    hints = get_type_hints(function, include_extras=True)
    groups = {name: group for name, hint in hints.items() if (group := _group(hint)) is not None}
    own = [one for one in signature(function).parameters.values() if one.name not in groups]

    @wraps(function)
    def command(**options: Any) -> None:  # noqa: ANN401  (what typer has read)
        with errors():
            _check_paths(options)
            values = {name: group.value(options) for name, group in groups.items()}
            function(**{one.name: options[one.name] for one in own}, **values)

    parameters = [
        parameter
        for one in signature(function).parameters.values()
        for parameter in (
            groups[one.name].parameters()
            if one.name in groups
            else [_parameter(one.name, hints[one.name], one.default)]
        )
    ]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.keys = {key.field.name: key for group in groups.values() for key in group.keys}  # type: ignore[attr-defined]
    return command


def _check_paths(options: Mapping[str, Any]) -> None:
    """Raise RequestError if what must be a path of this machine is an object."""
    for name, value in options.items():
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path) and isinstance(place := as_output(path), ObjectPath):
                raise RequestError(
                    f"{name.replace('_', '-')} {place}: is in an object store, where only the masks of `pipeline run` "
                    "can be; give a path of this machine"
                )


@dataclass(frozen=True)
class Group:
    """A dataclass whose fields are options."""

    kind: type
    title: str | None
    keys: tuple[Key, ...]

    def parameters(self) -> Iterator[Parameter]:
        """Yield an option for each field, and hidden ones for its former names."""
        for key in self.keys:
            yield _parameter(key.field.name, Annotated[_type_of(key), self._info(key)], _default_of(key))
            for word in key.former:
                hidden = typer.Option(_flag(word), hidden=True)
                yield _parameter(_former_parameter(word), Annotated[_type_of(key) | None, hidden], None)

    def value(self, options: Mapping[str, Any]) -> Any:  # noqa: ANN401  (of the kind)
        """Return the dataclass with everything that was given."""
        chosen = {key: _choose(key, options) for key in self.keys}
        return self.kind(**{key.field.name: _read(key, said) for key, said in chosen.items() if said not in (None, [])})

    def _info(self, key: Key) -> Any:  # noqa: ANN401  (typer's)
        flag, meaning = _flag(key.name), key.meaning
        both = key.bare is bool and key.field.default is not False
        flags = [f"{flag}/--no-{key.name.replace('_', '-')}" if both else flag, *filter(None, [meaning.short])]
        metavar = meaning.metavar or (key.reader.metavar if key.reader and key.bare is not bool else None)
        how: dict[str, Any] = {"help": meaning.sentence, "metavar": metavar, "autocompletion": completer_of(key)}
        return typer.Option(*flags, rich_help_panel=self.title, **how)


def _group(hint: Any) -> Group | None:  # noqa: ANN401  (a type hint has no narrower type)
    kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if not is_dataclass(kind) or not isinstance(kind, type):
        return None
    panel = next((note for note in notes if isinstance(note, Panel)), Panel("Options"))
    known = [key for key in keys_of(kind) if key.meaning.help and not is_dataclass(key.bare)]
    return Group(kind, panel.title, tuple(key for key in known if not panel.names or key.field.name in panel.names))


def _parameter(name: str, annotation: Any, default: Any) -> Parameter:  # noqa: ANN401
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _flag(word: str) -> str:
    return f"--{word.replace('_', '-')}"


def _former_parameter(word: str) -> str:
    return f"formerly_{word}"


def _type_of(key: Key) -> Any:  # noqa: ANN401  (a type hint)
    """Return what typer reads: texts if a reader parses them, else the field's own type."""
    if key.reader is not None and key.bare is not bool:
        return list[str] | None if key.reader.repeated else str | None
    return type(get_args(key.bare)[0]) if get_origin(key.bare) is Literal else key.bare


def _default_of(key: Key) -> Any:  # noqa: ANN401  (of the field)
    if key.required:
        return Parameter.empty
    return None if key.reader is not None and key.bare is not bool else key.field.default


def _choose(key: Key, options: Mapping[str, Any]) -> Any:  # noqa: ANN401  (what typer has read)
    """Return what was given for a field, under its name or a former one."""
    said = options[key.field.name]
    for word in key.former:
        if (former := options[_former_parameter(word)]) in (None, []):
            continue
        if said != _default_of(key):
            raise RequestError(f"{_flag(word)} is the old name of {_flag(key.name)}; give only the new one")
        typer.echo(f"note: {_flag(word)} is now {_flag(key.name)}; the old name will be removed", err=True)
        said = former
    return said


def _read(key: Key, said: Any) -> Any:  # noqa: ANN401  (what typer has read, and the field's value)
    if key.reader is None or key.bare is bool:
        return said
    try:
        parse, gather = key.reader.parse, key.reader.gather
        return gather(tuple(map(parse, said))) if key.reader.repeated else parse(said)
    except ValueError as error:
        raise RequestError(f"{_flag(key.name)} {error}") from None
