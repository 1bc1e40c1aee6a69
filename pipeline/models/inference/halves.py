"""A network in two halves: what is computed cell by cell, and what belongs to a patch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor

from pipeline.models.networks.patch_head import PatchHead

Trunk = Callable[[Tensor], AbstractContextManager[tuple[Tensor, Tensor]]]
"""Gives what is valid inside the block alone: the next call may use its memory."""


@dataclass(frozen=True)
class Halves:
    """A network in two halves, for features that several patches share; both may be called from many threads."""

    trunk: Trunk
    """Image to features and the direct part of the head: `(n, c, h / output_stride, w / output_stride)` each."""
    head: PatchHead
    """A patch of both to scores `(n, classes, *patch)`, float32 or wider."""
    align_corners: bool
    """How coarse scores are resized."""
