"""How GDAL is used here: its cache bounded, its options by address, its errors by file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio._env import set_gdal_config
from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError

from pipeline.errors import InputError, OutputError

CACHE = 32 << 20
"""Bytes of GDAL's block cache: reads are aligned to blocks, so that a larger one would hold what is not read again."""

_ERRORS = (RasterioError, CRSError, CPLE_BaseError)
_REMOTE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_MAX_RETRY": 5, "GDAL_HTTP_RETRY_DELAY": 0.5}

# The cache is one for the whole process: given to rasterio.Env by each thread, threads would undo each other's limit.
# rasterio counts it in bytes, the environment variable (which is left to rule) in megabytes.
if "GDAL_CACHEMAX" not in os.environ:
    set_gdal_config("GDAL_CACHEMAX", CACHE)

warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


@contextmanager
def reading(address: str, part: str = "") -> Iterator[None]:
    """GDAL set to read a file or `address`; its errors become InputError that names it, and the `part` of it.

    At an address no other files are looked for beside it, so that a mask in a `.msk` is seen of local files only.
    """
    remote = "://" in address or address.startswith("/vsi")
    try:
        with rasterio.Env(**(_REMOTE if remote else {})):
            yield
    except _ERRORS as error:
        reason = error.__cause__ or error
        raise InputError(
            f"{address}{part}: GDAL cannot read it ({reason}); try `gdalinfo -checksum` on the file"
        ) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """GDAL set to write, with all cores; its errors become OutputError that names `path`."""
    try:
        with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"):
            yield
    except _ERRORS as error:
        raise OutputError(f"{path}: GDAL cannot write it ({error}); is there room, and may you write there?") from error
