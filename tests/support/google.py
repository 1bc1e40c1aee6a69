"""A server of Google Cloud Storage's XML interface, in front of one of S3, whose interface is nearly the same.

What differs is here: who asks is a token, objects have generations, conditions name those, and what is not there
cannot be deleted. No emulator that can be installed has all that our library asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import ThreadingHTTPServer
from itertools import count
from threading import Lock, Thread
from urllib.parse import quote

from tests.support.objects import SECRET, SIGNED, Handler, Serving, Store, ask, plain

READER = "SECRET-of-one-who-may-only-read"
"""Token of an account that may get and list objects."""
_CONDITION = "x-goog-if-generation-match"
_OF_HTTP = ("if-match", "if-none-match", "range", "content-type")


@dataclass
class Objects:
    """Generations of the objects behind an S3 server, which is at `host:port`."""

    server: str
    lock: Lock = field(default_factory=Lock)
    _known: dict[str, tuple[str, int]] = field(default_factory=dict)
    _next: Iterator[int] = field(default_factory=lambda: count(1_700_000_000_000_000))

    def generation(self, path: str, tag: str, *, new: bool = False) -> int:
        """Return the generation of an object with an ETag; 0 without one."""
        if not tag:
            return 0
        known, number = self._known.get(path, ("", 0))
        if new or known != tag:
            number = next(self._next)
            self._known[path] = tag, number
        return number


class _Google(Handler):
    objects: Objects

    def _answer(self) -> None:
        body, (path, _, query) = self._body(), plain(self.path).partition("?")
        if refusal := self._refusal():
            self._tell(*refusal)
            return
        with self.objects.lock:
            if (wanted := self.headers.get(_CONDITION)) is not None and int(wanted) != self._now(path):
                self._tell(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
            elif self.command == "DELETE" and not query and not self._now(path):
                self._tell(404, "NoSuchKey", "The specified key does not exist.")
            else:
                self._hand_on(path, query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815  (of the library)

    def _refusal(self) -> tuple[int, str, str] | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in (SECRET, READER):
            return 401, "AuthenticationRequired", "Authentication required."
        if token == READER and self.command not in ("GET", "HEAD"):
            return 403, "AccessDenied", "Access denied."
        return None

    def _now(self, path: str) -> int:
        answer, _ = self._ask("HEAD", path, b"", {})
        return self.objects.generation(path, answer.getheader("ETag") or "") if answer.status == 200 else 0

    def _hand_on(self, path: str, query: str, body: bytes) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() in _OF_HTTP}
        answer, content = self._ask(self.command, f"{path}?{query}" if query else path, body, headers)
        told = dict(answer.getheaders())
        is_object = path.count("/") > 1 and answer.status < 300
        if is_object and (not query or (self.command == "POST" and "uploadId" in query)):
            tag = told.get("ETag") or self._tag(path)
            new = self.command in ("PUT", "POST")
            told["x-goog-generation"] = str(self.objects.generation(path, tag, new=new))
        self._reply(answer.status, told, content)

    def _tag(self, path: str) -> str:
        return self._ask("HEAD", path, b"", {})[0].getheader("ETag") or ""

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection(self.objects.server, timeout=60)
        connection.request(method, path, body, headers | {"Authorization": SIGNED, "Content-Length": str(len(body))})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def _tell(self, status: int, code: str, message: str) -> None:
        text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        self._reply(status, {"Content-Type": "application/xml; charset=UTF-8"}, text.encode())


@dataclass(frozen=True)
class Bucket(Store):
    """A bucket of a test, whose objects change through the server only: behind its back, conditions would not hold."""

    front: str

    def put(self, key: str, content: bytes) -> None:
        ask(self.front, "PUT", f"/{self.place.bucket}/{quote(key)}", content, f"Bearer {SECRET}")

    def delete(self, key: str) -> None:
        ask(self.front, "DELETE", f"/{self.place.bucket}/{quote(key)}", by=f"Bearer {SECRET}")


def serving(server: str, port: int = 0) -> ThreadingHTTPServer:
    """A server of Google Cloud Storage, not yet started, in front of one of S3 at `server`."""
    return Serving(("127.0.0.1", port), type("Google", (_Google,), {"objects": Objects(server)}))


@contextmanager
def google_server(server: str) -> Iterator[str]:
    """Google Cloud Storage in this process, as `host:port`, in front of a server of S3 at `server`."""
    running = serving(server)
    Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield ":".join(map(str, running.server_address[:2]))
    finally:
        running.shutdown()
        running.server_close()


def environment(address: str, token: str = SECRET) -> dict[str, str]:
    """What a user of a server sets."""
    return {"STORAGE_EMULATOR_HOST": address, "GOOGLE_BEARER_TOKEN": token}


def environments(address: str) -> tuple[dict[str, str], ...]:
    """The same in the words of several programs."""
    token = {"GOOGLE_BEARER_TOKEN": SECRET}
    return (
        {"STORAGE_EMULATOR_HOST": address} | token,
        {"STORAGE_EMULATOR_HOST": address.removeprefix("http://")} | token,
        {"GOOGLE_BASE_URL": address} | token,
        {"CPL_GS_ENDPOINT": f"{address}/"} | token,
    )
