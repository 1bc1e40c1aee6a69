"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

from pipeline.models.inference.numerics import Numerics

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
_LARGE = 1 << 17
"""Bytes from which on a block is returned to the system when it is freed."""


def spare_memory(numerics: Numerics) -> None:
    """Return what lies free before a sweep, and during it, if the network has memory of its own, as OpenVINO's do.

    Torch asks for the values of each layer anew, and would take 15 % longer.
    """
    return_free_pages()
    if numerics.runtime == "openvino":
        return_large_blocks()


@cache
def return_large_blocks() -> None:
    """Have glibc return large blocks to the system as soon as they are freed, in the whole process.

    By itself it keeps blocks of up to 32 MiB once it has seen some, for each thread apart, with what is small and stays
    between them: 300 MiB that nothing used in a run on two threads. Blocks of GDAL's cache have 256 KiB.

    What the user sets by `MALLOC_MMAP_THRESHOLD_` or `GLIBC_TUNABLES` stays; other libraries than glibc are left alone.
    """
    chosen = "MALLOC_MMAP_THRESHOLD_" in os.environ or "mmap_threshold" in os.environ.get("GLIBC_TUNABLES", "")
    if not chosen and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


def return_free_pages() -> None:
    """Have glibc return the pages that are free between blocks in use: what was imported, loaded and tried is done."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
