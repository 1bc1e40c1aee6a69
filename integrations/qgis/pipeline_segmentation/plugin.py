"""The plugin: its provider, and its entry in the menu."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qgis.core import QgsApplication
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

from .algorithm import ICON
from .provider import SegmentationProvider

if TYPE_CHECKING:
    from qgis.gui import QgisInterface

    from .setup_dialog import SetUpDialog

MENU = "Segmentation (pipeline)"


class SegmentationPlugin:
    """What QGIS loads."""

    def __init__(self, iface: QgisInterface | None) -> None:
        self._iface = iface
        self._provider: SegmentationProvider | None = None
        self._action: QAction | None = None
        self._dialog: SetUpDialog | None = None

    def initProcessing(self) -> None:  # noqa: N802  (QGIS calls it)
        """Add the provider; all that `qgis_process` needs."""
        self._provider = SegmentationProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:  # noqa: N802  (QGIS calls it)
        """Add the provider and the entry of the set-up page."""
        self.initProcessing()
        if self._iface is None:
            return
        self._action = QAction(QIcon(ICON), "Set up…", self._iface.mainWindow())
        self._action.triggered.connect(self.set_up)
        self._iface.addPluginToMenu(MENU, self._action)

    def unload(self) -> None:
        """Take everything away."""
        if self._action is not None and self._iface is not None:
            self._iface.removePluginMenu(MENU, self._action)
        if self._dialog is not None:
            self._dialog.close()
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)

    def set_up(self) -> None:
        """Show the set-up page."""
        from .setup_dialog import SetUpDialog

        if self._dialog is None:
            self._dialog = SetUpDialog(self._iface.mainWindow() if self._iface else None)
        self._dialog.show()
        self._dialog.raise_()
        self._dialog.look()
