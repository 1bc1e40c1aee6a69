"""The Typer application: its common options, and how errors end it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, NoReturn

import typer

from pipeline.errors import Interrupted, PipelineError, RequestError
from pipeline.files.visible import visible

app = typer.Typer(
    name="pipeline",
    help="Segment huge GeoTIFF scenes and CT or MRI volumes into masks with PSPNet.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

SOME_FAILED, WRONG_REQUEST, STOPPED = 1, 2, 130

_debug = ContextVar("debug", default=False)
"""Whether the command that runs shows tracebacks."""


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    _debug.set(debug or bool(os.environ.get("PIPELINE_DEBUG")))
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"pipeline {version_of('pipeline')}")
        raise typer.Exit


@contextmanager
def errors() -> Iterator[None]:
    """Turn exceptions into one line on stderr and an exit code; with --debug, a traceback."""
    try:
        yield
    except typer.Exit:
        raise
    except (Interrupted, KeyboardInterrupt) as error:
        _exit(f"{error}" or f"{Interrupted()}", STOPPED)
    except RequestError as error:
        _exit(f"{error}", WRONG_REQUEST)
    except PipelineError as error:
        _exit(f"{error}", SOME_FAILED)
    except Exception as error:
        _exit(f"{type(error).__name__}: {error}; --debug shows where", SOME_FAILED)


def _exit(message: str, code: int) -> NoReturn:
    if _debug.get():
        raise
    print_error(message)
    raise typer.Exit(code)


def print_error(message: str) -> None:
    """Print an error in one line on stderr."""
    typer.echo(f"error: {visible(message)}", err=True)
