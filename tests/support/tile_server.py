"""A server of map tiles, each in one color that says which tile it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread

from PIL import Image


def color_of(z: int, x: int, y: int) -> tuple[int, int, int]:
    return (z * 37) % 256, (x * 83) % 256, (y * 149) % 256


class _Tiles(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        z, x, y = map(int, self.path.removesuffix(".png").strip("/").split("/"))
        self.server.seen.append((z, self.headers.get("Referer")))  # type: ignore[attr-defined]
        written = BytesIO()
        Image.new("RGB", (256, 256), color_of(z, x, y)).save(written, "PNG")
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        self.wfile.write(written.getvalue())

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def tile_server() -> Iterator[tuple[str, list[tuple[int, str | None]]]]:
    """Its address, as of a basemap, and zoom and referrer of each request."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Tiles)
    server.seen = []  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{{z}}/{{x}}/{{y}}.png", server.seen  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
