"""GDAL's settings: a bounded cache, no network for files, options for addresses, and errors that name the file."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import rasterio
from rasterio._env import set_gdal_config
from rasterio._err import CPLE_BaseError
from rasterio._path import _parse_path, _vsi_path
from rasterio.env import hasenv
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.session import DummySession, Session

from pipeline.errors import UNREACHABLE, InputError, OutputError
from pipeline.files.signatures import RASTERS, unlike
from pipeline.io.address import is_remote, redact, redact_url
from pipeline.io.clouds import NAMES, Azure, Google
from pipeline.io.places import is_on_a_server, scheme_of
from pipeline.io.raster.drivers import SERVICES, gdal_name

CACHE = 16 << 20
"""Bytes of GDAL's block cache: reads are aligned to blocks, so that a larger one would hold what is not read again."""

_ERRORS = (RasterioError, CRSError, CPLE_BaseError)
_REMOTE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": 5,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_LOW_SPEED_TIME": 60,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
}
"""Of addresses, unless the environment says otherwise: six tries of each request, with longer and longer delays, of
some 20 s in all; a server that says nothing for a minute counts as one that fails."""

_NO_NETWORK = {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none"}
"""Of files: GDAL's file systems for servers find nothing but this name."""

_KEYS = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"})

_ANSWER = re.compile(r"(HTTP|CURL) (error|response)[^-]*")
_REFUSED = re.compile(r"code: 4(?!08|29)\d\d")
"""Answers of a server that another try does not change."""
_NOT_ALLOWED = re.compile(r"code: 40[13]")


@cache
def configure() -> None:
    """Set up GDAL for this process, the first time that a file is opened: its cache, drivers, warnings, their words.

    Drivers of services are not registered, and Python code in VRTs is not run, whatever the environment says.
    """
    # The cache is one for the whole process: given to rasterio.Env by each thread, threads would undo each other's
    # limit. rasterio counts it in bytes, the environment variable (which is left to rule) in megabytes.
    if "GDAL_CACHEMAX" not in os.environ:
        set_gdal_config("GDAL_CACHEMAX", CACHE)
    set_gdal_config("GDAL_SKIP", f"{os.environ.get('GDAL_SKIP', '')} {SERVICES}".strip())
    set_gdal_config("GDAL_VRT_ENABLE_PYTHON", "NO")
    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
    for name in ("rasterio._err", "rasterio._env"):
        logging.getLogger(name).addFilter(_RedactingFilter())


def drivers() -> tuple[str, ...]:
    """Return the drivers that GDAL has here, without those that are never used."""
    configure()
    with rasterio.Env() as environment:
        return tuple(environment.drivers())


def gdal_version() -> str:
    """Return the version of GDAL."""
    return str(rasterio.__gdal_version__)


@contextmanager
def reading(address: str, part: str = "", *, network: bool = False) -> Iterator[None]:
    """Set up GDAL to read a file or `address`.

    Nothing is requested from a server for a file, unless `network` says so, nor are credentials of AWS prepared, which
    takes as long as to read a patch. At an address no sidecar files are looked for, so a mask in a `.msk` is only found
    for local files.

    Raises:
        InputError: GDAL failed; the message names the address and the `part` of it.

    """
    configure()
    remote = is_remote(address)
    said = _options(address) if remote else {}
    asks = network or is_on_a_server(address)
    said |= {} if asks else _NO_NETWORK
    try:
        with rasterio.Env(_session() if asks else DummySession(), **said):
            yield
    except _ERRORS as error:
        reason = "; ".join((redact(str(error.__cause__ or error), address), *_answers(address)))
        fault = f"{redact_url(address)}{part}: GDAL cannot read it ({reason})"
        if not remote and (kind := unlike(Path(address), *RASTERS)):
            raise InputError(f"{address}: {kind}") from None
        if not remote:
            raise InputError(f"{fault}; try `gdalinfo -checksum` on the file") from error
        code = "unreadable" if _REFUSED.search(reason) else UNREACHABLE
        raise InputError(f"{fault}; {_way_out(address, reason)}", code) from (
            error if redact_url(address) == address else None
        )


def _way_out(address: str, reason: str) -> str:
    names = NAMES.get(scheme_of(address)) if _NOT_ALLOWED.search(reason) else None
    return "check the address, your access and the network" if names is None else f"check the address, and {names}"


def _session() -> Session | None:
    """Return the credentials of AWS in the environment, prepared once; None leaves it to rasterio to find others.

    Those of a `rasterio.Env` around this count more, so they are left to it, too.
    """
    said = tuple((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    return None if hasenv() or not dict(said).keys() >= _KEYS else _prepared(said)


@lru_cache(maxsize=1)
def _prepared(said: tuple[tuple[str, str], ...]) -> Session:
    """Return the session for an environment: with boto3, making it takes as long as reading a patch."""
    session: Session = Session.from_environ()
    return session


def _options(address: str) -> dict[str, Any]:
    """Options for an address: nothing of it is remembered beyond a handle, or what was cut short would stay so."""
    options = {**_REMOTE, "CPL_VSIL_CURL_NON_CACHED": _vsi_path(_parse_path(gdal_name(address)))}
    if "GDAL_HTTP_BEARER" in os.environ and address.removeprefix("/vsicurl/").startswith(("http://", "https://")):
        options["GDAL_HTTP_AUTH"] = "BEARER"  # without it GDAL does not send the token
    if gdal_name(address).startswith("/vsis3/"):
        options |= _endpoint(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", ""))
    return {name: value for name, value in options.items() if name not in os.environ} | _account(address)


def _account(address: str) -> dict[str, str]:
    """GDAL's options for who asks Azure or Google, said in whatever words of the environment."""
    name = gdal_name(address)
    if name.startswith("/vsiaz/"):
        return _azure(address, Azure.said_in(os.environ))
    return _google(Google.said_in(os.environ)) if name.startswith("/vsigs/") else {}


def _azure(address: str, there: Azure) -> dict[str, str]:
    if not there.account:
        raise InputError(
            f"{address}: no account of Azure is set; set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or "
            "AZURE_STORAGE_CONNECTION_STRING"
        )
    if (there.key or there.signature) and not there.unsigned:
        return {"AZURE_STORAGE_CONNECTION_STRING": there.string}
    named = {"AZURE_STORAGE_ACCOUNT": there.account, "AZURE_NO_SIGN_REQUEST": "YES" if there.unsigned else ""}
    return {name: value for name, value in named.items() if value}


def _google(there: Google) -> dict[str, str]:
    named = {
        "CPL_GS_ENDPOINT": there.endpoint and f"{there.endpoint}/",
        "GOOGLE_APPLICATION_CREDENTIALS": there.file,
        "GDAL_HTTP_HEADERS": there.token and f"Authorization: Bearer {there.token}",
        "GS_NO_SIGN_REQUEST": "YES" if there.unsigned or there.token else "",
    }
    return {name: value for name, value in named.items() if value}


def _endpoint(address: str) -> dict[str, str]:
    """GDAL's options for the server of S3 at an address."""
    scheme, _, host = address.rstrip("/").rpartition("://")
    if not host or "AWS_S3_ENDPOINT" in os.environ:
        return {}
    secure = "NO" if scheme == "http" else "YES"
    return {"AWS_S3_ENDPOINT": host, "AWS_HTTPS": secure, "AWS_VIRTUAL_HOSTING": "FALSE"}


class _RedactingFilter(logging.Filter):
    """Redacts GDAL's warnings, and keeps the last of them, but for those of skipped drivers that this GDAL lacks."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        _warned.append(record.msg)
        return "GDAL_SKIP" not in record.msg


_warned: deque[str] = deque(maxlen=100)
"""GDAL retries by itself, and in the end reports that it failed, but not the last answer."""


def _answers(address: str) -> list[str]:
    """Return the last answer of a server, if GDAL warned of it: one text or none."""
    place = redact_url(address).removeprefix("/vsicurl/")
    return [found[0].strip() for text in _warned if place in text and (found := _ANSWER.search(text))][-1:]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Set up GDAL to write with all cores.

    Raises:
        OutputError: GDAL failed; the message names `path`.

    """
    configure()
    try:
        with rasterio.Env(DummySession(), GDAL_NUM_THREADS="ALL_CPUS"):
            yield
    except _ERRORS as error:
        raise OutputError(
            f"{path}: GDAL cannot write it ({error}); is the disk full, or the folder read-only?"
        ) from error
