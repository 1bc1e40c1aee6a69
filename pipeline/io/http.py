"""Which version of a file lies at an address, asked of its server."""

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
    """Size, ETag and time of change that a server tells of what lies at an http(s) address; only what it tells.

    The first byte is asked for, since signed addresses often allow nothing else. Nothing is told where access is
    refused, as GDAL may have been given other ways in. Raises InputError where no answer comes.
    """
    for delay in (*_DELAYS, None):
        try:
            with urlopen(_request(address), timeout=_PATIENCE) as answer:
                return _told(answer.headers)
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


def _told(headers: Mapping[str, str]) -> dict[str, Any]:
    ranged = headers.get("Content-Range", "").rpartition("/")[2]
    size = ranged or headers.get("Content-Length", "")
    told: dict[str, Any] = {"bytes": int(size) if size.isdigit() else None}
    told |= {"etag": headers.get("ETag"), "changed": headers.get("Last-Modified")}
    return {name: value for name, value in told.items() if value is not None}
