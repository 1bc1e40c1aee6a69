"""Objects as inputs: ranges of their bytes, of one version; those below a prefix; a store for zarr."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, timedelta
from email.utils import format_datetime
from hashlib import sha256
from typing import Any

from obstore.store import HTTPStore

from pipeline.errors import UNREACHABLE, OutputError, RemoteError
from pipeline.files.object_path import ObjectPath
from pipeline.io.objects.bucket import Entry, Taken, bucket_of, told_of
from pipeline.io.ranges import Version, changed

_LISTING = {"s3": "aws s3 ls", "gs": "gcloud storage ls", "az": "az storage blob list"}


class ObjectRanges:
    """An object, as `pipeline.io.ranges.Ranges`."""

    def __init__(self, place: ObjectPath) -> None:
        self._place = place

    def version(self) -> Version:
        """Ask what the store tells of the object."""
        if (found := head(self._place)) is not None:
            return version_of(found)
        with _told():
            bucket_of(self._place).get(self._place.key)  # which tells whether there is such a bucket
        way = f"list what there is, e.g. with `{_LISTING[self._place.scheme]}`"
        raise RemoteError(f"{self._place}: there is no such object; {way}")

    def read(self, version: Version, start: int, stop: int) -> bytes:
        """Return bytes of the object with the ETag of a version."""
        try:
            with _told():
                return bucket_of(self._place).part(self._place.key, version.tag, start, stop)
        except Taken:
            raise changed(self._place, version.difference(self.version())) from None


def head(place: ObjectPath) -> Entry | None:
    """Return what the store tells of an object; None if there is none. Raises RemoteError."""
    with _told():
        return bucket_of(place).head(place.key) if place.key else None


def below(prefix: ObjectPath) -> list[Entry]:
    """Return what the store tells of the objects below a prefix, in order of their keys. Raises RemoteError."""
    with _told():
        found = bucket_of(prefix).list(prefix.key)
    return sorted((entry for entry in found if not entry.key.endswith("/")), key=lambda entry: entry.key)


def version_below(prefix: ObjectPath) -> Version:
    """Return size, a digest of keys and ETags, and the last change of all objects below a prefix."""
    found = below(prefix)
    digest = sha256("\n".join(f"{entry.key} {entry.stamp}" for entry in found).encode()).hexdigest()
    last = max((entry.changed for entry in found), default=None)
    return Version(sum(entry.size for entry in found), digest, "" if last is None else _time(last))


def web_store(origin: str, headers: Mapping[str, str]) -> Any:  # noqa: ANN401  (a store of the library)
    """Return the files of a server of http(s), with headers that are sent to it, for zarr."""
    options: Any = {"allow_http": True, "timeout": timedelta(minutes=2), "default_headers": dict(headers)}
    return HTTPStore.from_url(origin, client_options=options)


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Raise RemoteError, with a way out, where the library raises an error of its own."""
    with _told(), told_of(place):
        yield


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OutputError as error:
        raise RemoteError(str(error), UNREACHABLE) from None


def version_of(entry: Entry) -> Version:
    """Return what a store tells of an object as a version."""
    return Version(entry.size, entry.tag, _time(entry.changed))


def _time(changed: Any) -> str:  # noqa: ANN401  (a time of the library)
    """As http writes it."""
    return format_datetime(changed.astimezone(UTC).replace(microsecond=0), usegmt=True)
