"""Find the `pipeline` command, and say in words what is wrong with it."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import CommandError
from .process import WINDOWS, Ended

VARIABLE = "PIPELINE_COMMAND"
"""Environment variable that names the command or its environment."""
OWN_FOLDER = "pipeline-environment"
"""Folder of the environment that the plugin makes, in QGIS' profile."""
SET_UP = "open Plugins > Segmentation (pipeline) > Set up"

_OF_QGIS = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "PROJ_LIB",
    "PROJ_DATA",
    "GEOTIFF_CSV",
    "QT_PLUGIN_PATH",
    "VIRTUAL_ENV",
)
"""Variables that QGIS sets for its own libraries, with which those of another environment break."""
_VERSION = re.compile(r"pipeline (\d+)\.(\d+)(\.\S+)?")
_ILLEGAL_INSTRUCTION = -4


@dataclass(frozen=True)
class Places:
    """Where to look."""

    given: str = ""
    """What the user has given: a command, a Python, an environment, or a folder with one in `.venv`."""
    variables: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    home: Path = Path("~")
    profile: Path | None = None
    """QGIS' profile, which holds the environment that the plugin made."""
    project: Path | None = None
    """Folder of the project."""
    windows: bool = WINDOWS


@dataclass(frozen=True)
class Found:
    """A command, and how it was found."""

    command: Path
    origin: str


@dataclass(frozen=True)
class Verdict:
    """What is to be said about a command."""

    usable: bool
    text: str
    version: str = ""


def find(places: Places) -> Found:
    """Return the first command of `candidates`.

    Raises:
        CommandError: If there is none, or none in what the user has given.

    """
    first = next(candidates(places), None)
    if first is not None:
        return first
    if places.given.strip():
        raise CommandError(f"{places.given}: there is no pipeline command in it; {SET_UP} and choose another")
    raise CommandError(
        f"the pipeline command was not found: not in {VARIABLE}, the project's .venv, PATH or a conda environment. "
        f"To install it or to say where it is, {SET_UP}"
    )


def candidates(places: Places) -> Iterator[Found]:
    """Yield each command once: only that of the user if there is one, else those of all places, the nearest first."""
    if places.given.strip():
        yield from _commands("chosen in the settings", Path(places.given.strip()).expanduser(), places)
        return
    seen: set[Path] = set()
    for origin, place in _places(places):
        for found in _commands(origin, place, places):
            if found.command not in seen:
                seen.add(found.command)
                yield found


def _places(places: Places) -> Iterator[tuple[str, Path]]:
    if places.variables.get(VARIABLE):
        yield VARIABLE, Path(places.variables[VARIABLE]).expanduser()
    if places.profile is not None:
        yield "made by this plugin", places.profile / OWN_FOLDER
    if places.project is not None:
        yield "the project's .venv", places.project / ".venv"
    for folder in filter(None, places.variables.get("PATH", "").split(";" if places.windows else ":")):
        yield "PATH", Path(folder)
    yield from (("conda", folder) for folder in _conda_environments(places))


def _conda_environments(places: Places) -> Iterator[Path]:
    if places.variables.get("CONDA_PREFIX"):
        yield Path(places.variables["CONDA_PREFIX"])
    try:
        lines = (places.home / ".conda/environments.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    yield from (Path(line.strip()) for line in lines if line.strip())
    for name in ("miniforge3", "miniconda3", "mambaforge", "anaconda3"):
        yield from sorted((places.home / name / "envs").glob("*"))


def _commands(origin: str, place: Path, places: Places) -> Iterator[Found]:
    """Yield the command that a place stands for: itself, that beside a Python, in an environment or its `.venv`."""
    name = "pipeline.exe" if places.windows else "pipeline"
    programs = "Scripts" if places.windows else "bin"
    if place.is_file():
        inside = [place.parent / name] if place.stem.lower().startswith("python") else [place]
    else:
        inside = [place / name, place / programs / name, place / ".venv" / programs / name]
    yield from (Found(path, origin) for path in inside if path.is_file())


def clean_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for the command: without those that QGIS sets for its own libraries."""
    bundled = ("LD_LIBRARY_PATH", "APPDIR") if "APPDIR" in variables else ()
    kept = {name: value for name, value in variables.items() if name not in (*_OF_QGIS, *bundled)}
    return {**kept, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "1000", "NO_COLOR": "1"}


def made_for() -> str:
    """Return the version of pipeline that this plugin was made for, which is its own."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(Path(__file__).parents[1] / "metadata.txt", encoding="utf-8")
    return parser["general"]["version"]


def judge(command: Path | str, ended: Ended, expected: str) -> Verdict:
    """Return what the end of `pipeline --version` says about a command."""
    said = _VERSION.match(ended.out.strip())
    if ended.code == 0 and said:
        return _judge_version(command, said, expected)
    lacking = re.search(r"ModuleNotFoundError: No module named '([^'.]+)", ended.err)
    if lacking:
        return Verdict(False, f"{command}: its environment lacks the Python package {lacking[1]}; install it again")
    if ended.code == _ILLEGAL_INSTRUCTION:
        return Verdict(False, f"{command}: uses instructions that this processor does not have")
    if ended.code == 0:
        return Verdict(False, f"{command}: is another program that is also called pipeline; choose another")
    last = (ended.err.strip().splitlines() or ended.out.strip().splitlines() or ["it said nothing"])[-1]
    return Verdict(False, f"{command}: does not start (exit code {ended.code}): {last}")


def _judge_version(command: Path | str, said: re.Match[str], expected: str) -> Verdict:
    version = said[0].partition(" ")[2]
    wanted = _VERSION.match(f"pipeline {expected}")
    if wanted is None or said.group(1, 2) == wanted.group(1, 2):
        return Verdict(True, f"{command}: pipeline {version}", version)
    older = tuple(map(int, said.group(1, 2))) < tuple(map(int, wanted.group(1, 2)))
    update = "update pipeline" if older else "update this plugin"
    text = f"{command}: pipeline {version}, but this plugin was made for {expected}; if an option is refused, {update}"
    return Verdict(True, text, version)


def findings(document: Mapping[str, object]) -> list[str]:
    """Return what the document of `pipeline doctor` has found to be wrong, each with what to do about it."""
    found = document.get("findings")
    wrong = [one for one in found if one.get("state") != "ok"] if isinstance(found, list) else []
    return [
        ": ".join(filter(None, [one.get("topic", ""), one.get("text", ""), one.get("advice", "")])) for one in wrong
    ]
