"""A network in two halves: what is computed cell by cell, and what belongs to a patch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pipeline.models.networks.patch_head import PatchHead

Trunk = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Halves:
    """A network in two halves, for features that several patches share; both may be called from many threads."""

    trunk: Trunk
    """Image to features and the direct part of the head: `(n, c, h / output_stride, w / output_stride)` each."""
    head: PatchHead
    """A patch of both to scores `(n, classes, *patch)`, float32 or wider."""
    align_corners: bool
    """How coarse scores are resized."""
