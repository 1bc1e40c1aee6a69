"""Exceptions of this package.

PipelineError
├── RequestError (ValueError)    the request itself is wrong: exit code 2
│   ├── NothingFoundError        it names inputs, and there are none (yet)
│   ├── InputError               an input that cannot be read or is not what it should be: exit code 1, by item
│   │   └── RemoteError           one on a server that does not answer, refuses, or has another one by now
│   └── ModelError               a model that is unknown, broken or does not fit the input
│       └── UnreachableError     a hub of models that does not answer at the moment
├── OutputError (OSError)        an output that cannot be written, or already exists
│   ├── HeldError                another run is writing it at the moment
│   └── DamagedError             unfinished work that is not as it was written
├── PatchError                   patches that the network could not compute; they are nodata in the output
├── LateError (TimeoutError)     an item that exceeded its time limit; finished work is kept
└── Interrupted                  stopped on request; finished work is kept and the next run resumes from it
"""

from __future__ import annotations

from collections.abc import Sequence


def first_of(found: Sequence[str], most: int = 10) -> str:
    """Join the first of many names for a message; "..." stands for the rest."""
    return "; ".join(found[:most]) + ("; ..." if len(found) > most else "")


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "slice"), counted(2000, "slice"), counted(2, "file of labels"), counted(2, "series", "series")
    ('1 slice', '2,000 slices', '2 files of labels', '2 series')
    """
    first, space, rest = noun.partition(" of ")
    many = plural or f"{first}s{space}{rest}"
    return f"{count:,} {noun if count == 1 else many}"


def size_text(count: float) -> str:
    """Return a number of bytes in the unit that suits it, up to GiB.

    >>> size_text(0), size_text(1536), size_text(1.5 * 2**20), size_text(5 * 2**30), size_text(2500.5 * 2**30)
    ('0 bytes', '1.5 KiB', '1.5 MiB', '5 GiB', '2,500.5 GiB')
    """
    if count < 1024:
        return counted(round(count), "byte")
    step = 1 + (count >= 2**20) + (count >= 2**30)
    return f"{count / 1024**step:,.1f}".removesuffix(".0") + f" {'KMG'[step - 1]}iB"


def duration_text(seconds: float) -> str:
    """Return a time in the unit that suits it, up to hours.

    >>> duration_text(0.4), duration_text(89.0), duration_text(90.0), duration_text(5400.0)
    ('0 s', '89 s', '2 min', '1.5 h')
    """
    if seconds >= 5400:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


class PipelineError(Exception):
    """Base class of all errors raised on purpose; the message is meant for the user."""


class RequestError(PipelineError, ValueError):
    """The request itself is wrong."""


class NothingFoundError(RequestError):
    """A folder, pattern, table or dataset matches no input (yet)."""


UNREACHABLE = "unreachable"
"""Code of a fault that may pass: a server or the network."""
CHANGED = "changed"
"""Code of an input that changed while it was read: the next run reads it anew."""
LASTING = (
    "unreadable",
    "unsuitable",
    "nothing-observed",
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
"""Codes of faults that last until the input, or the request for it, changes."""


class InputError(RequestError):
    """An input that cannot be read, or is not what it should be."""

    def __init__(self, message: str, code: str = "unreadable") -> None:
        super().__init__(message)
        self.code = code
        """Code of the fault: `UNREACHABLE` or `CHANGED`, which may pass, or one of `LASTING`."""

    def at(self, place: object) -> InputError:
        """Return the error with its place before the message."""
        return InputError(f"{place}: {self}", self.code)


class RemoteError(InputError):
    """A file on a server that cannot be read; the message begins with its address."""

    def at(self, place: object) -> InputError:
        """Return the error itself."""
        return self


class ModelError(RequestError):
    """A model that is unknown, broken or does not fit the input."""


class UnreachableError(ModelError):
    """A hub of models that does not answer at the moment, or a model on it that is not in the cache: this may pass."""


class OutputError(PipelineError, OSError):
    """An output that cannot be written, or that already exists."""


class HeldError(OutputError):
    """An output that another run is writing at the moment."""


class DamagedError(OutputError):
    """Unfinished work on the disk that is not as it was written: it is computed again, and no input is to blame."""


class PatchError(PipelineError):
    """Patches that the network could not compute: they are nodata in the output, and the next run retries them."""


class LateError(PipelineError, TimeoutError):
    """An item that exceeded its time limit; finished work is kept."""


class Interrupted(PipelineError):  # noqa: N818  (an event, not a fault)
    """Stopped on request; finished work is kept."""

    def __init__(self, message: str = "stopped; run the same command again to resume") -> None:
        super().__init__(message)
