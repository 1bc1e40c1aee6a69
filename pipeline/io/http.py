"""The version of a file at an http(s) address, as its server reports it; credentials go to no other server."""

from __future__ import annotations

import os
import time
from base64 import b64encode
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pipeline.errors import UNREACHABLE, InputError
from pipeline.io.address import redact, redact_url

_DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait before each further try."""
_PATIENCE = 20.0
"""Seconds for an answer."""
_PORTS = {"http": 80, "https": 443}


class _SameOrigin(HTTPRedirectHandler):
    """Follows a redirect to another origin without credentials, and only by http and https."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if urlsplit(newurl).scheme not in _PORTS:
            raise HTTPError(req.full_url, code, f"redirects to {redact_url(newurl)}", headers, fp)
        if request is not None and origin_of(newurl) != origin_of(req.full_url):
            request.headers = {"Range": "bytes=0-0"}
        return request


class _Stop(HTTPRedirectHandler):
    """Follows redirects within an origin, and stops at one to another."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if origin_of(newurl) != origin_of(req.full_url):
            raise _OtherOriginError(origin_of(newurl))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _OtherOriginError(Exception):
    """A redirect to another origin."""


def origin_of(address: str) -> str:
    """Return scheme, host and port of an http(s) address.

    >>> origin_of("https://me:secret@Host/a.tif"), origin_of("http://host:8080/a.tif")
    ('https://host:443', 'http://host:8080')
    """
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS.get(parts.scheme)}"


def check_redirect(address: str) -> None:
    """Check that headers that the environment sets for GDAL stay with the origin of an address.

    GDAL, unlike this module, sends them to whatever it is redirected to.

    Raises:
        InputError: The address leads to another origin.

    """
    headers = _headers_of_gdal()
    if not headers:
        return
    request = _request(address)
    for name, value in headers.items():
        request.add_header(name, value)
    try:
        build_opener(_Stop).open(request, timeout=_PATIENCE).close()
    except _OtherOriginError as error:
        raise InputError(
            f"{redact_url(address)}: leads to {error}, and GDAL would send it the headers of GDAL_HTTP_HEADERS or "
            "GDAL_HTTP_HEADER_FILE; unset them, or give the address that it leads to"
        ) from None
    except OSError:
        return  # GDAL tries again, and says what is wrong


def _headers_of_gdal() -> dict[str, str]:
    lines = os.environ.get("GDAL_HTTP_HEADERS", "").replace("\r\n", "\n").replace(",", "\n").split("\n")
    file = os.environ.get("GDAL_HTTP_HEADER_FILE", "")
    if file and Path(file).is_file():
        lines += Path(file).read_text(encoding="utf-8").splitlines()
    pairs = [line.partition(":") for line in lines]
    return {name.strip(): value.strip() for name, colon, value in pairs if colon and name.strip()}


def version_at(address: str) -> dict[str, Any]:
    """Return the size, ETag and time of change that a server reports for an http(s) address, where it does.

    Only the first byte is requested, since signed addresses often allow nothing else. The result is empty where access
    is refused, as GDAL may have other credentials.

    Raises:
        InputError: The server does not answer.

    """
    for delay in (*_DELAYS, None):
        try:
            with _opener.open(_request(address), timeout=_PATIENCE) as answer:
                return _version(answer.headers)
        except HTTPError as error:
            if error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                return {}
            reason = str(error)
        except OSError as error:
            reason = str(error)
        if delay is not None:
            time.sleep(delay)
    raise InputError(
        f"{redact_url(address)}: its server does not answer ({redact(reason, address)}); "
        "run the same command again to continue",
        code=UNREACHABLE,
    )


def _request(address: str) -> Request:
    parts = urlsplit(address)
    login, _, host = parts.netloc.rpartition("@")
    headers = {"Range": "bytes=0-0"}
    if login:
        headers["Authorization"] = f"Basic {b64encode(unquote(login).encode()).decode()}"
    return Request(urlunsplit(parts._replace(netloc=host)), headers=headers)


def _version(headers: Mapping[str, str]) -> dict[str, Any]:
    ranged = headers.get("Content-Range", "").rpartition("/")[2]
    size = ranged or headers.get("Content-Length", "")
    version: dict[str, Any] = {"bytes": int(size) if size.isdigit() else None}
    version |= {"etag": headers.get("ETag"), "changed": headers.get("Last-Modified")}
    return {name: value for name, value in version.items() if value is not None}


_opener = build_opener(_SameOrigin)
