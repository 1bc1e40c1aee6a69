"""Fields of dataclasses as users know them: one description for the command line, files and the reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.decoding.readers import Reader

Role = Literal["input", "output", "model", "file"]
"""What the text of an option names: inputs, what is written, models, or a file that is read."""


@dataclass(frozen=True)
class Meaning:
    """What a field says to users. It is put in the `Annotated` type of the field, beside a `Reader` if it needs one."""

    help: str
    """One or two sentences, with a period at the end."""
    unset: str = ""
    """What holds if it is left out, in words; empty: the default of the field."""
    name: str | None = None
    """Its name in files, and with hyphens on the command line; None: that of the field. The latter is also read."""
    former: tuple[str, ...] = ()
    """Older names, which are still read, but shown nowhere."""
    short: str | None = None
    """Short option, such as -i."""
    metavar: str | None = None
    """Placeholder of the value in the help of the command line; None: that of the reader."""
    sparse: bool = False
    """Whether files leave it out where it is None."""
    choices: tuple[str, ...] = ()
    """Words that it may be, or be made of; empty: any, or those of the field's `Literal`."""
    role: Role | None = None
    """What its text names; None: nothing of these."""

    @property
    def sentence(self) -> str:
        """The help, with what holds by default."""
        return f"{self.help} Default: {self.unset}." if self.unset else self.help

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:  # noqa: ANN401  (pydantic's)
        """Return the JSON schema of a field with its description, for the forms of Prefect."""
        return {**handler(schema), "description": self.sentence}


NOTHING = Meaning("")


@dataclass(frozen=True)
class Key:
    """A field of a dataclass, as users know it."""

    field: Field[Any]
    kind: Any
    """Its type, without what is annotated."""
    meaning: Meaning = NOTHING
    reader: Reader | None = None

    @property
    def name(self) -> str:
        """Its name in files."""
        return self.meaning.name or self.field.name

    @property
    def former(self) -> tuple[str, ...]:
        """Other names that are read."""
        own = (self.field.name,) if self.meaning.name is not None else ()
        return (*own, *self.meaning.former)

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.field.default is MISSING and self.field.default_factory is MISSING

    @property
    def choices(self) -> tuple[str, ...]:
        """Words that it may be, or be made of; empty: any."""
        return tuple(map(str, get_args(self.bare))) if get_origin(self.bare) is Literal else self.meaning.choices

    @property
    def bare(self) -> Any:  # noqa: ANN401  (a type hint has no narrower type)
        """Its type; of one that may be None, the other."""
        if get_origin(self.kind) not in (Union, UnionType):
            return self.kind
        return next(part for part in get_args(self.kind) if part is not NoneType)


def keys_of(kind: type[Any]) -> tuple[Key, ...]:
    """The fields of a dataclass: those of its own first, then keyword-only ones, which it may share with others."""
    hints = get_type_hints(kind, include_extras=True)
    ordered = sorted(fields(kind), key=lambda field: bool(field.kw_only))
    return tuple(_key(field, hints[field.name]) for field in ordered)


def _key(field: Field[Any], hint: Any) -> Key:  # noqa: ANN401  (a type hint has no narrower type)
    if get_origin(hint) is not Annotated:
        return Key(field, hint)
    kind, *notes = get_args(hint)
    meaning = next((note for note in notes if isinstance(note, Meaning)), NOTHING)
    return Key(field, kind, meaning, next((note for note in notes if isinstance(note, Reader)), None))


def given(record: Any) -> dict[str, Any]:  # noqa: ANN401  (any dataclass)
    """The fields of a dataclass's value that differ from their defaults, by name."""
    return dict(_given(record))


def _given(record: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    for field in fields(record):
        value = getattr(record, field.name)
        if value != field.default:
            yield field.name, value
