"""A server of files by ranges, on this machine, that can be made to fail, to break off and to be slow."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import unquote


@dataclass
class Server:
    """Files of a folder, and what was asked of them."""

    folder: Path
    address: str = ""
    fault: Callable[[int], str | int | None] = lambda number: None
    """By number of the request for content: a status; fail (503), gone (404), broken (half), slow, whole (no range).

    None: none."""
    asked: list[tuple[str, str | None, int]] = field(default_factory=list)
    """Path, range and bytes of each answer."""
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    leads_to: str | None = None
    """Where every request is redirected to, with its path and parameters; None: nowhere."""
    leads_once: bool = False
    weak: bool = False
    """Whether ETags are weak, and not compared."""

    def sent(self) -> int:
        """Bytes of content that were sent."""
        return sum(size for _, _, size in self.asked)


class Handler(BaseHTTPRequestHandler):
    """Answers HEAD and GET, with ranges."""

    protocol_version = "HTTP/1.1"
    told: Server

    def do_HEAD(self) -> None:
        self._answer(content=False)

    def do_GET(self) -> None:
        self._answer(content=True)

    def _answer(self, *, content: bool) -> None:
        path = self.told.folder / unquote(self.path.partition("?")[0].lstrip("/"))
        with self.told.lock:
            number = len(self.told.asked)
            self.told.headers.append(dict(self.headers))
        if self.told.leads_to is not None:
            leads_to, self.told.leads_to = self.told.leads_to, None if self.told.leads_once else self.told.leads_to
            self._redirect(leads_to + self.path)
            return
        fault = self.told.fault(number) if content else None
        if fault in ("fail", "gone") or not path.is_file():
            self._refuse(503 if fault == "fail" else 404, content)
            return
        if isinstance(fault, int):
            self._refuse(fault, content)
            return
        if fault == "slow":
            time.sleep(0.2)
        whole, tag = path.read_bytes(), f'"{path.stat().st_mtime_ns}"'
        tag = f"W/{tag}" if self.told.weak else tag
        if not self.told.weak and self.headers.get("If-Match", tag) != tag:
            self._refuse(412, content)
            return
        asked = None if fault == "whole" else re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, stop = (int(asked[1]), int(asked[2] or len(whole) - 1) + 1) if asked else (0, len(whole))
        if asked and start >= len(whole):
            self._refuse(416, content, f"bytes */{len(whole)}")
            return
        part = whole[start:stop]
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(part)))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(whole)}")
        self.end_headers()
        sent = part[: len(part) // 2] if fault == "broken" else part
        if content:
            self._note(len(sent))
            self.wfile.write(sent)
        if fault == "broken":
            self.close_connection = True

    def _redirect(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _refuse(self, code: int, content: bool, ranged: str | None = None) -> None:
        if content:
            self._note(0)
        self.send_response(code)
        if ranged is not None:
            self.send_header("Content-Range", ranged)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _note(self, size: int) -> None:
        with self.told.lock:
            self.told.asked.append((self.path, self.headers.get("Range"), size))

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """A server of `folder` for the time of the block."""
    told = Server(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (Handler,), {"told": told}))
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    told.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
