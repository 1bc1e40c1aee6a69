"""What can go wrong.

PipelineError
├── RequestError (ValueError)    the request itself is wrong: exit code 2
│   ├── NothingFoundError        it names inputs, and there are none, yet
│   ├── InputError               an input that cannot be read or is not what it should be: exit code 1, by item
│   └── ModelError               a model that is unknown, broken or does not fit the input
├── OutputError (OSError)        an output that cannot be written, or stands in the way
│   └── HeldError                one that another run is making at this moment
├── PatchError                   patches that the network could not do; they are nodata in the output
├── LateError (TimeoutError)     an item that took longer than it may; what is done is kept
└── Interrupted                  stopped on request; what is done is kept and the next run goes on from it
"""

from __future__ import annotations

from collections.abc import Sequence


def first_of(found: Sequence[str], most: int = 10) -> str:
    """The first of many names, for a message."""
    return "; ".join(found[:most]) + ("; ..." if len(found) > most else "")


class PipelineError(Exception):
    """Any error that this package raises on purpose; its message is meant for the user."""


class RequestError(PipelineError, ValueError):
    """The request itself is wrong."""


class NothingFoundError(RequestError):
    """A folder, pattern, table or dataset that stands for nothing, yet."""


UNREACHABLE = "unreachable"
"""Kind of a fault that may pass: a server or the network."""
LASTING = (
    "unreadable",
    "unsuitable",
    "4d",
    "voxel-type",
    "affine-not-finite",
    "affine-singular",
    "spacing-zero",
    "forms-disagree",
    "several-series",
    "mixed-slices",
    "duplicate-slices",
    "missing-slices",
    "uneven-slices",
    "gantry-tilt",
)
"""Kinds of faults of an input that stay until it changes, or is asked for in another way."""


class InputError(RequestError):
    """An input that cannot be read, or is not what it should be."""

    def __init__(self, message: str, code: str = "unreadable") -> None:
        super().__init__(message)
        self.code = code
        """The kind of fault, in a word: `UNREACHABLE` for now, or one of `LASTING`."""


class ModelError(RequestError):
    """A model that is unknown, broken or does not fit the input."""


class OutputError(PipelineError, OSError):
    """An output that cannot be written, or that stands in the way."""


class HeldError(OutputError):
    """An output that another run is making at this moment."""


class PatchError(PipelineError):
    """Patches that the network could not do: they are nodata in the output, and tried again by the next run."""


class LateError(PipelineError, TimeoutError):
    """An item that took longer than it may; what is done is kept."""


class Interrupted(PipelineError):  # noqa: N818  (an event, not a fault)
    """Stopped on request; what is done is kept."""

    def __init__(self, message: str = "stopped; run the same command again to go on from here") -> None:
        super().__init__(message)
