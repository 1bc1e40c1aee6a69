"""Folders and patterns: links to folders are followed, each folder once, so that a loop of links comes to an end."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from fnmatch import filter as matching
from pathlib import Path

Enters = Callable[[str], bool]
"""Whether a folder of that name is entered."""


def _any(name: str) -> bool:
    return True


def walk(top: Path, enters: Enters = _any) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each folder from `top` down with the names of the folders and files in it, sorted.

    Linked folders come after all others, and under the name of the link. A folder that was met already is left out, and
    so is one that holds the link itself.
    """
    left, seen = [top], set[str]()
    while left:
        for found, folders, files in os.walk(left.pop(0)):
            parent, names = Path(found), sorted(folders)
            real = os.path.realpath(found)
            folders[:] = [] if real in seen else [name for name in names if enters(name)]
            if real in seen:
                continue
            seen.add(real)
            links = [parent / name for name in folders if (parent / name).is_symlink()]
            left += [link for link in links if not _holds(link, parent)]
            yield parent, names, sorted(files)


def expand_pattern(pattern: str) -> list[str]:
    """Return the paths that a pattern matches, sorted, as `glob` does with `**`: but each folder is searched once."""
    path = Path(pattern)
    return sorted({str(found) for found in _expand(Path(path.anchor), path.parts[bool(path.anchor) :])})


def _holds(link: Path, folder: Path) -> bool:
    """Return whether a link leads to a folder that holds it."""
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(link))


def _expand(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    if not parts:
        yield folder
    elif parts[0] == "**":
        yield from _expand_below(folder, parts[1:])
    elif glob.has_magic(parts[0]):
        for name in _names(folder, parts[0]):
            yield from _expand(folder / name, parts[1:])
    elif os.path.lexists(folder / parts[0]):
        yield from _expand(folder / parts[0], parts[1:])


def _expand_below(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    if not parts:
        yield folder
    for parent, _, _ in walk(folder, _is_shown):
        yield from _expand(parent, parts or ["*"])


def _names(folder: Path, pattern: str) -> list[str]:
    """Return the names in a folder that match, without hidden ones unless the pattern begins with a point."""
    try:
        found = matching(os.listdir(folder), pattern)  # noqa: PTH208  (names)
    except OSError:
        return []
    return sorted(found) if pattern.startswith(".") else sorted(filter(_is_shown, found))


def _is_shown(name: str) -> bool:
    return not name.startswith(".")
