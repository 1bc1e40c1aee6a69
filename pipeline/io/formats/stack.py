"""The record of stacks: several rasters that are the bands of one scene."""

from __future__ import annotations

from pipeline.engine import Source
from pipeline.io.address import is_stack, parts_of_stack
from pipeline.io.formats.format import Format, Input, OpenOptions


def _open(item: Input, options: OpenOptions) -> Source:
    from pipeline.io.raster.stack import StackSource

    return StackSource(item.text, options.bands, options.allow)


STACK = Format(
    "stack", matches=is_stack, open=_open, kind="scene", takes=("bands",), checked=False, parts=parts_of_stack
)
