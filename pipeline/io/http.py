"""Files at http(s) addresses: their versions, as servers report them, and ranges of their bytes.

Credentials go to no other server than the one that was named.
"""

from __future__ import annotations

import os
import time
from base64 import b64encode
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, IncompleteRead
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pipeline.errors import UNREACHABLE, InputError, RemoteError
from pipeline.io.address import redact, redact_url
from pipeline.io.ranges import Version, changed

_DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait before each further try."""
_PATIENCE = 20.0
"""Seconds for an answer."""
_PORTS = {"http": 80, "https": 443}
_KEPT = ("Range", "If-match")
"""Headers that are sent on to another origin, as the library writes them."""
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_OTHER = (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
"""Answers to a range of a version that is not there any more."""
_WEAK = "W/"
"""Prefix of an ETag by which a server does not tell bytes apart: it would refuse every range."""
_IN_PATHS = "/%:@!$&'()*+,;=~"
"""What stays as it is in the path of an address; spaces and letters beyond ASCII are written as the network needs."""


class _SameOrigin(HTTPRedirectHandler):
    """Follows a redirect to another origin without credentials, and only by http and https."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if urlsplit(newurl).scheme not in _PORTS:
            raise HTTPError(req.full_url, code, f"redirects to {redact_url(newurl)}", headers, fp)
        if request is not None and origin_of(newurl) != origin_of(req.full_url):
            request.headers = {name: value for name, value in request.headers.items() if name in _KEPT}
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
    try:
        with _opened(_request(address)) as answer:
            return _version(answer.headers)
    except HTTPError as error:
        error.close()
        if error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return {}
        raise _unanswered(address, str(error)) from None
    except OSError as error:
        raise _unanswered(address, str(error)) from None


class HttpRanges:
    """A file at an http(s) address, as `pipeline.io.ranges.Ranges`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def version(self) -> Version:
        """Ask for the first byte, since signed addresses often allow nothing else."""
        try:
            with self._answer(0, 1) as answer:
                self._check_ranged(answer)
                return _whole(answer.headers)
        except HTTPError as error:
            error.close()
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return _whole(error.headers)
            raise self._refused(error) from None

    def read(self, version: Version, start: int, stop: int) -> bytes:
        """Return bytes of a version: the server is told which, and its answer is compared, too."""
        for delay in (*_DELAYS, None):
            try:
                return self._part(version, start, stop)
            except HTTPError as error:
                error.close()
                if error.code in _OTHER:
                    raise self._changed(version) from None
                raise self._refused(error) from None
            except (OSError, HTTPException) as error:
                if delay is None:
                    raise _unanswered(self._address, str(error)) from None
                time.sleep(delay)
        raise AssertionError  # the last try returns or raises

    def _part(self, version: Version, start: int, stop: int) -> bytes:
        with self._answer(start, stop, version.tag) as answer:
            self._check_ranged(answer)
            if difference := version.difference(_whole(answer.headers)):
                raise changed(redact_url(self._address), difference)
            content = answer.read()
        if len(content) != stop - start:
            raise IncompleteRead(content, stop - start - len(content))
        return bytes(content)

    def _answer(self, start: int, stop: int, tag: str = "") -> Any:  # noqa: ANN401  (an answer of urllib)
        request = _request(self._address, start, stop)
        if tag and not tag.startswith(_WEAK):
            request.add_header("If-Match", tag)
        try:
            return _opened(request)
        except HTTPError:
            raise
        except (OSError, HTTPException) as error:
            raise _unanswered(self._address, str(error)) from None

    def _check_ranged(self, answer: Any) -> None:  # noqa: ANN401
        if answer.status != HTTPStatus.PARTIAL_CONTENT and answer.headers.get("Content-Length") != "0":
            raise RemoteError(
                f"{redact_url(self._address)}: its server sends files as a whole only (it answers a range request with "
                f"{answer.status}, not 206); download it first, e.g. with `curl -LO`",
                "unsuitable",
            )

    def _changed(self, version: Version) -> RemoteError:
        return changed(redact_url(self._address), version.difference(self.version()))

    def _refused(self, error: HTTPError) -> RemoteError:
        place = redact_url(self._address)
        if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            return RemoteError(f"{place}: there is no such file on the server ({error.code}); correct the address")
        if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return RemoteError(
                f"{place}: the server refuses access ({error.code}); see 'Credentials' in the documentation of remote "
                "inputs, or renew the signature of the address",
                UNREACHABLE,
            )
        return _unanswered(self._address, str(error))


def _opened(request: Request) -> Any:  # noqa: ANN401  (an answer of urllib)
    """Open an address, again where its server fails.

    Raises:
        HTTPError: It refuses, or fails each time.
        OSError: It does not answer.

    """
    for delay in _DELAYS:
        try:
            return _opener.open(request, timeout=_PATIENCE)
        except HTTPError as error:
            if error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in _PASSING:
                raise
            error.close()
        except (OSError, HTTPException):
            pass
        time.sleep(delay)
    return _opener.open(request, timeout=_PATIENCE)


def _unanswered(address: str, reason: str) -> RemoteError:
    return RemoteError(
        f"{redact_url(address)}: its server does not answer ({redact(reason, address)}); "
        "run the same command again to continue",
        code=UNREACHABLE,
    )


def _request(address: str, start: int = 0, stop: int = 1) -> Request:
    parts = urlsplit(address)
    host, path = parts.netloc.rpartition("@")[2], quote(parts.path, safe=_IN_PATHS)
    headers = {**headers_for(address), "Range": f"bytes={start}-{stop - 1}"}
    return Request(urlunsplit(parts._replace(netloc=host, path=path)), headers=headers)


def headers_for(address: str) -> dict[str, str]:
    """Return what gives access to an address: its own user and password, or what the environment sets for GDAL."""
    return {**_headers_of_gdal(), **_login(unquote(urlsplit(address).netloc.rpartition("@")[0]))}


def _login(login: str) -> dict[str, str]:
    token = os.environ.get("GDAL_HTTP_BEARER", "")
    if token and not login and os.environ.get("GDAL_HTTP_AUTH", "BEARER") == "BEARER":
        return {"Authorization": f"Bearer {token}"}
    login = login or os.environ.get("GDAL_HTTP_USERPWD", "")
    return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}


def _version(headers: Message) -> dict[str, Any]:
    ranged = headers.get("Content-Range", "").rpartition("/")[2]
    size = ranged or headers.get("Content-Length", "")
    version: dict[str, Any] = {"bytes": int(size) if size.isdigit() else None}
    version |= {"etag": headers.get("ETag"), "changed": headers.get("Last-Modified")}
    return {name: value for name, value in version.items() if value is not None}


def _whole(headers: Message) -> Version:
    said = _version(headers)
    return Version(said.get("bytes", 0), said.get("etag", ""), said.get("changed", ""))


_opener = build_opener(_SameOrigin)
