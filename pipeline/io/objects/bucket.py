"""A bucket of an object store: objects are put, got, listed and deleted, with retries, and errors say what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from pipeline.errors import OutputError
from pipeline.files.atomic import whole_file
from pipeline.files.object_path import ObjectPath
from pipeline.io.objects.settings import said, settings_of

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
_ANSWER = re.compile(r"<Code>([^<]+)</Code>(?:.*?<Message>([^<]*)</Message>)?", re.DOTALL)
_STATUS = re.compile(r"non-2xx status code: (\d+ [A-Za-z ]+)")
_WAYS = (
    (("NoSuchBucket", "ContainerNotFound"), "there is no such bucket; create it, or correct its name"),
    (
        ("ExpiredToken", "TokenRefreshRequired", "RequestExpired", "ExpiredTokenException"),
        "the credentials have expired; renew them, and the same command continues from what is done",
    ),
    (
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "401", "Unauthorized"),
        "the credentials are not those of this store; see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL",
    ),
    (
        ("AccessDenied", "AllAccessDisabled", "403", "AuthorizationPermissionMismatch"),
        "these credentials may not do this; they need to get, put, list and delete objects below this prefix",
    ),
    (("PermanentRedirect", "301", "AuthorizationHeaderMalformed"), "the bucket is in another region; set AWS_REGION"),
    (("RequestTimeTooSkewed",), "the clock of this machine is wrong; set it, e.g. with `timedatectl set-ntp true`"),
    (("SlowDown", "503", "429", "TooManyRequests"), "the store is overloaded; run the same command again to continue"),
)
"""Words in the code or status of an answer, and what they mean with the way out; the first that occurs counts."""
_OF_MACHINES = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")
"""Where the account of a machine is asked for, if no credentials are set."""
_NONE = "no credentials were found; set them, e.g. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_INVALID = re.compile(r'Path "([^"]*)"(?:: Encountered illegal| contained empty)')
_DOWN = "the store does not answer; see that it runs and the network is up, and the same command continues"


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

    @property
    def stamp(self) -> str:
        """Size and ETag in a word."""
        return f"{self.size} {self.tag}"


class Bucket:
    """A bucket. All calls raise OutputError with the object, what the store says, and a way out."""

    def __init__(self, place: ObjectPath) -> None:
        """Open the bucket that `place` is in; nothing is asked yet."""
        self._root = ObjectPath(place.scheme, place.bucket, "")
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
        """Put an object if there is none of that name, and return its ETag; raises Taken."""
        with self._told(key, "written"):
            try:
                return self._put_if(key, content, "create")
            except (AlreadyExistsError, PreconditionError) as error:
                raise Taken from error

    def update(self, key: str, content: bytes, tag: str) -> str:
        """Put an object if the one there has this ETag, and return the new one; raises Taken."""
        with self._told(key, "written"):
            try:
                return self._put_if(key, content, {"e_tag": tag})
            except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
                raise Taken from error

    def _put_if(self, key: str, content: bytes, mode: Any) -> str:  # noqa: ANN401  (as the library has it)
        return _again(lambda: _tag(obstore.put(self._store, key, content, mode=mode, use_multipart=False)))

    def get(self, key: str) -> tuple[bytes, Entry] | None:
        """Return the content of a small object, and what is told of it; None if there is none."""
        with self._told(key, "read"):
            try:
                return _again(lambda: _content(obstore.get(self._store, key)))
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
                return _entry(obstore.head(self._store, key))
            except FileNotFoundError:
                return None

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
        return (_entry(one) for some in obstore.list(self._store, prefix or None, chunk_size=PAGE) for one in some)

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

    def _check(self, error: FileNotFoundError, key: str) -> None:
        """Raise OutputError if what was not found is the bucket."""
        if "NoSuchBucket" in str(error):
            raise self._error(error, key, "read") from None

    @contextmanager
    def _told(self, key: str, done: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError, PermissionError, ValueError) as error:
            raise self._error(error, key, done) from None

    def _error(self, error: Exception, key: str, done: str) -> OutputError:
        return OutputError(f"{self._root}{key}: cannot be {done}: {_why(str(error))}")


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
        raise OutputError(f"{place}: cannot be read: {_why(str(error))}") from None


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
        raise OutputError(f"{scheme}://{name}: cannot be opened: {_why(str(error))}") from None


def _entry(meta: Mapping[str, Any]) -> Entry:
    return Entry(meta["path"], meta["size"], meta["e_tag"] or "", meta["last_modified"])


def _content(answer: Any) -> tuple[bytes, Entry]:  # noqa: ANN401  (of a library)
    return bytes(answer.bytes()), _entry(answer.meta)


def _tag(result: Mapping[str, Any]) -> str:
    return str(result["e_tag"] or "")


def _why(text: str) -> str:
    """What is wrong, by what the store or the library says: no more of it is shown, as it may hold credentials."""
    if any(address in text for address in _OF_MACHINES):
        return _NONE
    if invalid := _INVALID.search(text):
        return f"the name {invalid[1]!r} has an empty part, or . or .. as one, which is not supported; rename it"
    code, said = _answer_of(text)
    way = _way_of(code) if code else _DOWN
    return f"{way} (it says: {said})" if way and said else way or f"the store says {said}"


def _answer_of(text: str) -> tuple[str, str]:
    """The code of an answer, or its status, and the same with its message; empty if there was none."""
    answer, status = _ANSWER.search(text), _STATUS.search(text)
    if answer is None:
        code = status[1].strip() if status else ""
        return code, code
    return answer[1], ", ".join(filter(None, answer.groups()))


def _way_of(code: str) -> str:
    return next((way for words, way in _WAYS if any(word in code for word in words)), "")
