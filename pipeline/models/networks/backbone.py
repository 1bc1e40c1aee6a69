"""The part of a PSPNet before its pyramid: which backbone, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from pipeline.models.spec import PSPNetSpec


@dataclass(frozen=True)
class Backbone:
    """Modules that turn an image `(n, in_channels, h, w)` into features `(n, channels[-1], h / stride, w / stride)`."""

    stem: nn.Module
    layers: tuple[nn.Module, ...]
    """To be run one after the other, behind the stem."""
    channels: tuple[int, ...]
    """Output channels of each layer."""
    strides: tuple[int, ...]
    """Input pixels per output pixel of each layer."""
    tap: int
    """The layer that the auxiliary head reads."""

    def until(self, stride: int) -> Backbone:
        """The same without the layers that are coarser than `stride`."""
        count = sum(reached <= stride for reached in self.strides)
        return Backbone(
            self.stem, self.layers[:count], self.channels[:count], self.strides[:count], min(self.tap, count - 1)
        )


def undilated(spec: PSPNetSpec) -> int:
    """The stride from which on a backbone of `spec` is dilated: its output stride, or none for a truncated one."""
    return 32 if spec.truncated else spec.output_stride
