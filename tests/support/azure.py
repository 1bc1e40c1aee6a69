"""A server of Azure's blobs on this machine: Azurite, if it is installed (`npm install --global azurite`)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, urlencode
from uuid import uuid4
from xml.etree import ElementTree

import psutil

from pipeline.files.object_path import ObjectPath
from tests.support.objects import SECRET, Store
from tests.support.ports import free_port

PROGRAM = "azurite-blob"
ACCOUNT = "somebody"
KEY = base64.b64encode(SECRET.encode()).decode()
_PATIENCE = 60.0
_VERSION = "2021-08-06"
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Azurite:
    """A server that runs."""

    server: str
    """As `host:port`."""
    process: psutil.Process
    log: Path
    """A line for each request."""


def has_azurite() -> bool:
    return shutil.which(PROGRAM) is not None


@contextmanager
def azurite(folder: Path) -> Iterator[Azurite]:
    """Azurite as a process of its own, with its blobs in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder.parent / f"{folder.name}.log"
    words = [
        PROGRAM,
        "--disableTelemetry",
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        f"{port}",
        "--location",
        f"{folder}",
    ]
    with log.open("wb") as file:
        said = os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        running = subprocess.Popen(words, env=said, stdout=file, stderr=file, start_new_session=True)
    try:
        _wait(port, running, log)
        yield Azurite(f"127.0.0.1:{port}", psutil.Process(running.pid), log)
    finally:
        running.terminate()
        running.wait(20)


def _wait(port: int, running: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while not any(one.laddr.port == port and one.status == psutil.CONN_LISTEN for one in psutil.net_connections()):
        assert time.monotonic() < end, log.read_text()
        assert running.poll() is None, log.read_text()
        time.sleep(0.1)


def environment(address: str, key: str = KEY) -> dict[str, str]:
    """What a user of a server sets."""
    return _string(AccountName=ACCOUNT, AccountKey=key, BlobEndpoint=f"{address}/{ACCOUNT}")


def environments(address: str) -> tuple[dict[str, str], ...]:
    """The same in the words of several programs, and with a signature in place of the key."""
    endpoint = f"{address}/{ACCOUNT}"
    return (
        environment(address),
        {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY, "AZURE_STORAGE_ENDPOINT": endpoint},
        {"AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_ACCESS_KEY": KEY, "AZURE_STORAGE_ENDPOINT": endpoint},
        _string(BlobEndpoint=endpoint, SharedAccessSignature=_signature("rwdlac")),
    )


def reader(address: str) -> dict[str, str]:
    """Of a user who may get and list blobs."""
    return _string(BlobEndpoint=f"{address}/{ACCOUNT}", SharedAccessSignature=_signature("rl"))


def _string(**parts: str) -> dict[str, str]:
    return {"AZURE_STORAGE_CONNECTION_STRING": ";".join(f"{name}={value}" for name, value in parts.items())}


def _signature(rights: str) -> str:
    """A shared access signature for all blobs of the account."""
    end = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"sp": rights, "ss": "b", "srt": "sco", "st": "", "se": end, "sip": "", "spr": "", "sv": _VERSION, "ses": ""}
    text = "".join(f"{value}\n" for value in (ACCOUNT, *said.values()))
    return urlencode({name: value for name, value in said.items() if value} | {"sig": _signed(text)})


def _signed(text: str) -> str:
    return base64.b64encode(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()).decode()


def make_container(server: str, name: str = "") -> ObjectPath:
    """Make a container, of its own for a test unless it has a name."""
    name = name or f"c-{uuid4().hex[:12]}"
    status, content = _ask(server, "PUT", name, {"restype": "container"})
    assert status in (201, 409), content
    return ObjectPath("az", name, "")


def blobs(place: ObjectPath, server: str) -> Iterator[str]:
    """Names of all blobs below a prefix, by plain requests."""
    query, more = {"restype": "container", "comp": "list", "prefix": place.key}, "-"
    while more:
        status, content = _ask(server, "GET", place.bucket, query)
        assert status == 200, content
        listed = ElementTree.fromstring(content)
        yield from (each.text or "" for each in listed.iterfind("Blobs/Blob/Name"))
        more = listed.findtext("NextMarker") or ""
        query["marker"] = more


def read(place: ObjectPath, server: str) -> bytes:
    """Content of a blob; nothing if there is none."""
    status, content = _ask(server, "GET", f"{place.bucket}/{place.key}")
    return content if status == 200 else b""


def put(place: ObjectPath, server: str, content: bytes) -> None:
    status, told = _ask(server, "PUT", f"{place.bucket}/{place.key}", _NONE, content, {"x-ms-blob-type": "BlockBlob"})
    assert status == 201, told


def delete(place: ObjectPath, server: str) -> None:
    status, told = _ask(server, "DELETE", f"{place.bucket}/{place.key}")
    assert status in (202, 404), told


def _ask(
    server: str, method: str, name: str, query: Mapping[str, str] = _NONE, content: bytes = b"",
    headers: Mapping[str, str] = _NONE,
) -> tuple[int, bytes]:  # fmt: skip
    path = f"/{ACCOUNT}/{quote(name)}"
    ours = dict(sorted({"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION, **headers}.items()))
    told = "".join(f"{name}:{value}\n" for name, value in ours.items())
    asked = "".join(f"\n{name}:{value}" for name, value in sorted(query.items()))
    text = f"{method}\n\n\n{len(content) or ''}" + "\n" * 9 + f"{told}/{ACCOUNT}{path}{asked}"
    connection = HTTPConnection(server)
    path = f"{path}?{urlencode(query)}" if query else path
    signed = {"Authorization": f"SharedKey {ACCOUNT}:{_signed(text)}", "Content-Length": f"{len(content)}"}
    connection.request(method, path, content, ours | signed)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


class Container(Store):
    """A container of a test, behind a proxy."""

    def all(self) -> dict[str, bytes]:
        return {name: read(self.place / name, self.server) for name in blobs(self.place, self.server)}

    def put(self, key: str, content: bytes) -> None:
        put(self.place / key, self.server, content)

    def delete(self, key: str) -> None:
        delete(self.place / key, self.server)

    def uploads(self) -> list[str]:
        """Nothing: blocks that were never put together are no blobs."""
        return []
