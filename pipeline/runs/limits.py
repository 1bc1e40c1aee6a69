"""Check what a run would take of this machine before anything is written: headers may claim any size."""

from __future__ import annotations

import shutil
from math import prod
from pathlib import Path

import psutil

from pipeline.errors import InputError, size_text
from pipeline.models.card import Card

MAX_CELLS, MAX_SIDE = 1 << 43, 1 << 27
"""Cells of an input, and of a side: more than the Earth has in pixels of 10 m, and its equator of 1 m."""
_PACKED = 1000
"""How much compression may shrink labels, generously."""
_LOOK = "check the header with `pipeline info`"


def check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Raise InputError if an input is larger than any real one."""
    if max(shape) > MAX_SIDE or prod(shape) > MAX_CELLS:
        sides = " x ".join(f"{side:,}" for side in shape)
        raise InputError(
            f"{name}: has {sides} cells; the most is {MAX_SIDE:,} along a side and {MAX_CELLS:,} in all; {_LOOK}",
            code="unsuitable",
        )


def check_held(name: str, held: int, budget: int | None) -> None:
    """Raise InputError if a block of the file alone, `held` bytes, needs more than the `budget` or this machine has."""
    there = psutil.virtual_memory().total
    if held > min(there, budget or there):
        most = f"--memory allows {size_text(budget)}" if budget else f"this machine has {size_text(there)}"
        raise InputError(
            f"{name}: is stored in blocks so large that reading one takes {size_text(held)}, but {most}; "
            "rewrite it in tiles first, e.g. with `gdal_translate -co TILED=YES -co COMPRESS=DEFLATE`, or allow more",
            code="unsuitable",
        )


def check_patch(name: str, patch: tuple[int, int], card: Card, spacing: tuple[float, float] | None) -> None:
    """Raise InputError if a single patch, as input and as scores, needs more memory than this machine has.

    Args:
        name: Name of the input.
        patch: Height and width in cells of the input.
        card: Card of the model.
        spacing: Height and width of these cells in units of the model's spacing, if it has one.

    """
    needed, there = 4 * (card.network.in_channels + card.network.classes) * prod(patch), psutil.virtual_memory().total
    if max(patch) <= MAX_SIDE and needed <= there:
        return
    cause = f"{_LOOK}, or give a smaller --patch"
    if card.spacing is not None and spacing is not None:
        sides = (" x ".join(f"{side:.4g}" for side in sides) for sides in (card.spacing, spacing))
        cause = "the model works at pixels of {}, and these are {}; ".format(*sides) + cause
    raise InputError(
        f"{name}: a patch would have {patch[0]:,} x {patch[1]:,} cells and need {size_text(needed)}, but this "
        f"machine has {size_text(there)}: {cause}",
        code="unsuitable",
    )


def check_space(name: str, labels: int, memory: int, output: Path, *, cut: bool) -> None:
    """Raise InputError if the sweep needs more memory, or the labels more disk space, than there is.

    Args:
        name: Name of the input.
        labels: Bytes of the uncompressed labels.
        memory: Bytes that the sweep needs for whole rows.
        output: File to write.
        cut: Whether rows will be cut into strips, which need less memory.

    """
    there = psutil.virtual_memory().total
    if memory > there and not cut:
        raise InputError(
            f"{name}: its rows are so wide that the sweep needs {size_text(memory)}, but this machine has "
            f"{size_text(there)}; cut them into strips with --memory 2GiB, or {_LOOK}",
            code="unsuitable",
        )
    free = shutil.disk_usage(next(folder for folder in output.absolute().parents if folder.is_dir())).free
    if labels > free * _PACKED:
        raise InputError(
            f"{name}: its labels take {size_text(labels)} uncompressed, but only {size_text(free)} are "
            f"free for {output}; free some space, or {_LOOK}",
            code="unsuitable",
        )
