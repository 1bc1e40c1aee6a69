"""What can go wrong.

PipelineError
├── RequestError (ValueError)    the request itself is wrong: exit code 2
│   ├── InputError               an input that cannot be read or is not what it should be: exit code 1, by item
│   └── ModelError               a model that is unknown, broken or does not fit the input
├── OutputError (OSError)        an output that cannot be written, or stands in the way
└── Interrupted                  stopped on request; what is done is kept and the next run goes on from it
"""

from __future__ import annotations


class PipelineError(Exception):
    """Any error that this package raises on purpose; its message is meant for the user."""


class RequestError(PipelineError, ValueError):
    """The request itself is wrong."""


class InputError(RequestError):
    """An input that cannot be read, or is not what it should be."""

    def __init__(self, message: str, code: str = "unreadable") -> None:
        super().__init__(message)
        self.code = code
        """The kind of fault, in a word: "unreadable", or "unsuitable" for the model."""


class ModelError(RequestError):
    """A model that is unknown, broken or does not fit the input."""


class OutputError(PipelineError, OSError):
    """An output that cannot be written, or that stands in the way."""


class Interrupted(PipelineError):  # noqa: N818  (an event, not a fault)
    """Stopped on request; what is done is kept."""

    def __init__(self, message: str = "stopped; run the same command again to go on from here") -> None:
        super().__init__(message)
