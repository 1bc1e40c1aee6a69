"""The provider of the Processing toolbox."""

from __future__ import annotations

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithm import ICON
from .mask_algorithms import AreasAlgorithm, EvaluateAlgorithm, ExportAlgorithm, PolygonsAlgorithm
from .segmenting import PlanAlgorithm, RunAlgorithm
from .settings import COMMAND

ALGORITHMS = (RunAlgorithm, PlanAlgorithm, PolygonsAlgorithm, ExportAlgorithm, AreasAlgorithm, EvaluateAlgorithm)


class SegmentationProvider(QgsProcessingProvider):
    """Algorithms that call the `pipeline` command."""

    def id(self) -> str:
        """Return its name in scripts."""
        return "pipeline"

    def name(self) -> str:
        """Return its name in the toolbox."""
        return "Segmentation (pipeline)"

    def icon(self) -> QIcon:
        """Return its icon."""
        return QIcon(ICON)

    def load(self) -> bool:
        """Add the setting to the options of Processing, and the algorithms."""
        ProcessingConfig.settingIcons[self.name()] = self.icon()
        text = "pipeline command, or the folder of its environment (empty: it is looked for)"
        ProcessingConfig.addSetting(Setting(self.name(), COMMAND, text, "", valuetype=Setting.STRING))
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        """Take the setting away."""
        ProcessingConfig.removeSetting(COMMAND)

    def loadAlgorithms(self) -> None:  # noqa: N802  (QGIS calls it)
        """Add the algorithms."""
        for kind in ALGORITHMS:
            self.addAlgorithm(kind())

    def supportsNonFileBasedOutput(self) -> bool:  # noqa: N802  (QGIS calls it)
        """Return whether outputs may be tables of databases, which the command does not write."""
        return False

    def supportedOutputRasterLayerExtensions(self) -> list[str]:  # noqa: N802  (QGIS calls it)
        """Return the suffixes of masks."""
        return ["tif"]

    def supportedOutputVectorLayerExtensions(self) -> list[str]:  # noqa: N802  (QGIS calls it)
        """Return the suffixes of polygons."""
        return ["gpkg", "geojson"]

    def supportedOutputTableExtensions(self) -> list[str]:  # noqa: N802  (QGIS calls it)
        """Return the suffixes of tables."""
        return ["csv", "gpkg", "xlsx"]
