"""Layers and areas of QGIS as files and words for the command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsFeatureSource,
    QgsField,
    QgsFields,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsRasterFileWriter,
    QgsRasterLayer,
    QgsRasterPipe,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QVariant

from .logic.commands import box_text
from .logic.errors import LayerError
from .logic.layers import file_of, open_options

ZONE = "zone"
"""Column with the names of zones in the files that are written here."""


@dataclass(frozen=True)
class RasterFile:
    """A raster layer, as the command reads it."""

    path: str
    name: str
    crs: QgsCoordinateReferenceSystem
    """That of the layer, which the user may have set."""
    own_crs: QgsCoordinateReferenceSystem
    """That in the file, which the command takes."""

    @property
    def has_own_crs(self) -> bool:
        """Whether the layer has the CRS of its file."""
        return self.crs == self.own_crs


def raster_file(layer: QgsRasterLayer, feedback: QgsProcessingFeedback) -> RasterFile:
    """Return the file of a raster layer; one in QGIS' memory, or computed by QGIS, is saved first.

    Raises:
        LayerError: If the command cannot read it.

    """
    provider = layer.dataProvider()
    path = file_of(provider.name(), layer.source(), layer.name())
    if path is None:
        path = _saved(layer, feedback)
    elif open_options(layer.source()):
        feedback.pushWarning(f"{layer.name()}: is read without its open options {open_options(layer.source())}")
    file = RasterFile(path, layer.name(), layer.crs(), provider.crs())
    if not file.has_own_crs:
        feedback.pushWarning(_crs_words(file))
    return file


def _crs_words(file: RasterFile) -> str:
    own = file.own_crs.userFriendlyIdentifier() if file.own_crs.isValid() else "none"
    return (
        f"{file.name}: the layer's CRS is {file.crs.userFriendlyIdentifier()}, but that in its file is {own}; "
        "files that are made have that of the file, and the loaded mask gets that of the layer"
    )


def _saved(layer: QgsRasterLayer, feedback: QgsProcessingFeedback) -> str:
    """Save the values of a layer that has no file as a temporary GeoTIFF."""
    provider = layer.dataProvider()
    if provider.xSize() < 1 or provider.ySize() < 1:
        raise LayerError(f"the layer {layer.name()} has no pixels of its own; save it as a GeoTIFF and take that layer")
    path = QgsProcessingUtils.generateTempFilename("layer.tif")
    feedback.pushInfo(f"{layer.name()}: has no file that another program can read, and is saved as {path}")
    pipe = QgsRasterPipe()
    pipe.set(provider.clone())
    writer = QgsRasterFileWriter(path)
    error = writer.writeRaster(pipe, provider.xSize(), provider.ySize(), provider.extent(), layer.crs())
    if error != QgsRasterFileWriter.NoError:
        raise LayerError(f"the layer {layer.name()} cannot be saved as {path} (error {int(error)})")
    return path


@dataclass(frozen=True)
class Area:
    """A part of the map: a box, or polygons; at most one of them is given."""

    box: QgsRectangle
    box_crs: QgsCoordinateReferenceSystem
    polygons: QgsFeatureSource | None


def area_words(area: Area, file: RasterFile, context: QgsProcessingContext) -> str:
    """Return an area of interest as `--aoi` takes it; empty: none is given.

    Raises:
        LayerError: If box and polygons are given, or the polygons are none.

    """
    if area.polygons is not None and not area.box.isNull():
        raise LayerError("the area of interest is given twice: leave out the extent or the polygons")
    if area.polygons is not None:
        return _polygon_file(area.polygons, file, context)
    return "" if area.box.isNull() else _box_words(area.box, area.box_crs, file, context)


def _box_words(
    box: QgsRectangle, crs: QgsCoordinateReferenceSystem, file: RasterFile, context: QgsProcessingContext
) -> str:
    known = crs if crs.isValid() else file.crs
    if not file.has_own_crs:
        box = QgsCoordinateTransform(known, file.crs, context.transformContext()).transformBoundingBox(box)
        known = file.own_crs
    return box_text(box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum(), crs_words(known))


def crs_words(crs: QgsCoordinateReferenceSystem) -> str:
    """Return a CRS in words without commas: its code, or its PROJ string if it has none; empty: it is not valid."""
    own = crs.authid().startswith(("USER:", "CUSTOM:"))
    return crs.toProj() if own or not crs.authid() else crs.authid()


def _polygon_file(source: QgsFeatureSource, file: RasterFile, context: QgsProcessingContext) -> str:
    """Write polygons in their own CRS, or, if the layer's is not that of its file, as the file's own coordinates."""
    if file.has_own_crs or not source.sourceCrs().isValid():
        return write_polygons(source, source.sourceCrs(), context)
    transform = QgsCoordinateTransform(source.sourceCrs(), file.crs, context.transformContext())

    def place(geometry: QgsGeometry) -> QgsGeometry:
        geometry.transform(transform)
        return geometry

    return write_polygons(source, file.own_crs, context, place=place)


def write_polygons(
    source: QgsFeatureSource,
    crs: QgsCoordinateReferenceSystem,
    context: QgsProcessingContext,
    column: str = "",
    place: Callable[[QgsGeometry], QgsGeometry] = lambda geometry: geometry,
) -> str:
    """Write the polygons of a layer, of any provider, to a temporary GeoPackage.

    Args:
        source: The layer, or what is selected in it.
        crs: CRS that is written.
        context: Context of the algorithm.
        column: Column that becomes `ZONE`; empty: none does.
        place: Called with each geometry.

    Raises:
        LayerError: If there is no polygon.

    """
    path = QgsProcessingUtils.generateTempFilename("polygons.gpkg")
    fields = QgsFields()
    if column:
        fields.append(QgsField(ZONE, QVariant.String))
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    kind = QgsWkbTypes.MultiPolygon
    writer = QgsVectorFileWriter.create(path, fields, kind, crs, context.transformContext(), options)
    count = sum(_write(writer, fields, feature, column, place) for feature in source.getFeatures())
    problem = writer.errorMessage()
    del writer
    if problem:
        raise LayerError(f"{source.sourceName()}: its polygons cannot be written: {problem}")
    if not count:
        raise LayerError(f"{source.sourceName()}: has no polygons, or none is selected")
    return path


def _write(
    writer: QgsVectorFileWriter,
    fields: QgsFields,
    feature: QgsFeature,
    column: str,
    place: Callable[[QgsGeometry], QgsGeometry],
) -> bool:
    """Write a feature as polygons without curves, and return whether it has any."""
    if not feature.hasGeometry() or feature.geometry().type() != QgsWkbTypes.PolygonGeometry:
        return False
    geometry = QgsGeometry(feature.geometry().constGet().segmentize())
    geometry.convertToMultiType()
    written = QgsFeature(fields)
    written.setGeometry(place(geometry))
    if column:
        written.setAttribute(ZONE, str(feature[column]))
    return bool(writer.addFeature(written))
