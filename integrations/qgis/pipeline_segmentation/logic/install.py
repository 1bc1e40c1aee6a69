"""Make an environment for the command: what is run, with which Python, from which files."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import CommandError
from .process import WINDOWS, Ended

SUPPORTED = ((3, 11), (3, 13))
"""The oldest and the newest Python that pipeline runs on."""
EXTRAS = "vectors"
"""Of the package: polygons, for areas of interest and zones."""
_CHECK = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    folder: Path
    """Of the environment, which must not exist or be one."""
    python: str
    source: str
    """A wheel, or a folder with the source code."""
    arguments: str = ""
    """Further words for pip, such as the address of an index, as a shell would split them."""
    windows: bool = WINDOWS


@dataclass(frozen=True)
class Step:
    """A command, and what it does."""

    title: str
    words: tuple[str, ...]


def steps(plan: Plan) -> list[Step]:
    """Return the commands that make an environment; they are lists of words, which no shell reads.

    Raises:
        CommandError: If the folder is in use, or the source is neither a wheel nor a folder of source code.

    """
    _check_folder(plan.folder)
    python = plan.folder / ("Scripts/python.exe" if plan.windows else "bin/python")
    pip = (str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input")
    try:
        further = shlex.split(plan.arguments, posix=not plan.windows)
    except ValueError as error:
        raise CommandError(f"further arguments for pip: {plan.arguments}: {error}") from None
    return [
        Step("make the environment", (plan.python, "-m", "venv", str(plan.folder))),
        Step("install pipeline and what it needs", (*pip, *further, *_source_words(plan.source))),
    ]


def _check_folder(folder: Path) -> None:
    known = not folder.exists() or (folder / "pyvenv.cfg").is_file() or not any(folder.iterdir())
    if not known:
        raise CommandError(f"{folder}: holds other files; choose a folder that is new or empty")


def _source_words(source: str) -> list[str]:
    path = Path(source).expanduser()
    if path.suffix == ".whl" and path.is_file():
        return [f"{path}[{EXTRAS}]"]
    if not source.strip() or not (path / "pyproject.toml").is_file():
        raise CommandError(
            f"{source or 'nothing'}: is not a wheel (.whl) of pipeline, nor a folder with its source code"
        )
    pinned = path / "constraints.txt"
    return [*(["-c", str(pinned)] if pinned.is_file() else []), f"{path}[{EXTRAS}]"]


def default_source(plugin: Path) -> str:
    """Return the wheel that came with the plugin, else the checkout that the plugin is in; empty: neither."""
    wheels = sorted((plugin / "wheels").glob("pipeline-*.whl"))
    if wheels:
        return str(wheels[-1])
    checkouts = (folder for folder in plugin.resolve().parents if (folder / "pipeline/cli/__init__.py").is_file())
    return str(next(checkouts, ""))


def pythons(variables: Mapping[str, str], windows: bool = WINDOWS) -> Iterator[str]:
    """Yield Pythons that may do, the newest first; `check_words` tells whether one does."""
    (major, oldest), (_, newest) = SUPPORTED
    names = [f"python{major}.{minor}" for minor in range(newest, oldest - 1, -1)]
    found = (shutil.which(name, path=variables.get("PATH")) for name in [*names, "python3", "python"])
    own = Path(sys.prefix, "python.exe") if windows else Path(sys.prefix, "bin", "python3")
    yield from dict.fromkeys([*filter(None, found), *([str(own)] if own.is_file() else [])])


def check_words(python: str) -> list[str]:
    """Return the command that tells whether a Python can make an environment."""
    return [python, "-c", _CHECK]


def judge_python(python: str, ended: Ended) -> str:
    """Return what is wrong with a Python, from the end of `check_words`; empty: nothing."""
    if "ensurepip" in ended.err or "No module named 'venv'" in ended.err:
        return f"{python}: cannot make environments; install the package python3-venv of your system"
    found = re.fullmatch(r"(\d+)\.(\d+)", ended.out.strip())
    if ended.code or found is None:
        return f"{python}: is not a Python that starts"
    if not SUPPORTED[0] <= (int(found[1]), int(found[2])) <= SUPPORTED[1]:
        oldest, newest = (".".join(map(str, version)) for version in SUPPORTED)
        return f"{python}: is Python {found[0]}, but pipeline needs {oldest} to {newest}"
    return ""
