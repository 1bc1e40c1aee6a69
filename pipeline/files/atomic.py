"""Files and folders that appear under their name only when they are complete."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from pipeline.errors import OutputError
from pipeline.files.process import is_running, machine


@contextmanager
def atomic_write(path: Path, before: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` once its bytes are safe, remove it if anything fails.

    `before` is called in between, for whatever must exist before `path` does.

    Raises:
        OutputError: if the operating system refuses.

    """
    temporary = temporary_name(path)
    with _as_output_error(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            sync(temporary)
            before()
            temporary.replace(path)
            sync(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a name of its own beside `path`, which is renamed to `path`: other threads find all of a file, or none.

    Unlike with `atomic_write`, its bytes need not be safe before: what a crash leaves is fetched again.
    """
    draft = path.with_name(f"{temporary_name(path).name}.{uuid4().hex}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary name for a folder beside `path`; rename it to `path`, replacing what is there.

    Raises:
        OutputError: if the operating system refuses.

    """
    temporary = temporary_name(path)
    with _as_output_error(path):
        remove(temporary)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            remove(path)
            temporary.rename(path)
            sync(path.parent)
        finally:
            remove(temporary)


def write_together(folder: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write all `files` into `folder` under temporary names, then rename them in order; of a path, what is in it.

    Raises:
        OutputError: if the operating system refuses.

    """
    with ExitStack() as whole:
        drafts = {name: whole.enter_context(atomic_write(folder / name)) for name in reversed(list(files))}
        with _as_output_error(folder):
            for name, data in files.items():
                _fill(drafts[name], data)


def _fill(draft: Path, data: bytes | Path) -> None:
    if isinstance(data, Path):
        shutil.copyfile(data, draft)
    else:
        draft.write_bytes(data)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """Return a name beside `path` that no other process uses."""
    return path.with_name(f".{path.name}.{_machine()}.{os.getpid()}.partial")


def remove_stale_temporaries(folder: Path) -> None:
    """Remove temporary files in `folder` of processes of this machine that have ended."""
    ours = re.compile(rf"\..+\.{re.escape(_machine())}\.(\d+)\..+")
    for left in folder.iterdir():
        found = ours.fullmatch(left.name)
        if found and not is_running(int(found[1])):
            with suppress(OSError):
                remove(left)


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _machine() -> str:
    return machine().replace(".", "-")
