"""The server of the viewer: on this machine alone, for whoever has its address, and nothing but what is shown."""

from __future__ import annotations

import json
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import PipelineError, RequestError
from pipeline.files.visible import visible
from pipeline.viewer.page import PAGES, PARTS, type_of
from pipeline.viewer.scene import SceneView
from pipeline.viewer.volume import VolumeView

HOST = "127.0.0.1"
_THREADS = 4
"""Requests that read files at a time: each thread has its own handles."""
_LONGEST = 1 << 20
"""Most bytes of the body of a request."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:{images}; "
    "connect-src 'self' data: blob:; worker-src blob:; font-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
View = SceneView | VolumeView


def listen(port: int) -> socket.socket:
    """Return a socket that listens on this machine alone, on a free port for 0.

    Raises:
        RequestError: The port cannot be used.

    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(64)
    except (OSError, OverflowError) as error:
        listening.close()
        raise RequestError(f"--port {port}: cannot be used ({error}); leave it out to get a free one") from error
    return listening


def new_token() -> str:
    """Return a random word that nobody guesses."""
    return secrets.token_urlsafe(24)


def address_of(listening: socket.socket, token: str) -> str:
    """Return the address of the viewer."""
    return f"http://{HOST}:{listening.getsockname()[1]}/{token}/"


def server_of(view: View, listening: socket.socket, token: str, basemap: str | None = None) -> uvicorn.Server:
    """Return the server of a view, to be run with the socket."""
    app = _Guard(_application(view, token), token, listening.getsockname()[1], _origin_of(basemap))
    how: dict[str, Any] = {"http": "h11", "ws": "none", "loop": "asyncio", "lifespan": "on"}
    logging.getLogger("uvicorn.error").addFilter(_is_unforeseen)
    quiet: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False, "date_header": False}
    return uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=1, **how, **quiet))


def _is_unforeseen(record: logging.LogRecord) -> bool:
    """Return whether a record is not of a file that cannot be read: pages tell that, and ask for no traceback."""
    error = record.exc_info[1] if record.exc_info else None
    while error is not None:
        if isinstance(error, PipelineError):
            return False
        error = error.__cause__
    return True


class _Guard:
    """Answers 403 to what does not come with the token, or is for another host; adds headers to all answers."""

    def __init__(self, app: ASGIApp, token: str, port: int, images: str) -> None:
        self._app, self._token = app, token.encode()
        self._hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
        self._headers = {
            "Content-Security-Policy": _POLICY.format(images=images),
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            # Some servers of maps answer only if a referrer is named; of this page that is never more than the host.
            "Referrer-Policy": "origin" if images else "no-referrer",
            "Cache-Control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        refusal = PlainTextResponse("refused: use the whole address that `pipeline view` printed\n", 403)
        await (self._app if self._may_pass(scope) else refusal)(scope, receive, answer)

    def _may_pass(self, scope: Scope) -> bool:
        first = scope["path"].lstrip("/").split("/")[0] if scope["path"].startswith("/") else ""
        known = secrets.compare_digest(first.encode("utf-8", "surrogatepass"), self._token)
        return known and Headers(scope=scope).getlist("host") in [[host] for host in self._hosts]


def _application(view: View, token: str) -> Starlette:
    routes = [Route("/", _page(view)), *_common_routes(view)]
    routes += _scene_routes(view) if isinstance(view, SceneView) else _volume_routes(view)
    faults: dict[Any, Any] = {PipelineError: _fault, HTTPException: _not_found}
    inside = Mount(f"/{token}", Router(routes, redirect_slashes=False))
    return Starlette(routes=[inside], exception_handlers=faults, lifespan=_bounded)


@asynccontextmanager
async def _bounded(app: Starlette) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    yield


def _page(view: View) -> Callable[[Request], Response]:
    page = PAGES["scene" if isinstance(view, SceneView) else "volume"]
    return lambda request: Response(page.read_bytes(), media_type=type_of(page))


def _common_routes(view: View) -> list[Route]:
    return [
        *(Route(f"/{name}", _part(name)) for name in PARTS),
        Route("/info.json", lambda request: JSONResponse(view.info())),
        Route("/state.json", lambda request: JSONResponse(view.state())),
    ]


def _part(name: str) -> Callable[[Request], Response]:
    return lambda request: Response(PARTS[name].read_bytes(), media_type=type_of(PARTS[name]))


def _scene_routes(view: SceneView) -> list[Route]:
    def tile(request: Request) -> Response:
        layer, level, row, column = (request.path_params[name] for name in ("layer", "level", "row", "column"))
        hidden = frozenset(_whole_numbers(request.query_params.get("hidden", "")))
        return Response(view.tile(layer, level, row, column, hidden), media_type="image/png")

    def at(request: Request) -> Response:
        row, column = (_whole_numbers(request.query_params.get(name, ""))[0:1] for name in ("row", "column"))
        if not row or not column:
            raise RequestError("row and column must be given")
        return JSONResponse(view.at(row[0], column[0]))

    async def areas(request: Request) -> Response:
        points = await _json_of(request)
        return JSONResponse(await run_in_threadpool(view.areas, points))

    return [
        Route("/tiles/{layer:int}/{level:int}/{row:int}/{column:int}.png", tile),
        Route("/at.json", at),
        Route("/areas.json", areas, methods=["POST"]),
    ]


def _volume_routes(view: VolumeView) -> list[Route]:
    def nifti(request: Request) -> Response:
        size, parts = view.nifti(request.path_params["layer"])
        return StreamingResponse(parts, media_type="application/octet-stream", headers={"Content-Length": str(size)})

    return [Route("/volumes/{layer:int}.nii", nifti)]


async def _json_of(request: Request) -> Any:  # noqa: ANN401  (JSON of any kind)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST:
            raise RequestError(f"the request is longer than {_LONGEST:,} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the request is not JSON ({error})") from error


def _whole_numbers(text: str) -> list[int]:
    """Read numbers separated by commas.

    Raises:
        RequestError: Something else is in it.

    """
    words = text.split(",") if text else []
    if not all(word.isascii() and word.isdigit() and len(word) < 12 for word in words):
        raise RequestError(f"{text[:60]!r}: must be whole numbers")
    return list(map(int, words))


async def _fault(request: Request, error: PipelineError) -> Response:
    return JSONResponse({"error": visible(error)}, 400)


async def _not_found(request: Request, error: HTTPException) -> Response:
    return PlainTextResponse(f"{error.detail}\n", error.status_code)


def _origin_of(basemap: str | None) -> str:
    """Return the source of a basemap's images, as a content security policy has it, after a space."""
    if basemap is None:
        return ""
    parts = urlsplit(basemap)
    return f" {parts.scheme}://{parts.netloc}"
