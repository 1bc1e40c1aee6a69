"""From what a user names to the items of a job: files, folders, patterns, tables and addresses."""

from __future__ import annotations

import csv
import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.errors import RequestError
from pipeline.io.formats import SCENES, STORES, VOLUMES, is_remote, stem_of, suffix_of

_TABLES = (".csv", ".tsv")


def find_inputs(named: Iterable[str]) -> tuple[str, ...]:
    """The items that `named` stands for, each once, in order.

    A folder stands for the GeoTIFF, NIfTI and Zarr files below it, a pattern (`**` too) for the files it matches, both
    sorted and without masks (`*_mask`); a table (`.csv`, `.tsv`) for its column `input`; anything else for itself.
    Raises RequestError for a folder, pattern or table that stands for nothing.
    """
    found = [item for name in named for item in _items(name)]
    return tuple(dict.fromkeys(found))


def name_outputs(items: Sequence[str], output: str | None) -> tuple[Path | None, ...]:
    """The output of each item: the file `output`, `<stem>_mask` in the folder `output`, or None for its default.

    Raises RequestError where two items would have the same output.
    """
    if output is None:
        return (None,) * len(items)
    known = (*SCENES, *VOLUMES, *STORES)
    if suffix_of(output) in known and not output.endswith("/"):
        if len(items) > 1:
            raise RequestError(f"--output {output}: is one file, for {len(items)} inputs; give a folder")
        return (Path(output),)
    folder = Path(output)
    if folder.is_file() or (suffix_of(output) and not folder.is_dir() and not output.endswith("/")):
        raise RequestError(f"--output {output}: is neither a folder nor one of {', '.join(known)}")
    names = [
        folder / (stem_of(item) + "_mask" + (".nii.gz" if suffix_of(item) in VOLUMES else ".tif")) for item in items
    ]
    for item, name in zip(items, names, strict=True):
        if names.count(name) > 1:
            raise RequestError(f"{item}: shares the output {name} with another input; segment them into two folders")
    return tuple(names)


def _items(name: str) -> list[str]:
    if is_remote(name):
        return [name]
    path = Path(name)
    if path.is_dir() and path.suffix not in STORES and not (path / "zarr.json").exists():
        return _some(sorted(_below(path)), f"{name}: holds no GeoTIFF, NIfTI or Zarr file")
    if glob.has_magic(name) and not path.exists():
        found = sorted(item for item in glob.glob(name, recursive=True) if not _is_mask(Path(item)))  # noqa: PTH207
        return _some(found, f"{name}: no file matches")
    if path.suffix in _TABLES:
        return _some(_column(path), f"{name}: has no rows")
    return [name]


def _below(folder: Path) -> list[str]:
    return [
        str(path)
        for path in folder.rglob("*")
        if suffix_of(path) in (*SCENES, *VOLUMES, *STORES)
        and not _is_mask(path)
        and not any(part.startswith(".") or part.endswith((".partial", ".zarr")) for part in path.parts[:-1])
    ]


def _is_mask(path: Path) -> bool:
    return path.name.startswith(".") or stem_of(path).endswith("_mask") or path.suffix == ".partial"


def _column(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: the table cannot be read ({error})") from error
    if rows and "input" not in rows[0]:
        raise RequestError(f"{path}: the table has the columns {', '.join(rows[0])}; it needs one named input")
    return [
        item if is_remote(item) or Path(item).is_absolute() else str(path.parent / item)
        for row in rows
        if (item := row["input"])
    ]


def _some(found: list[str], otherwise: str) -> list[str]:
    if not found:
        raise RequestError(otherwise)
    return found
