"""Algorithms for masks that are there: polygons, other formats, areas, and a comparison with the truth."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureSink,
    QgsField,
    QgsFields,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProcessingUtils,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QVariant

from .algorithm import Parameters, PipelineAlgorithm, add_row
from .inputs import ZONE, RasterFile, write_polygons
from .logic.commands import Value
from .logic.results import FIGURES, class_figures, overall_figures
from .styles import ClassStyle

FORMATS = (
    "GeoTIFF (*.tif);;Zarr (*.zarr);;GeoPackage (*.gpkg);;GeoParquet (*.parquet);;GeoJSON (*.geojson);;"
    "QGIS style (*.qml);;STAC Item (*.json);;Picture (*.png);;Picture (*.webp);;Print (*.pdf);;Print (*.svg)"
)
AREA_FIELDS = {
    "zone": QVariant.String,
    "value": QVariant.Int,
    "name": QVariant.String,
    "cells": QVariant.LongLong,
    "area": QVariant.Double,
    "share": QVariant.Double,
    "unit": QVariant.String,
}
CLASS_FIELDS = {
    "value": QVariant.Int,
    "name": QVariant.String,
    "truth_cells": QVariant.LongLong,
    "predicted_cells": QVariant.LongLong,
    **dict.fromkeys(FIGURES, QVariant.Double),
}


class MaskAlgorithm(PipelineAlgorithm):
    """What algorithms for a mask share."""

    def mask(
        self, parameters: Parameters, name: str, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> RasterFile:
        """Return the file of a mask."""
        file = self.raster(parameters, name, context, feedback)
        if file is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, name))
        return file

    def add_sieve(self) -> None:
        """Add the parameter of the smallest region."""
        integer = QgsProcessingParameterNumber.Integer
        sieve = QgsProcessingParameterNumber("SIEVE", "Smallest region, in pixels", integer, 0, minValue=0)
        self.add(sieve, "Smaller ones take the class around them.")

    def table(
        self, parameters: Parameters, fields: QgsFields, context: QgsProcessingContext
    ) -> tuple[QgsFeatureSink | None, str]:
        """Return a table without geometry, and its name; None if it is not wanted."""
        kind, crs = QgsWkbTypes.NoGeometry, QgsCoordinateReferenceSystem()
        sink, name = self.parameterAsSink(parameters, "OUTPUT", context, fields, kind, crs)
        if sink is None and parameters.get("OUTPUT"):
            raise QgsProcessingException(self.invalidSinkError(parameters, "OUTPUT"))
        return sink, name


class PolygonsAlgorithm(MaskAlgorithm):
    """Makes polygons of a mask."""

    NAME = "polygons"
    TITLE = "Polygons of a mask"
    HELP = """Makes a polygon of each region of one class, with its class, its pixels and its area in square meters,
and loads them with the colors of the classes.

Command: pipeline export"""

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802
        """Add the parameters."""
        self.add(QgsProcessingParameterRasterLayer("INPUT", "Mask"))
        real = QgsProcessingParameterNumber.Double
        area = QgsProcessingParameterNumber("MIN_AREA", "Smallest polygon, in square meters", real, 0, minValue=0)
        self.add(area, "Smaller ones are left out.")
        self.add_sieve()
        simplify = QgsProcessingParameterNumber("SIMPLIFY", "How far outlines may move", real, 0, minValue=0)
        self.add(simplify, "In units of the CRS.")
        self.add(QgsProcessingParameterString("CLASS", "Only this class", optional=True))
        self.add(QgsProcessingParameterVectorDestination("OUTPUT", "Polygons", QgsProcessing.TypeVectorPolygon))

    def run_verb(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Make the polygons."""
        file = self.mask(parameters, "INPUT", context, feedback)
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        options: dict[str, Value] = {
            "output": output,
            "min-area": self.parameterAsDouble(parameters, "MIN_AREA", context) or None,
            "sieve": self.parameterAsInt(parameters, "SIEVE", context) or None,
            "simplify": self.parameterAsDouble(parameters, "SIMPLIFY", context) or None,
            "class": self.parameterAsString(parameters, "CLASS", context).strip(),
            "overwrite": True,
        }
        if not self.call("export", options, feedback, [file.path]):
            return {}
        if context.willLoadLayerOnCompletion(output):
            crs = None if file.has_own_crs else file.crs
            style = ClassStyle(self.classes(file.path, feedback), crs)
            self.name_output(context, output, f"{file.name}: polygons", style)
        return {"OUTPUT": output}


class ExportAlgorithm(MaskAlgorithm):
    """Writes a mask in another format."""

    NAME = "export"
    TITLE = "Export a mask"
    HELP = """Writes a mask as a file of another format, which the suffix names: GeoTIFF, Zarr, polygons, a picture or a
print over its image, a style, a STAC Item.

Command: pipeline export"""

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802
        """Add the parameters."""
        self.add(QgsProcessingParameterRasterLayer("INPUT", "Mask"))
        integer, real = QgsProcessingParameterNumber.Integer, QgsProcessingParameterNumber.Double
        self.add_sieve()
        self.add(QgsProcessingParameterString("CLASS", "Only this class", optional=True))
        image = QgsProcessingParameterRasterLayer("IMAGE", "Image under a picture", optional=True)
        self.add(image, "Default: the raster that the mask was made from, if it lies beside it.")
        opacity = {"optional": True, "minValue": 0, "maxValue": 1}
        self.add(QgsProcessingParameterNumber("OPACITY", "Opacity of the classes in a picture", real, **opacity))
        self.add(QgsProcessingParameterNumber("DPI", "Dots per inch of a print", integer, optional=True, minValue=1))
        self.add(QgsProcessingParameterBoolean("OVERWRITE", "Replace the file if it exists", True))
        self.add(QgsProcessingParameterFileDestination("OUTPUT", "File", FORMATS))

    def run_verb(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Write the file."""
        file = self.mask(parameters, "INPUT", context, feedback)
        image = self.raster(parameters, "IMAGE", context, feedback)
        output = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        given = {name: parameters.get(name) is not None for name in ("OPACITY", "DPI")}
        options: dict[str, Value] = {
            "output": output,
            "sieve": self.parameterAsInt(parameters, "SIEVE", context) or None,
            "class": self.parameterAsString(parameters, "CLASS", context).strip(),
            "image": None if image is None else image.path,
            "opacity": self.parameterAsDouble(parameters, "OPACITY", context) if given["OPACITY"] else None,
            "dpi": self.parameterAsInt(parameters, "DPI", context) if given["DPI"] else None,
            "overwrite": self.parameterAsBool(parameters, "OVERWRITE", context),
        }
        return {"OUTPUT": output} if self.call("export", options, feedback, [file.path]) else {}


class AreasAlgorithm(MaskAlgorithm):
    """Measures the area of each class."""

    NAME = "areas"
    TITLE = "Areas of classes"
    HELP = """Measures the area of each class of a mask on the ground, in square meters whatever the CRS; by zone, if
there are zones: the polygons of a layer in any CRS, or those that are selected. Zones of one name are one zone.

Command: pipeline areas"""

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802
        """Add the parameters."""
        self.add(QgsProcessingParameterRasterLayer("INPUT", "Mask"))
        kinds = [QgsProcessing.TypeVectorPolygon]
        self.add(QgsProcessingParameterFeatureSource("ZONES", "Zones", kinds, optional=True))
        name = QgsProcessingParameterField("NAME", "Names of the zones", None, "ZONES", optional=True)
        self.add(name, "Default: they are numbered.")
        self.add(QgsProcessingParameterFeatureSink("OUTPUT", "Areas", QgsProcessing.TypeVector))

    def run_verb(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Measure, and write the table."""
        file = self.mask(parameters, "INPUT", context, feedback)
        zones = self.parameterAsSource(parameters, "ZONES", context)
        column = next(iter(self.parameterAsFields(parameters, "NAME", context)), "")
        options: dict[str, Value] = {}
        if zones is not None:
            options = {
                "zones": write_polygons(zones, zones.sourceCrs(), context, column),
                "name": ZONE if column else None,
            }
        found = self.call("areas", options, feedback, [file.path]).get("items")
        if found is None:
            return {}
        sink, output = self.table(parameters, _fields(AREA_FIELDS), context)
        for row in found:
            add_row(sink, _feature([row.get(name) for name in AREA_FIELDS]))
        self.name_output(context, output, f"{file.name}: areas")
        return {"OUTPUT": output}


class EvaluateAlgorithm(MaskAlgorithm):
    """Compares a mask with the truth."""

    NAME = "evaluate"
    TITLE = "Evaluate a mask"
    HELP = """Compares a mask with the truth, a raster on the same grid with the same values: IoU, Dice, precision,
recall and boundary F1 of each class, as a table; their means are in the log. Pictures show the confusion matrix and the
places that are wrong.

Command: pipeline evaluate"""

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802
        """Add the parameters."""
        self.add(QgsProcessingParameterRasterLayer("INPUT", "Mask"))
        self.add(QgsProcessingParameterRasterLayer("TRUTH", "Truth"))
        ignore = QgsProcessingParameterString("IGNORE", "Values of the truth that are not counted", optional=True)
        self.add(ignore, "255, or 255,0. Default: none but nodata.")
        real = QgsProcessingParameterNumber.Double
        boundary = QgsProcessingParameterNumber("BOUNDARY", "Tolerance of outlines, in pixels", real, 3, minValue=0)
        self.add(boundary, "Of the boundary F1.")
        pictures = QgsProcessingParameterFolderDestination("PICTURES", "Pictures", None, True, False)
        self.add(pictures, "Confusion matrix, and the mask beside the truth.")
        self.add(QgsProcessingParameterFeatureSink("OUTPUT", "Figures of the classes", QgsProcessing.TypeVector))
        for name, title in (("ACCURACY", "Accuracy"), ("MEAN_IOU", "Mean IoU"), ("MEAN_DICE", "Mean Dice")):
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def run_verb(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Compare, and write the table."""
        mask = self.mask(parameters, "INPUT", context, feedback)
        truth = self.mask(parameters, "TRUTH", context, feedback)
        pictures = self.parameterAsString(parameters, "PICTURES", context) if parameters.get("PICTURES") else ""
        options: dict[str, Value] = {
            "table": _pairs(mask, truth),
            "ignore": self.parameterAsString(parameters, "IGNORE", context).strip(),
            "boundary": self.parameterAsDouble(parameters, "BOUNDARY", context),
            "pictures": self.parameterAsFileOutput(parameters, "PICTURES", context) if pictures else None,
            "progress": "json",
        }
        found = self.call("evaluate", options, feedback)
        if not found:
            return {}
        sink, output = self.table(parameters, _fields(CLASS_FIELDS), context)
        for row in class_figures(found):
            add_row(sink, _feature(row))
        self.name_output(context, output, f"{mask.name}: figures")
        figures = overall_figures(found)
        for name, value in figures.items():
            feedback.pushInfo(f"{name.replace('_', ' ')}: {value:.3f}")
        return {"OUTPUT": output, **{name.upper(): value for name, value in figures.items()}}


def _pairs(mask: RasterFile, truth: RasterFile) -> str:
    """Write the table of what is compared: in `--truth`, braces of a path would stand for something else."""
    path = Path(QgsProcessingUtils.generateTempFilename("pairs.csv"))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("prediction", "truth"), (mask.path, truth.path)])
    return str(path)


def _fields(kinds: dict[str, Any]) -> QgsFields:
    fields = QgsFields()
    for name, kind in kinds.items():
        fields.append(QgsField(name, kind))
    return fields


def _feature(values: list[Any]) -> QgsFeature:
    feature = QgsFeature()
    feature.setAttributes(values)
    return feature
