"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from pipeline.errors import OutputError


@contextmanager
def replacing(path: Path, before: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """A temporary name beside `path`; renamed to it after its bytes are safe, removed if anything goes wrong.

    `before` is called in between, for what has to be there before `path` is.
    """
    temporary = own_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        before()
        temporary.replace(path)
        sync(path.parent)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def own_name(path: Path) -> Path:
    """A name beside `path` that no other process takes."""
    return path.with_name(f".{path.name}.{_machine()}.{os.getpid()}.partial")


def clean(folder: Path) -> None:
    """Remove what processes of this machine that ended left in `folder` under names of their own."""
    ours = re.compile(rf"\..+\.{re.escape(_machine())}\.(\d+)\..+")
    for left in folder.iterdir():
        found = ours.fullmatch(left.name)
        if found and not psutil.pid_exists(int(found[1])):
            with suppress(OSError):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _machine() -> str:
    return socket.gethostname().replace(".", "-")


def sync(path: Path) -> None:
    """Have the operating system write a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
