"""A bucket of an object store: objects are put, got, listed and deleted, with retries, and errors say what to do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from pipeline.errors import OutputError
from pipeline.files.atomic import whole_file
from pipeline.files.object_path import ObjectPath
from pipeline.io.objects.answers import misses_the_bucket, why, why_not_opened
from pipeline.io.objects.settings import said, settings_of
from pipeline.io.places import scheme_of

Result = TypeVar("Result")
AT_ONCE = 16
"""Objects that are sent or fetched at a time."""
PAGE = 1000
"""Objects that a store tells of in one answer to a listing."""
_PART = 8 << 20
"""Bytes of a part: larger files are sent and fetched in several."""
_RETRIES, _PATIENCE, _LONGEST = 10, timedelta(minutes=3), timedelta(seconds=10)
"""Times that a request is tried again, how long at most, and the longest pause before."""
_BROKEN, _PAUSES = "response body error", (0.2, 1.0, 5.0)
"""Word of the library for an answer that breaks off, and seconds before the call is made again."""


class Taken(Exception):  # noqa: N818
    """An object is there already, or is not as it was: what was to be put on that condition was not."""


@dataclass(frozen=True)
class Entry:
    """What a store tells of an object."""

    key: str
    size: int
    tag: str
    """ETag: another one means that it was put again."""
    changed: datetime
    """By the clock of the store."""
    edition: str = ""
    """What `Bucket.update` compares: the generation at Google, which is not part of listings; elsewhere the ETag."""

    @property
    def stamp(self) -> str:
        """Size and ETag in a word."""
        return f"{self.size} {self.tag}"


class Bucket:
    """A bucket. All calls raise OutputError with the object, what the store says, and a way out."""

    def __init__(self, place: ObjectPath) -> None:
        """Open the bucket that `place` is in; nothing is asked yet."""
        self._root = ObjectPath(place.scheme, place.bucket, "")
        self._named = "version" if place.scheme == "gs" else "e_tag"
        self._store = _open(place.scheme, place.bucket)

    @property
    def store(self) -> Any:  # noqa: ANN401  (one of the stores of a library)
        """The store, for zarr."""
        return self._store

    def put(self, key: str, content: bytes | Path) -> str:
        """Put an object, which is there whole or not at all, and return its ETag."""
        with self._told(key, "written"):
            return _again(lambda: _tag(obstore.put(self._store, key, content, chunk_size=_PART, max_concurrency=4)))

    def create(self, key: str, content: bytes) -> str:
        """Put an object if there is none of that name, and return its edition; raises Taken."""
        with self._told(key, "written"):
            try:
                return self._put_if(key, content, "create")
            except (AlreadyExistsError, PreconditionError) as error:
                raise Taken from error

    def update(self, key: str, content: bytes, edition: str) -> str:
        """Put an object if the one there is this edition, and return the new one; raises Taken."""
        with self._told(key, "written"):
            try:
                return self._put_if(key, content, {self._named: edition})
            except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
                raise Taken from error

    def _put_if(self, key: str, content: bytes, mode: Any) -> str:  # noqa: ANN401  (as the library has it)
        return _again(lambda: self._edition(obstore.put(self._store, key, content, mode=mode, use_multipart=False)))

    def _edition(self, result: Mapping[str, Any]) -> str:
        return str(result["version"] or "") if self._named == "version" else _tag(result)

    def _entry(self, meta: Mapping[str, Any]) -> Entry:
        return Entry(meta["path"], meta["size"], _tag(meta), meta["last_modified"], self._edition(meta))

    def _content(self, answer: Any) -> tuple[bytes, Entry]:  # noqa: ANN401  (of a library)
        return bytes(answer.bytes()), self._entry(answer.meta)

    def get(self, key: str) -> tuple[bytes, Entry] | None:
        """Return the content of a small object, and what is told of it; None if there is none."""
        with self._told(key, "read"):
            try:
                return _again(lambda: self._content(obstore.get(self._store, key)))
            except FileNotFoundError as error:
                self._check(error, key)
                return None

    def part(self, key: str, tag: str, start: int, stop: int) -> bytes:
        """Return the bytes of an object from `start` to `stop`, if it has this ETag; raises Taken."""
        how: Any = {"range": (start, stop), "if_match": tag or None}
        with self._told(key, "read"):
            try:
                return _again(lambda: bytes(obstore.get(self._store, key, options=how).bytes()))
            except (PreconditionError, FileNotFoundError) as error:
                raise Taken from error

    def head(self, key: str) -> Entry | None:
        """Return what is told of an object; None if there is none."""
        with self._told(key, "read"):
            try:
                return self._entry(obstore.head(self._store, key))
            except FileNotFoundError:
                return None
            except PermissionDeniedError:
                obstore.get(self._store, key, options={"range": (0, 1)})  # whose answer says why
                raise

    def list_some(self, prefix: str, most: int, wanted: Callable[[Entry], bool]) -> list[Entry] | None:
        """Return the wanted objects of those below a prefix; None if there are more than `most` in all."""

        def found() -> list[Entry] | None:
            kept = []
            for number, entry in enumerate(self._listed(prefix)):
                if number == most:
                    return None
                if wanted(entry):
                    kept.append(entry)
            return kept

        with self._told(prefix, "listed"):
            return _again(found)

    def list(self, prefix: str) -> list[Entry]:
        """Return what is told of all objects below a prefix."""
        with self._told(prefix, "listed"):
            return _again(lambda: list(self._listed(prefix)))

    def _listed(self, prefix: str) -> Iterator[Entry]:
        return (self._entry(one) for some in obstore.list(self._store, prefix or None, chunk_size=PAGE) for one in some)

    def fetch(self, entry: Entry, file: Path) -> None:
        """Write the content of an object to a file here, which is there once it is whole: other threads look for it.

        Raises:
            OutputError: Also if the object changes meanwhile.

        """
        with whole_file(file) as draft:
            self._copy(entry, draft)

    def _copy(self, entry: Entry, file: Path) -> None:
        starts = range(0, entry.size, _PART)
        with self._told(entry.key, "read"), file.open("wb") as to:
            if len(starts) <= 1:
                to.write(obstore.get(self._store, entry.key).bytes())
                return
            for start in starts:
                stop = min(start + _PART, entry.size)
                to.write(obstore.get_range(self._store, entry.key, start=start, end=stop))
        if (now := self.head(entry.key)) is None or now.stamp != entry.stamp:
            raise OutputError(f"{self._root}{entry.key}: changed while it was read; run the same command again")

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, those that are there."""
        if not (named := list(keys)):
            return
        with self._told(named[0], "deleted"):
            try:
                _again(lambda: obstore.delete(self._store, named))
            except FileNotFoundError as error:
                self._check(error, named[0])
                self._delete_each(named)

    def _delete_each(self, keys: Iterable[str]) -> None:
        """Delete objects one by one: at Google and Azure a call for many ends at the first that is not there."""

        def delete(key: str) -> None:
            with suppress(FileNotFoundError):
                _again(lambda: obstore.delete(self._store, key))

        with ThreadPoolExecutor(AT_ONCE, "delete") as pool:
            list(pool.map(delete, keys))

    def _check(self, error: FileNotFoundError, key: str) -> None:
        """Raise OutputError if what was not found is the bucket."""
        if misses_the_bucket(str(error)):
            raise self._error(error, key, "read") from None

    @contextmanager
    def _told(self, key: str, done: str) -> Iterator[None]:
        if "\\" in key and self._root.scheme == "az":
            raise OutputError(f"{self._root}{key}: cannot be {done}: Azure takes the backslash for a slash; rename it")
        try:
            yield
        except (BaseError, FileNotFoundError, PermissionError, ValueError) as error:
            raise self._error(error, key, done) from None

    def _error(self, error: Exception, key: str, done: str) -> OutputError:
        return OutputError(f"{self._root}{key}: cannot be {done}: {why(str(error), self._root.scheme)}")


def _again(call: Callable[[], Result]) -> Result:
    """Call, and again if an answer breaks off, which the library leaves to its user."""
    for pause in _PAUSES:
        try:
            return call()
        except BaseError as error:
            if _BROKEN not in str(error):
                raise
            sleep(pause)
    return call()


@contextmanager
def told_of(place: str) -> Iterator[None]:
    """Raise OutputError, with a way out, where the library raises an error of its own."""
    try:
        yield
    except (BaseError, PermissionError) as error:
        raise OutputError(f"{place}: cannot be read: {why(str(error), scheme_of(place))}") from None


def bucket_of(place: ObjectPath) -> Bucket:
    """Return the bucket of an object; one for each process, whose connections are shared."""
    return _bucket(place.scheme, place.bucket, os.getpid(), said())


@cache
def _bucket(scheme: str, name: str, process: int, settings: object) -> Bucket:
    return Bucket(ObjectPath(scheme, name, ""))


def _open(scheme: str, name: str) -> Any:  # noqa: ANN401  (one of the stores of a library)
    config: Mapping[str, Any] = settings_of(scheme)
    how: dict[str, Any] = {
        "client_options": {"allow_http": True, "timeout": timedelta(minutes=2)},
        "retry_config": {
            "max_retries": _RETRIES,
            "retry_timeout": _PATIENCE,
            "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": _LONGEST, "base": 2},
        },
    }
    try:
        if scheme == "s3":
            return S3Store(name, config=config, **how)
        return (GCSStore if scheme == "gs" else AzureStore)(name, config=config, **how)
    except (BaseError, ValueError) as error:
        raise OutputError(f"{scheme}://{name}: cannot be opened: {why_not_opened(str(error), scheme)}") from None


def _tag(result: Mapping[str, Any]) -> str:
    """The ETag, always in quotes: Azure leaves them out in listings alone."""
    tag = str(result["e_tag"] or "")
    return f'"{tag}"' if tag and not tag.endswith('"') else tag
