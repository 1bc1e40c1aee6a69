"""Zip the plugin, as QGIS installs it: `python -m integrations.qgis.package build [--wheel pipeline.whl]`.

With a wheel, the plugin offers it on its set-up page. The same files give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

PLUGIN = Path(__file__).parent / "pipeline_segmentation"
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = ("__pycache__", "wheels")


def make(folder: Path, wheel: Path | None = None) -> Path:
    """Write the zip into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{PLUGIN.name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, source in sorted(_contents(wheel).items()):
            file.writestr(
                zipfile.ZipInfo(f"{PLUGIN.name}/{name}", _FIRST_DAY), source.read_bytes(), zipfile.ZIP_DEFLATED
            )
    return path


def _contents(wheel: Path | None) -> dict[str, Path]:
    """Return each file by its name in the plugin."""
    files = (file for file in PLUGIN.rglob("*") if file.is_file() and not set(file.parts) & set(_LEFT_OUT))
    found = {file.relative_to(PLUGIN).as_posix(): file for file in files}
    return {**found, **({f"wheels/{wheel.name}": wheel} if wheel else {})}


def names_in(path: Path) -> set[str]:
    """Return the names in a zip."""
    with zipfile.ZipFile(path) as file:
        return set(file.namelist())


def main(words: list[str]) -> None:
    """Write the zip and print its path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wheel", type=Path)
    given = parser.parse_args(words)
    sys.stdout.write(f"{make(given.folder, given.wheel)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
