"""Build the site: `python docs/site/build.py [FOLDER]`, after `pip install '.[docs]'`; `make docs` does both.

    FOLDER/index.html     leads to the newest version
    FOLDER/versions.js    the versions in the folder, with the pages of each
    FOLDER/0.2.0/         one version; it needs nothing from outside the folder, and no server

A version stays as it was built: put the folders of earlier versions beside the new one and run this again, and each
offers the others. Warnings are errors.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LEADS = '<!doctype html><meta charset="utf-8"><title>{0}</title><meta http-equiv="refresh" content="0; url={0}">\n'
"""A page that leads to another."""


def build(folder: Path) -> Path:
    """Build this version into a folder of versions, and return its front page."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    sphinx = (sys.executable, "-m", "sphinx", "--builder", "html", "--fail-on-warning", "--keep-going", "--quiet")
    kept = ("--doctree-dir", folder.parent / "doctrees", "--conf-dir", HERE)
    subprocess.run([*sphinx, *map(str, (*kept, ROOT, folder / version))], check=True)
    (folder / version / "index.html").write_text(LEADS.format("README.html"), encoding="utf-8")
    list_versions(folder)
    return folder / version / "README.html"


def list_versions(folder: Path) -> None:
    """Write which versions there are, the newest first, and lead to it."""
    found = sorted((path.parent for path in folder.glob("*/README.html")), key=_number, reverse=True)
    pages = {version.name: _pages(version) for version in found}
    (folder / "versions.js").write_text(f"const VERSIONS = {json.dumps(pages)};\n", encoding="utf-8")
    (folder / "index.html").write_text(LEADS.format(f"{found[0].name}/README.html"), encoding="utf-8")


def _number(version: Path) -> list[int]:
    return [int(part) for part in version.name.split(".")]


def _pages(version: Path) -> list[str]:
    return sorted(page.relative_to(version).as_posix() for page in version.rglob("*.html"))


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else "build/site").resolve()))
