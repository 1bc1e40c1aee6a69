"""A provider of QGIS Processing that calls the `pipeline` command in its own environment.

Nothing here imports torch or the package `pipeline`: QGIS' Python has neither. Modules in `logic` do not import QGIS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qgis.gui import QgisInterface

    from .plugin import SegmentationPlugin


def classFactory(iface: QgisInterface | None) -> SegmentationPlugin:  # noqa: N802  (QGIS calls it)
    """Return the plugin; QGIS calls this when it loads it."""
    from .plugin import SegmentationPlugin

    return SegmentationPlugin(iface)
