"""Open the nodes of a store: in a folder, in an object store, or at an http(s) address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import zarr
from zarr.errors import NodeNotFoundError
from zarr.storage import ObjectStore

from pipeline.errors import RemoteError
from pipeline.files.object_path import ObjectPath, is_object
from pipeline.io.address import redact_url
from pipeline.io.remote_files import RemoteFile, need_objects, plain_address

_METADATA = ("zarr.json", ".zattrs", ".zarray", ".zgroup")


def _is_served(address: str) -> bool:
    return "://" in plain_address(address)


def open_node(address: str) -> Any:  # noqa: ANN401  (an array or a group)
    """Open the array or group at a path or an address."""
    if not _is_served(address):
        return zarr.open(address, mode="r")
    store, path = _store(address)
    return zarr.open(store, path=path, mode="r")


def group_above(address: str) -> zarr.Group | None:
    """Return the group that a node is in; None without one."""
    try:
        if not _is_served(address):
            return zarr.open_group(Path(address).absolute().parent, mode="r")
        store, path = _store(address)
        return zarr.open_group(store, path=path.rpartition("/")[0], mode="r")
    except (NodeNotFoundError, OSError):
        return None


def telling(address: str) -> AbstractContextManager[None]:
    """Return what raises RemoteError where a server does not answer or refuses; nothing for a folder."""
    return _telling(address) if _is_served(address) else nullcontext()


@contextmanager
def _telling(address: str) -> Iterator[None]:
    need_objects(redact_url(address))
    from pipeline.io.objects import reading

    with reading(redact_url(address)):
        yield


def _store(address: str) -> tuple[ObjectStore[Any], str]:
    """The store of a bucket or of a server, and the path of a node in it."""
    from pipeline.io.objects import bucket_of, web_store

    plain = plain_address(address)
    if is_object(plain):
        place = ObjectPath.parse(plain)
        return ObjectStore(bucket_of(place).store, read_only=True), place.key
    parts = urlsplit(plain)
    if parts.scheme not in ("http", "https") or parts.query:
        raise RemoteError(
            f"{redact_url(address)}: a Zarr store is read at http(s), s3, gs and az, without parameters after a "
            "question mark; download it first"
        )
    from pipeline.io.http import check_redirect, headers_for

    check_redirect(f"{plain.rstrip('/')}/{_METADATA[0]}")
    store = web_store(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", headers_for(plain))
    return ObjectStore(store, read_only=True), unquote(parts.path).strip("/")


def version_at(address: str) -> dict[str, Any]:
    """Return what identifies the version of a store: of all its objects, or at http(s) of its metadata.

    Raises:
        RemoteError: The server does not answer.

    """
    need_objects(redact_url(address))
    from pipeline.io.objects import version_below

    plain = plain_address(address)
    if is_object(plain):
        return version_below(ObjectPath.parse(plain)).words()
    for name in _METADATA:
        file = RemoteFile(f"{plain.rstrip('/')}/{name}")
        if file.is_file():
            return file.version().words()
    return {}
