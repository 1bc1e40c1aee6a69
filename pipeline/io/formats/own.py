"""An input that a program brings as a `Source`: it is no file, so it is named, and nothing is recognized."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.engine import Pixels, PlainSource, Source, as_source
from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.io.formats.format import Format, Input


def own_input(name: str, source: Source | PlainSource) -> Input:
    """Return the input that `source` is. It is known by its name, and by the `version` of its info if there is one."""
    borrowed = BorrowedSource(as_source(source), name)
    version = {} if borrowed.info.version is None else {"version": borrowed.info.version}
    return Input(
        name,
        Format(
            "own",
            matches=_never,
            open=lambda item, options: borrowed,
            checked=False,
            files=_no_files,
            version=lambda item, series: {"name": item.name, **version},
        ),
    )


class BorrowedSource(Source):
    """A source that is closed by its owner alone, and whose reads are held against its info."""

    def __init__(self, source: Source, name: str) -> None:
        self._source, self._name = source, name
        self.info = source.info if source.info.path is not None else replace(source.info, path=name)

    def read(self, box: Box) -> Pixels:
        """Read the pixels of `box`.

        Raises:
            InputError: They have another shape or type than the info says.

        """
        values, valid = self._source.read(box)
        self._check("values", values, ((self.info.channels, *box.shape), self.info.dtype), box)
        if valid is not None:
            self._check("valid", valid, (box.shape, np.dtype(np.bool_)), box)
        return Pixels(values, valid)

    def close(self) -> None:
        """Leave it open: it is read again, and belongs to who made it."""

    def _check(self, what: str, array: Any, wanted: tuple[tuple[int, ...], np.dtype[Any]], box: Box) -> None:  # noqa: ANN401
        found = getattr(array, "shape", None), getattr(array, "dtype", None)
        if found != wanted:
            raise InputError(
                f"{self._name}: read({box}) returns {what} of shape and type {found[0]} {found[1]}, and its info says "
                f"{wanted[0]} {wanted[1]}; test it with pipeline.testing.SourceContract",
                "unsuitable",
            )


def _never(_: str) -> bool:
    return False


def _no_files(_: Input) -> tuple[Path, ...]:
    return ()
