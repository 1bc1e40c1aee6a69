"""Find the inputs below a prefix of an object store, and by patterns of names, as `pipeline.jobs.folders` does here."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from pipeline.files.object_path import ObjectPath
from pipeline.io.formats import is_found_by_name
from pipeline.io.objects import below, has_credentials, head
from pipeline.io.remote_files import RemoteFile
from pipeline.io.suffixes import STORES, has_suffix, is_read_by_gdal, names_store
from pipeline.io.volume.nifti_pairs import header_name, is_lone_header
from pipeline.jobs.bids import is_part
from pipeline.jobs.folders import Found, are_labels, asks_for_labels, is_ours, root_of

_UNFINISHED = ".partial"


def stands_for_objects(name: str) -> bool:
    """Return whether a name of an object stands for others: a pattern, a prefix with its slash, or without an object.

    An object of that very name goes before. A prefix without its slash is only looked for if there are credentials, as
    the name may be that of a raster that GDAL has its own for.
    """
    place = ObjectPath.parse(name)
    if glob.has_magic(name):
        return head(place) is None
    if names_store(name):
        return False
    if name.endswith("/") or not place.key:
        return True
    if has_suffix(name) or not has_credentials(place.scheme):
        return False
    return head(place) is None and bool(below(place))


def find_by_prefix(name: str) -> Found:
    """Find the inputs below a prefix, except hidden ones and those inside of stores and unfinished runs."""
    prefix = ObjectPath.parse(name)
    shown = [place for place in _shown(prefix) if not is_ours(place.name)]
    inputs = [place for place in shown if is_found_by_name(place.name) and not is_lone_header(RemoteFile(f"{place}"))]
    known = set(inputs)
    others = [place for place in shown if is_read_by_gdal(place) and not _has_header(place, known)]
    return _sorted_out(inputs, prefix, [PurePosixPath(place.key) for place in others])


def find_by_names(pattern: str) -> Found:
    """Find the objects that match a pattern, `**` included; labels too if the pattern names them."""
    root, parts = root_of(pattern), ObjectPath.parse(pattern).key.split("/")
    known = _shown(root, hidden=any(part.startswith(".") for part in parts))
    taken = [place for place in known if _matches(place.key.split("/"), parts) and _is_taken(place)]
    both = set(taken)
    taken = [place for place in taken if not _has_header(place, both)]
    if asks_for_labels(pattern):
        return Found(tuple(map(str, taken)))
    return _sorted_out(taken, root, [])


def _is_taken(place: ObjectPath) -> bool:
    return _is_shown(place.name) and not is_ours(place.name)


def _sorted_out(found: Iterable[ObjectPath], root: ObjectPath, others: Sequence[PurePosixPath]) -> Found:
    """Leave out labels and phase images."""
    places = sorted(found, key=str)
    labels = [place for place in places if are_labels(PurePosixPath(place.key), PurePosixPath(root.key))]
    phases = [place for place in places if "_part-" in place.key and is_part(PurePosixPath(place.key))]
    left = {*labels, *phases}
    inputs = tuple(str(place) for place in places if place not in left)
    return Found(inputs, tuple(map(str, labels)), tuple(map(str, phases)), tuple(others))


def _shown(prefix: ObjectPath, *, hidden: bool = False) -> list[ObjectPath]:
    """The objects below a prefix, and the stores instead of what is in them; without hidden and unfinished ones."""
    start = len(prefix.key) + bool(prefix.key)
    keys = {_unit(entry.key, start) for entry in below(prefix)}
    return [
        ObjectPath(prefix.scheme, prefix.bucket, key)
        for key in sorted(keys)
        if not any(_is_closed(part, hidden=hidden) for part in key[start:].split("/"))
    ]


def _unit(key: str, start: int) -> str:
    """The store that an object is in, or the object itself."""
    if not any(f"{suffix}/" in key.lower() for suffix in STORES):
        return key
    parts = key[start:].split("/")
    inside = next((at for at, part in enumerate(parts) if names_store(part)), len(parts) - 1)
    return key[:start] + "/".join(parts[: inside + 1])


def _is_closed(part: str, *, hidden: bool) -> bool:
    return (part.startswith(".") and not hidden) or part.endswith(_UNFINISHED)


def _has_header(place: ObjectPath, found: set[ObjectPath]) -> bool:
    """Whether an object is the voxels of a pair whose header was found too."""
    header = header_name(place.name)
    return header is not None and place.with_name(header) in found


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the parts of a key match those of a pattern; `**` stands for any number of parts that are not hidden."""
    if not parts or not names:
        return not parts and not names
    if parts[0] == "**":
        return _matches(names, parts[1:] or ["*"]) or (_is_shown(names[0]) and _matches(names[1:], parts))
    shown = _is_shown(names[0]) or parts[0].startswith(".")
    return shown and fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])


def _is_shown(name: str) -> bool:
    return not name.startswith(".")
