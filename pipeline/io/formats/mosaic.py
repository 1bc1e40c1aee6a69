"""The record of mosaics: a folder or pattern of tiles that are one scene."""

from __future__ import annotations

from typing import Any

from pipeline.engine import Source
from pipeline.io.address import is_mosaic
from pipeline.io.formats.format import Format, Input, OpenOptions


def _open(item: Input, options: OpenOptions) -> Source:
    from pipeline.io.raster.mosaic import MosaicSource

    return MosaicSource(item.text, options.bands, options.onto, allow=options.allow)


def _scenes(item: Input) -> list[str]:
    from pipeline.io.raster.mosaic import tiles_of

    return tiles_of(item.text)


def _version(item: Input, series: str | None) -> dict[str, Any]:
    from pipeline.io.raster.mosaic import versions

    return versions(item.text)


def _digest(item: Input) -> str:
    return str(_version(item, None)["tiles_sha256"])


MOSAIC = Format(
    "mosaic",
    matches=is_mosaic,
    open=_open,
    kind="scene",
    takes=("bands", "onto"),
    checked=False,
    scenes=_scenes,
    version=_version,
    digest=_digest,
)
