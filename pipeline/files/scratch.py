"""The folder of this process for what it writes before it is sent elsewhere."""

from __future__ import annotations

import atexit
import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from shutil import rmtree

from pipeline.errors import OutputError
from pipeline.files.atomic import remove_stale_temporaries, temporary_name


def scratch() -> Path:
    """Return the folder of this process in the temporary folder of the system; it is removed when the process ends.

    Those of processes that were killed are removed first.

    Raises:
        OutputError: If it cannot be made.

    """
    return _made(os.getpid())


@cache
def _made(process: int) -> Path:
    home = Path(tempfile.gettempdir())
    with suppress(OSError):
        remove_stale_temporaries(home)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{temporary_name(home / 'pipeline').name}.", dir=home))
    except OSError as error:
        raise OutputError(
            f"{home}: cannot be written ({error.strerror}); set TMPDIR to a folder for what is sent to object stores"
        ) from error
    atexit.register(_remove, folder, process)
    return folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in what was forked from it
        rmtree(folder, ignore_errors=True)
