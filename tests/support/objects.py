"""An S3 server on this machine, and a proxy before it that refuses, drops, slows and cuts what a test tells it to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import quote, unquote
from uuid import uuid4
from xml.etree import ElementTree

from pipeline.files.object_path import ObjectPath

SECRET = "SECRET-that-nobody-may-see"
SIGNED = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=a"
_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "host")
_CODES = {403: "AccessDenied", 429: "TooManyRequests", 500: "InternalError", 503: "SlowDown"}


@dataclass(frozen=True)
class Request:
    """A request that goes through the proxy."""

    method: str
    path: str
    number: int
    """From 0, of all requests since the proxy was told what to do."""

    @property
    def writes(self) -> bool:
        return self.method not in ("GET", "HEAD")


Fault = int | str | None
"""A status to answer with; an S3 code with status 400; drop, slow, late, cut: see `Proxy`; None: none."""


@dataclass
class Proxy:
    """Passes requests on, except those for which `fault` says what happens instead.

    drop: the connection ends without an answer. late: the request is passed on, and the answer is dropped. slow: it
    takes a moment. cut: half of the answer comes. plain: the request is passed on without its conditions.
    """

    server: str
    address: str = ""
    fault: Callable[[Request], Fault] = lambda request: None
    seen: list[Request] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def inject(self, fault: Callable[[Request], Fault] = lambda request: None) -> None:
        """Set the fault of each request from now on."""
        with self.lock:
            self.fault, self.seen = fault, []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def _answer(self) -> None:
        body = self._body()
        with self.proxy.lock:
            request = Request(self.command, plain(self.path), len(self.proxy.seen))
            self.proxy.seen.append(request)
            fault = self.proxy.fault(request)
        if fault == "slow":
            time.sleep(0.3)
        if fault == "drop":
            self.close_connection = True
            return
        if isinstance(fault, int) or fault not in (None, "slow", "late", "cut", "plain"):
            self._refuse(fault)
            return
        self._pass_on(body, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815  (of the library)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _pass_on(self, body: bytes, fault: Fault) -> None:
        connection = HTTPConnection(self.proxy.server, timeout=60)
        left_out = (*_HOP, "if-none-match", "if-match") if fault == "plain" else _HOP
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        connection.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if fault == "late":
            self.close_connection = True
            return
        self._reply(answer.status, dict(answer.getheaders()), content, cut=fault == "cut")

    def _reply(self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in (*_HOP, "date", "server"):
                self.send_header(name, value)
        told = next((value for name, value in headers.items() if name.lower() == "content-length"), "0")
        self.send_header("Content-Length", told if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    def _refuse(self, fault: int | str) -> None:
        status, code = (fault, _CODES[fault]) if isinstance(fault, int) else (400, fault)
        told = f"<Error><Code>{code}</Code><Message>said by a test, with {SECRET}</Message></Error>".encode()
        told = told.replace(f", with {SECRET}".encode(), b"")
        self.send_response(status)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(told)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


class Serving(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that were killed."""


def plain(path: str) -> str:
    """A path of a request with the same escapes, whatever the library that asks escapes: some do slashes and dots."""
    name, mark, query = path.partition("?")
    return quote(unquote(name)) + mark + query


@contextmanager
def proxied(server: str) -> Iterator[Proxy]:
    """A proxy before the server at `host:port`."""
    proxy = Proxy(server)
    serving = Serving(("127.0.0.1", 0), type("Told", (Handler,), {"proxy": proxy}))
    Thread(target=serving.serve_forever, daemon=True).start()
    proxy.address = f"http://127.0.0.1:{serving.server_address[1]}"
    try:
        yield proxy
    finally:
        serving.shutdown()
        serving.server_close()


@contextmanager
def s3_server() -> Iterator[str]:
    """A server of S3 in this process, as `host:port`; Moto's own one searches all services of AWS at each request."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = create_backend_app("s3")
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield ":".join(map(str, server.server_address[:2]))
    finally:
        server.shutdown()
        server.server_close()


def environment(address: str) -> dict[str, str]:
    """What a user of a server sets."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }


def make_bucket(server: str) -> ObjectPath:
    """Make a bucket of its own for a test."""
    name = f"b-{uuid4().hex[:12]}"
    ask(server, "PUT", f"/{name}")
    return ObjectPath("s3", name, "")


def objects(place: ObjectPath, server: str) -> dict[str, bytes]:
    """Keys and contents of all objects below a prefix, by plain requests."""
    found, more = dict[str, bytes](), ""
    while more is not None:
        listed = ElementTree.fromstring(
            ask(server, "GET", f"/{place.bucket}?list-type=2&prefix={quote(place.key)}{more}")
        )
        keys = [each.text or "" for each in listed.iterfind("{*}Contents/{*}Key")]
        found |= {key: ask(server, "GET", f"/{place.bucket}/{quote(key)}") for key in keys}
        token = listed.findtext("{*}NextContinuationToken")
        more = None if token is None else f"&continuation-token={quote(token)}"
    return found


def ask(server: str, method: str, path: str, content: bytes | None = None, by: str = SIGNED) -> bytes:
    """The content of the answer to a plain request; `by` is who asks."""
    connection = HTTPConnection(server)
    connection.request(method, path, content, {"Authorization": by})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status < 300, content
    return content


@dataclass(frozen=True)
class Store:
    """A bucket of a test, behind a proxy."""

    place: ObjectPath
    server: str
    proxy: Proxy | None

    def all(self) -> dict[str, bytes]:
        return objects(self.place, self.server)

    def shown(self, folder: str) -> dict[str, bytes]:
        """The objects that are not hidden, in a folder, by the rest of their keys."""
        inside = {
            key.removeprefix(f"{folder}/"): content for key, content in self.all().items() if key.startswith(folder)
        }
        return {key: content for key, content in inside.items() if not key.startswith(".")}

    def uploads(self) -> list[str]:
        """Objects of which parts were sent and are not put together."""
        listed = ElementTree.fromstring(ask(self.server, "GET", f"/{self.place.bucket}?uploads"))
        return [each.text or "" for each in listed.iterfind("{*}Upload/{*}Key")]

    def put(self, key: str, content: bytes) -> None:
        ask(self.server, "PUT", f"/{self.place.bucket}/{quote(key)}", content)

    def delete(self, key: str) -> None:
        ask(self.server, "DELETE", f"/{self.place.bucket}/{quote(key)}")
