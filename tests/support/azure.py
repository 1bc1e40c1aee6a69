"""A server of Azure's blobs on this machine: Azurite, if it is installed (`npm install --global azurite`)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import obstore
import psutil
from obstore.store import AzureStore

from pipeline.files.object_path import ObjectPath
from tests.support.objects import SECRET, Store
from tests.support.ports import free_port

PROGRAM = "azurite-blob"
ACCOUNT = "somebody"
KEY = base64.b64encode(SECRET.encode()).decode()
_PATIENCE = 60.0
_VERSION = "2021-08-06"


def has_azurite() -> bool:
    return shutil.which(PROGRAM) is not None


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """Azurite as a process of its own, with its blobs in a folder, as `host:port`."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder.parent / f"{folder.name}.log"
    options = {"--blobHost": "127.0.0.1", "--blobPort": port, "--location": folder}
    words = [PROGRAM, "--silent", "--disableTelemetry", *(str(word) for each in options.items() for word in each)]
    with log.open("wb") as file:
        said = os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        running = subprocess.Popen(words, env=said, stdout=file, stderr=file, start_new_session=True)
    try:
        _wait(port, running, log)
        yield f"127.0.0.1:{port}"
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
    parts = {"AccountName": ACCOUNT, "AccountKey": key, "BlobEndpoint": f"{address}/{ACCOUNT}"}
    return {"AZURE_STORAGE_CONNECTION_STRING": ";".join(f"{name}={value}" for name, value in parts.items())}


def environments(address: str) -> tuple[dict[str, str], ...]:
    """The same in the words of several programs, and with a signature in place of the key."""
    endpoint = f"{address}/{ACCOUNT}"
    signature = _signature("rwdlac")
    return (
        environment(address),
        {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY, "AZURE_STORAGE_ENDPOINT": endpoint},
        {"AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_ACCESS_KEY": KEY, "AZURE_STORAGE_ENDPOINT": endpoint},
        {"AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint={endpoint};SharedAccessSignature={signature}"},
    )


def reader(address: str) -> dict[str, str]:
    """Of a user who may get and list blobs."""
    words = {"BlobEndpoint": f"{address}/{ACCOUNT}", "SharedAccessSignature": _signature("rl")}
    return {"AZURE_STORAGE_CONNECTION_STRING": ";".join(f"{name}={value}" for name, value in words.items())}


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
    path = f"/{ACCOUNT}/{name}"
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
    told = "".join(f"{name}:{value}\n" for name, value in headers.items())
    text = "PUT" + "\n" * 12 + f"{told}/{ACCOUNT}{path}\nrestype:container"
    signed = {"Authorization": f"SharedKey {ACCOUNT}:{_signed(text)}", "Content-Length": "0"}
    connection = HTTPConnection(server)
    connection.request("PUT", f"{path}?restype=container", headers=headers | signed)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status in (201, 409), content
    return ObjectPath("az", name, "")


class Container(Store):
    """A container of a test, behind a proxy."""

    def all(self) -> dict[str, bytes]:
        found = [one["path"] for some in obstore.list(self._blobs) for one in some]
        return {key: bytes(obstore.get(self._blobs, key).bytes()) for key in found}

    def put(self, key: str, content: bytes) -> None:
        obstore.put(self._blobs, key, content)

    def delete(self, key: str) -> None:
        obstore.delete(self._blobs, key)

    def uploads(self) -> list[str]:
        """Nothing: blocks that were never put together are no blobs."""
        return []

    @property
    def _blobs(self) -> AzureStore:
        endpoint = f"http://{self.server}/{ACCOUNT}"
        return AzureStore(
            self.place.bucket,
            config={"account_name": ACCOUNT, "account_key": KEY, "endpoint": endpoint},
            client_options={"allow_http": True},
        )
