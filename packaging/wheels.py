"""Build the wheel and the source distribution, and try the wheel in a fresh environment of each Python.

    python packaging/wheels.py [--pythons python3.11 python3.12 python3.13] [--keep FOLDER]

It installs torch and the tested versions of `constraints.txt`, some 2 GB for each Python, and takes minutes. For each
it runs the first commands of the README in an empty folder: a sample scene, `run`, `info`, `check`, `doctor`, `schema`.
What it prints is a line for each step; it ends with 1 if any fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("python3.11", "python3.12", "python3.13")
LARGEST, ALL_BUT_WEIGHTS = 30 << 20, 5 << 20
"""Most bytes of a file in the wheel, and of all but weights together, packed."""
NOT_SHIPPED = (".ci/", ".gitattributes", ".gitignore")
COMMANDS = (
    "pipeline --version",
    "python -m pipeline.demo make demo",
    "pipeline plan --input demo/scene.tif --no-probe",
    "pipeline run --input demo/scene.tif --output demo/scene_mask.tif --quiet",
    "pipeline info demo/scene_mask.tif",
    "pipeline check demo/scene_mask.tif --like demo/scene.tif",
    "pipeline report demo/scene_mask.tif --output demo/report.html",
    "pipeline models",
    "pipeline schema --json",
    "pipeline doctor",
)


@dataclass(frozen=True)
class Step:
    """A step, and what became of it."""

    name: str
    done: bool
    seconds: float
    said: str = ""

    def __str__(self) -> str:
        end = "" if self.done else "\n" + "\n".join(f"    {line}" for line in self.said.splitlines()[-25:])
        return f"{'ok  ' if self.done else 'FAIL'} {self.seconds:6.1f} s  {self.name}{end}"


def run(name: str, *words: object, cwd: Path = ROOT, path: Path | None = None) -> Step:
    """Run a command in an environment whose programs are in `path`."""
    began = time.monotonic()
    environment = {"PATH": f"{path}:/usr/bin:/bin", "HOME": str(cwd), "LC_ALL": "C.UTF-8"} if path else None
    ended = subprocess.run([str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True)
    return Step(name, ended.returncode == 0, time.monotonic() - began, ended.stdout + ended.stderr)


def build(folder: Path) -> Iterator[Step]:
    """Build both distributions in an environment of their own."""
    tools = folder / "tools"
    yield run("an environment to build in", sys.executable, "-m", "venv", tools)
    yield run("build and its checks", tools / "bin/pip", "install", "--quiet", "build", "twine")
    yield run("wheel and sdist", tools / "bin/python", "-m", "build", "--outdir", folder / "dist", ROOT)
    made = sorted((folder / "dist").iterdir())
    yield run("metadata", tools / "bin/twine", "check", "--strict", *made)


def contents(dist: Path) -> Iterator[Step]:
    """Hold what is in both against what is in the repository."""
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        packed = {entry.filename: entry.compress_size for entry in archive.infolist()}
    tracked = set(subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines())
    shipped = {name for name in tracked if name.startswith(("pipeline/", "flows/"))}
    with tarfile.open(sdist) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}
    small = sum(size for name, size in packed.items() if "/weights/" not in name)
    yield judged(f"{wheel.name}: {sum(packed.values()) / 2**20:.1f} MiB, {small / 2**20:.1f} without weights", [])
    yield judged("wheel has all of the packages", sorted(shipped - packed.keys()))
    yield judged("wheel has no large file", [name for name, size in packed.items() if size > LARGEST])
    yield judged("wheel is small without weights", [f"{small} bytes"] if small > ALL_BUT_WEIGHTS else [])
    licenses = [
        name for name in ("LICENSE", "NOTICE") if not any(entry.endswith(f"/licenses/{name}") for entry in packed)
    ]
    yield judged("wheel has its licenses", licenses)
    missing = sorted(name for name in tracked - sources if not name.startswith(NOT_SHIPPED))
    yield judged("sdist has all of the repository", missing)


def judged(name: str, missing: list[str]) -> Step:
    """Return a step that fails if anything is missing."""
    return Step(name, not missing, 0.0, "\n".join(missing))


def install(python: str, folder: Path, wheel: Path) -> Iterator[Step]:
    """Install the wheel for one Python and run the README's first commands outside of the repository."""
    home, empty = folder / f"env-{Path(python).name}", folder / f"empty-{Path(python).name}"
    version = subprocess.check_output([python, "-c", "import platform; print(platform.python_version())"], text=True)
    programs, empty_name = home / "bin", f"Python {version.strip()}"
    empty.mkdir(parents=True)
    pip = (programs / "pip", "install", "--quiet", "--no-compile", "--constraint", ROOT / "constraints.txt")
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    yield run(f"{empty_name}: environment", python, "-m", "venv", home)
    yield run(f"{empty_name}: {torch}", programs / "pip", "install", "--quiet", "--no-compile", torch)
    yield run(f"{empty_name}: wheel", *pip, wheel)
    for command in COMMANDS:
        yield run(f"{empty_name}: {command}", "bash", "-c", command, cwd=empty, path=programs)


def found(pythons: list[str]) -> Iterator[str]:
    """Yield the Pythons that are here, and say which are not."""
    for python in pythons:
        try:
            subprocess.run([python, "--version"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            print(f"none            {python}: is not here")
        else:
            yield python


def steps(pythons: list[str], folder: Path) -> Iterator[Step]:
    """All steps, in order."""
    yield from build(folder)
    yield from contents(folder / "dist")
    (wheel,) = (folder / "dist").glob("*.whl")
    for python in found(pythons):
        yield from install(python, folder, wheel)


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pythons", nargs="+", default=list(PYTHONS), help="commands of Python to try")
    parser.add_argument("--keep", type=Path, help="folder for all that is made; by default one that is removed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        failed = 0
        for step in steps(asked.pythons, (asked.keep or Path(folder)).absolute()):
            print(step, flush=True)
            failed += not step.done
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
