"""An output in an object store: written in a folder of this machine, and sent from there, the mask last."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

from pipeline.engine.ledger import is_mark
from pipeline.errors import DamagedError, OutputError
from pipeline.files.atomic import atomic_write, remove
from pipeline.files.object_path import ObjectPath
from pipeline.files.sealed import read_sealed, seal
from pipeline.io.formats import mask_format
from pipeline.io.mask_files import damage_of, mask_info
from pipeline.io.objects import PAGE, Entry, Mirror, ObjectLock, bucket_of, check_lock, is_locked, lock_of
from pipeline.io.suffixes import STORES
from pipeline.runs.disk_storage import DiskStorage

__all__ = ["ObjectStorage", "copy_to", "fetch", "is_locked", "send", "stamp_of", "stamps_of"]

_RUN, _ROOT = "run.json", "zarr.json"
"""What makes a work folder that of a run, and a store whole: sent after all else, and deleted last or first."""
EVERY = 5.0
"""Seconds after which finished work is sent: what a run that is killed has to compute again at most."""
_RARE = 20
"""How many times as long as looking through the work folder it must be, which takes a second for very many chunks."""
_MANY = 8
"""Objects in a prefix from which on it is listed instead of asking for each."""


class ObjectStorage(DiskStorage):
    """The objects of an output, of what is beside it, and of its work folder, `<output>.partial/`.

    A folder of this machine mirrors them. Beside the output is a record of all that was written with it: by that, it is
    known to be whole and as it was written, without being read.
    """

    def __init__(self, output: ObjectPath) -> None:
        """Open the storage of an output; nothing is asked yet."""
        super().__init__(output.here)
        self._place, self._bucket = output, bucket_of(output)
        self._mirror = Mirror(output.folder, output.parent)
        self._record_file = self.output.with_name(f".{output.name}.record.json")
        self._record: Mapping[str, Any] = {}
        self._held: ObjectLock | None = None
        self._saved, self._pause = monotonic(), 0.0
        self._is_empty = self._is_named = False
        self._is_there: bool | None = None

    @contextmanager
    def lock(self) -> Iterator[str | None]:
        """Hold the output, and give what a user must know; raises HeldError if another run does."""
        self._held = ObjectLock(self._place)
        try:
            yield self._held.remark()
        finally:
            self._held.release()
            self._held = None

    def look(self) -> None:
        """Fetch what says whether there is an output, and whether a run has begun."""
        remove(self._place.folder)
        self._check_name()
        self._is_there = None
        sidecar = _sidecar(self.output)
        self.fetch([self._record_file, self.work / _RUN, *([sidecar] if sidecar else [])])
        self._record = self._fetched_record()
        if (self.work / _RUN).exists():
            self._mirror.pull_below(self.work, _is_of_ledger)

    def is_left_over(self) -> bool:
        """Return whether an earlier run has left a work folder or a lock."""
        return (self.work / _RUN).exists() or self._bucket.head(lock_of(self._place).key) is not None

    def has(self, path: Path) -> bool:
        """Return whether the output, or what is written beside it, is there; of the output, asked once a look."""
        if path != self.output:
            return self._bucket.head(self._whole(path)) is not None
        if self._is_there is None:
            self._is_there = self._bucket.head(self._whole(path)) is not None
        return self._is_there

    def provenance(self, path: Path) -> Mapping[str, Any] | None:
        """Return how the output, or a layer, was made: by the record, or if that says nothing of it, by reading it."""
        if self._is_on_record(path):
            made: Mapping[str, Any] = self._record["made"]
            return made
        if not self.has(path):
            return None
        _pull(self._mirror, path)
        return mask_info(path).provenance if path.exists() else None

    def damage(self, path: Path) -> str:
        """Return why the output, or a layer, cannot be read; empty if it can."""
        if self._is_on_record(path):
            return ""
        _pull(self._mirror, path)
        return damage_of(path)

    def gather(self, below: Path | None = None) -> None:
        """Fetch what is in the work folder, or in a folder of it."""
        self._mirror.pull_below(below or self.work)

    def fetch(self, files: Iterable[Path]) -> None:
        """Fetch files of the work folder that are not here."""
        self._mirror.fetch(files)

    def save(self) -> None:
        """Send everything in the work folder that is new or changed: marks after what they stand for.

        Chunks of a slab that is computed again may go meanwhile.
        """
        self._check_held()
        self._is_empty, began = False, monotonic()
        marks = [file for file in _files(self.work) if is_mark(file)]
        others = [file for file in _files(self.work) if not is_mark(file)]
        self._pause = _RARE * (monotonic() - began)
        self._mirror.push([file for file in others if file.name != _RUN], may_go=True)
        self._mirror.push(marks, may_go=True)
        self._mirror.push([file for file in others if file.name == _RUN], may_go=True)
        self._saved = monotonic()

    def save_at_times(self) -> None:
        """Do so if the last time is long enough ago."""
        if monotonic() - self._saved >= max(EVERY, self._pause):
            self.save()

    def keep(self, files: Iterable[Path]) -> None:
        """Have files of the work folder sent that were just written: a worker elsewhere at once, a run at times.

        Chunks that were not written are nodata alone.
        """
        if not self._place.part:
            self.save_at_times()
            return
        self._check_held()
        self._mirror.push([file for file in files if file.exists()])

    def drop(self, files: Iterable[Path]) -> None:
        """Delete damaged files of the work folder, there and here."""
        self._mirror.drop(files)

    def clear_work(self) -> None:
        """Delete what is in the work folder, and make one here."""
        self.remove_work()
        self.work.mkdir(parents=True)
        self._saved, self._is_empty = monotonic(), True

    def remove_work(self) -> None:
        """Delete the work folder, there and here."""
        self._check_held()
        if not self._is_empty:
            self._mirror.forget(self.work, lambda key: key.endswith(f"/{_RUN}"))
        remove(self.work)

    def publish(self, made: Mapping[str, Any]) -> None:
        """Send the output and what is beside it, the output last; then the record of all of it.

        Raises:
            HeldError: If another run has taken over meanwhile.

        """
        beside = [path for path in sorted(self._place.folder.iterdir()) if self._is_published(path)]
        self._confirm()
        if beside and self.has(self.output):
            self._bucket.delete([self._whole(self.output)])
        for path in beside:
            self._send(path)
        self._confirm()
        self._send(self.output)
        self._is_there = True
        self._delete_former({path.name for path in beside})
        self._write_record(made, [*beside, self.output])

    def adopt(self) -> None:
        """Put the record of an output that was written without one, of what there is of it."""
        made = None if self._is_on_record(self.output) else self.provenance(self.output)
        if made is not None:
            paths = [path for path in sorted(self._place.folder.iterdir()) if self._is_published(path)]
            self._write_record(made, [*paths, self.output])

    def _is_published(self, path: Path) -> bool:
        return path not in (self.work, self.output) and not path.name.startswith(".")

    def _send(self, path: Path) -> None:
        """Put a file, or the objects of a store: it counts as one once its root is there, so that comes last."""
        if not path.is_dir():
            self._mirror.push([path])
            return
        self._bucket.delete([self._whole(path)])
        files = list(_files(path))
        self._mirror.push([file for file in files if file != path / _ROOT])
        self._mirror.prune(path, files)
        self._mirror.push([path / _ROOT])

    def _delete_former(self, names: set[str]) -> None:
        """Delete what an earlier run wrote beside the output, and this one did not."""
        former = set(self._record.get("objects", {})) - names - {self.output.name}
        for name in former:
            path = self._place.folder / name
            self._mirror.forget(path) if path.suffix in STORES else self._mirror.drop([path])

    def _write_record(self, made: Mapping[str, Any], paths: Iterable[Path]) -> None:
        sent = {path.name: self._mirror.stamp(path) or self._stamp(path) for path in paths}
        objects = {name: stamp for name, stamp in sent.items() if stamp is not None}
        self._record = {"version": 1, "made": dict(made), "objects": objects}
        self._bucket.put(self._mirror.key(self._record_file), seal(self._record).encode())

    def _fetched_record(self) -> Mapping[str, Any]:
        try:
            found = read_sealed(self._record_file) if self._record_file.exists() else {}
            return found if isinstance(found.get("objects"), dict) and isinstance(found.get("made"), dict) else {}
        except DamagedError:
            return {}

    def recorded(self) -> str | None:
        """Return what the store told of the output when it was written; None if there is no record of it."""
        self.fetch([self._record_file])
        objects: Mapping[str, str] = self._fetched_record().get("objects", {})
        return objects.get(self.output.name)

    def _is_on_record(self, path: Path) -> bool:
        """Return whether the record says that these very objects were written."""
        known = self._record.get("objects", {}).get(path.name)
        return known is not None and known == self._stamp(path)

    def _stamp(self, path: Path) -> str | None:
        """Return what the store tells of an object, or of all objects of a store; None if there is none."""
        return stamp_of(self._place.parent / path.name)

    def _whole(self, path: Path) -> str:
        """The key of an object, or of that of a store which makes it one."""
        return self._mirror.key(path / _ROOT if path.suffix in STORES else path)

    def _check_name(self) -> None:
        """Raise OutputError if a store is an object already, or an object has others below it; asked once."""
        if self._is_named:
            return
        self._is_named = True
        if self.output.suffix in STORES and self._bucket.head(self._place.key) is not None:
            raise OutputError(f"{self._place}: is an object, so it cannot be a store; give another --output")
        if self.output.suffix not in STORES and self._mirror.any_below(self.output):
            raise OutputError(
                f"{self._place}: there are objects below that name, as if it were a folder; give another --output"
            )

    def _check_held(self) -> None:
        """Raise HeldError if the run does not hold the output any more, as far as is known; a worker asks the store."""
        if self._held is not None:
            self._held.check()
        elif self._place.part:
            check_lock(self._place)

    def _confirm(self) -> None:
        if self._held is not None:
            self._held.confirm()


def stamp_of(place: ObjectPath) -> str | None:
    """Return what the store tells of an object, or of all objects of a store; None if there is none."""
    bucket = bucket_of(place)
    if place.name.endswith(STORES):
        return _stamp_of_store(place, bucket.list(place.key))
    entry = bucket.head(place.key)
    return None if entry is None else entry.stamp


def stamps_of(places: Collection[ObjectPath]) -> dict[ObjectPath, str | None]:
    """Return what stores tell of objects, as `stamp_of` does, as far as listings tell it in fewer requests."""
    by_prefix: dict[ObjectPath, list[ObjectPath]] = {}
    for place in places:
        by_prefix.setdefault(place.parent, []).append(place)
    found = [_listed(prefix, inside) for prefix, inside in by_prefix.items() if len(inside) >= _MANY]
    return {place: stamp for each in found for place, stamp in each.items()}


def _listed(prefix: ObjectPath, places: Sequence[ObjectPath]) -> dict[ObjectPath, str | None]:
    """Return the stamps of objects in a prefix; none if there are so many others that it takes more requests."""
    inside: dict[str, list[Entry]] = {place.name: [] for place in places}
    start = len(prefix.key) + bool(prefix.key)

    def name_of(entry: Entry) -> str:
        return entry.key[start:].partition("/")[0]

    entries = bucket_of(prefix).list_some(prefix.key, PAGE * len(places), lambda entry: name_of(entry) in inside)
    if entries is None:
        return {}
    for entry in entries:
        inside[name_of(entry)].append(entry)
    return {place: _stamp_among(place, inside[place.name]) for place in places}


def _stamp_among(place: ObjectPath, entries: Sequence[Entry]) -> str | None:
    if place.name.endswith(STORES):
        return _stamp_of_store(place, entries)
    return next((entry.stamp for entry in entries if entry.key == place.key), None)


def _stamp_of_store(place: ObjectPath, entries: Iterable[Entry]) -> str | None:
    found = sorted(f"{entry.key.removeprefix(place.key)} {entry.stamp}" for entry in entries)
    return sha256("\n".join(found).encode()).hexdigest() if found else None


def copy_to(place: ObjectPath, folder: Path) -> None:
    """Copy an object, or the objects of a store, and the description beside it, to a folder of this machine."""
    mirror, mask = Mirror(folder, place.parent), folder / place.name
    _pull(mirror, mask)
    if (beside := _sidecar(mask)) is not None:
        mirror.fetch([beside])


def _pull(mirror: Mirror, path: Path) -> None:
    """Fetch a file or a store as far as it is not here."""
    if path.suffix in STORES:
        mirror.pull_below(path)
    else:
        mirror.pull(path)


def send(file: Path, place: ObjectPath) -> None:
    """Put a file as an object."""
    bucket_of(place).put(place.key, file)


def fetch(place: ObjectPath, file: Path) -> None:
    """Write an object to a file, if there is such an object."""
    bucket = bucket_of(place)
    if (entry := bucket.head(place.key)) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as draft:
            bucket.fetch(entry, draft)


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, in order, without hidden ones."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))


def _sidecar(path: Path) -> Path | None:
    found = mask_format(path)
    return None if found is None or found.sidecar is None else found.sidecar(path)


def _is_of_ledger(key: str) -> bool:
    """Whether an object of a work folder is a mark, a fingerprint, or metadata with a copy of it."""
    return key.endswith(".json") or "/done/" in key
