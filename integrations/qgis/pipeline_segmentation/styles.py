"""Names and colors of classes, put on layers when they are loaded."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsMapLayer,
    QgsPalettedRasterRenderer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsRasterLayer,
    QgsRendererCategory,
    QgsSymbol,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

from .logic.results import MaskClass

_BAND = 1
_kept: list[ClassStyle] = []


class ClassStyle(QgsProcessingLayerPostProcessorInterface):
    """Gives a layer the names and colors of classes."""

    def __init__(self, classes: Sequence[MaskClass], crs: QgsCoordinateReferenceSystem | None = None) -> None:
        super().__init__()
        self._classes, self._crs = tuple(classes), crs

    def kept(self) -> ClassStyle:
        """Return itself, alive until QGIS ends: QGIS calls it after the algorithm is gone, and does not own it."""
        _kept.append(self)
        return self

    def postProcessLayer(  # noqa: N802  (QGIS calls it)
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        """Set the renderer; of a mask whose file has no CRS, also that of the layer it was made from."""
        if self._crs is not None:
            layer.setCrs(self._crs)
        if isinstance(layer, QgsRasterLayer) and self._classes:
            layer.setRenderer(paletted(layer, self._classes))
        elif isinstance(layer, QgsVectorLayer) and self._classes:
            layer.setRenderer(categorized(layer, self._classes))
        layer.triggerRepaint()


def paletted(layer: QgsRasterLayer, classes: Sequence[MaskClass]) -> QgsPalettedRasterRenderer:
    """Return the renderer of a mask."""
    entries = [QgsPalettedRasterRenderer.Class(each.value, QColor(*each.color), each.name) for each in classes]
    return QgsPalettedRasterRenderer(layer.dataProvider(), _BAND, entries)


def categorized(layer: QgsVectorLayer, classes: Sequence[MaskClass]) -> QgsCategorizedSymbolRenderer:
    """Return the renderer of a mask's polygons."""
    categories = [QgsRendererCategory(each.value, _symbol(layer, each), each.name) for each in classes]
    return QgsCategorizedSymbolRenderer("value", categories)


def _symbol(layer: QgsVectorLayer, entry: MaskClass) -> QgsSymbol:
    symbol = QgsSymbol.defaultSymbol(layer.geometryType())
    symbol.setColor(QColor(*entry.color))
    return symbol
