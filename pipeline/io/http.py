"""The version of a file at an http(s) address, as its server reports it."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from pipeline.errors import UNREACHABLE, InputError
from pipeline.io.address import redact, redact_url

_DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait before each further try."""
_PATIENCE = 20.0
"""Seconds for an answer."""


def version_at(address: str) -> dict[str, Any]:
    """Return the size, ETag and time of change that a server reports for an http(s) address, where it does.

    Only the first byte is requested, since signed addresses often allow nothing else. The result is empty where access
    is refused, as GDAL may have other credentials.

    Raises:
        InputError: The server does not answer.

    """
    for delay in (*_DELAYS, None):
        try:
            with urlopen(_request(address), timeout=_PATIENCE) as answer:
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
