"""Algorithms that segment a raster, or tell what that would take."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingUtils,
)

from .algorithm import Parameters, PipelineAlgorithm
from .inputs import Area, RasterFile, area_words, crs_words
from .logic.commands import Value
from .logic.results import layers_beside, plan_rows
from .styles import ClassStyle

DEFAULT_MODEL = "landcover"
MODEL_WIDGET = f"{__package__}.model_widget.ModelWidget"
"""Imported only where there is a window."""
LAYERS = ["confidence", "probabilities", "scores", "disagreement"]
TEXTS = {
    "PATCH": ("patch", "Patch size in pixels", "512, or 512,768 (height, width). Default: the model's."),
    "OVERLAP": ("overlap", "Overlap of patches in pixels", "64, or 64,96 (height, width). Default: the model's."),
    "TTA": ("tta", "Test-time augmentation", "flips or turns, and scales, e.g. flips,0.75,1.25. Default: none."),
    "SCALE": ("scale", "Scale of values", "The model sees value * scale + offset; one number or one per channel."),
    "OFFSET": ("offset", "Offset of values", "One number or one per channel."),
    "RESOLUTION": ("resolution", "Pixel size to segment at", "In CRS units. Default: that of the layer."),
    "MEMORY": ("memory", "Memory limit", "e.g. 500MiB or 2GiB. Default: no limit."),
    "DEVICE": ("device", "Device", "cpu, cuda, cuda:1 or mps. Default: a CUDA GPU if there is one."),
}
"""By parameter that is a text: the option, the title, and the help."""
CHOICES = {
    "WINDOW": ("window", "Blend window", ["the model's", "constant", "linear", "hann", "gaussian"]),
    "FEATURES": ("features", "Features of overlapping patches", ["the model's", "patch", "shared"]),
    "PRECISION": ("precision", "Precision", ["the fastest", "float32", "bfloat16", "int8"]),
    "RUNTIME": ("runtime", "Runtime", ["chosen by the size", "torch", "compiled", "openvino"]),
}
"""By parameter that is a list: the option, the title, and the entries, of which the first is the default."""


class SegmentingAlgorithm(PipelineAlgorithm):
    """What a run and its plan share."""

    def add_inputs(self) -> None:
        """Add the parameters in the upper part of the form."""
        self.add(QgsProcessingParameterRasterLayer("INPUT", "Raster to segment"))
        model = QgsProcessingParameterString("MODEL", "Model", DEFAULT_MODEL)
        model.setMetadata({"widget_wrapper": {"class": MODEL_WIDGET}})
        self.add(model, "Name of a model, or the folder of one of your own.")
        bands = QgsProcessingParameterBand("BANDS", "Bands", None, "INPUT", optional=True, allowMultiple=True)
        self.add(bands, "In the order of the model's channels. Default: those named like them, else all but alpha.")
        extent = QgsProcessingParameterExtent("EXTENT", "Area of interest: extent", optional=True)
        self.add(extent, "In any CRS. Pixels outside are neither read nor predicted.")
        kinds = [QgsProcessing.TypeVectorPolygon]
        area = QgsProcessingParameterFeatureSource("AREA", "Area of interest: polygons", kinds, optional=True)
        self.add(
            area, "Of any layer, also one in memory or of a database. Pixels outside are neither read nor predicted."
        )

    def add_advanced(self) -> None:
        """Add the parameters that are folded away."""
        for name, (_, title, told) in TEXTS.items():
            self.add(QgsProcessingParameterString(name, title, optional=True), told, advanced=True)
        for name, (_, title, entries) in CHOICES.items():
            self.add(QgsProcessingParameterEnum(name, title, entries, defaultValue=0, optional=True), advanced=True)
        self.add(QgsProcessingParameterCrs("CRS", "CRS to segment in", optional=True), advanced=True)
        workers = QgsProcessingParameterNumber("WORKERS", "Worker processes", optional=True, minValue=1)
        self.add(workers, "Default: one process.", advanced=True)

    def options(self, parameters: Parameters, file: RasterFile, context: QgsProcessingContext) -> dict[str, Value]:
        """Return the options of the command."""
        texts = {flag: self.parameterAsString(parameters, name, context).strip() for name, (flag, *_) in TEXTS.items()}
        choices = {flag: self.choice(parameters, name, context) for name, (flag, *_) in CHOICES.items()}
        given = parameters.get("WORKERS") is not None
        return {
            "input": file.path,
            "model": self.parameterAsString(parameters, "MODEL", context).strip(),
            "bands": self.parameterAsInts(parameters, "BANDS", context) if parameters.get("BANDS") else None,
            "aoi": area_words(self._area(parameters, context), file, context),
            "crs": crs_words(self.parameterAsCrs(parameters, "CRS", context)),
            "workers": self.parameterAsInt(parameters, "WORKERS", context) if given else None,
            **texts,
            **choices,
        }

    def _area(self, parameters: Parameters, context: QgsProcessingContext) -> Area:
        return Area(
            self.parameterAsExtent(parameters, "EXTENT", context),
            self.parameterAsExtentCrs(parameters, "EXTENT", context),
            self.parameterAsSource(parameters, "AREA", context),
        )

    def input_file(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> RasterFile:
        """Return the file of the raster."""
        file = self.raster(parameters, "INPUT", context, feedback)
        if file is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, "INPUT"))
        return file


class RunAlgorithm(SegmentingAlgorithm):
    """Segments a raster."""

    NAME = "run"
    TITLE = "Segment a raster"
    HELP = """Segments a raster of any size into a mask on exactly its grid, and loads it with the names and colors of
its classes.

Cancel stops the run after the current patch. Run it again with the same parameters and it goes on where it was, if the
mask is not a temporary file. What is done so far is in a folder beside the mask, whose name ends with .partial.

The area of interest is an extent in any CRS, or the polygons of a layer.

Command: pipeline run"""

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802
        """Add the parameters."""
        self.add_inputs()
        layers = QgsProcessingParameterEnum("LAYERS", "Layers to write beside the mask", LAYERS, True, optional=True)
        self.add(layers, "Rasters on the same grid.")
        self.add_advanced()
        overwrite = QgsProcessingParameterBoolean("OVERWRITE", "Replace the mask if the file exists", True)
        self.add(overwrite, advanced=True)
        restart = QgsProcessingParameterBoolean("RESTART", "Discard an unfinished run and start over", False)
        self.add(restart, advanced=True)
        self.add(QgsProcessingParameterRasterDestination("OUTPUT", "Mask"))

    def run_verb(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Segment the raster, and name and style what is loaded."""
        file = self.input_file(parameters, context, feedback)
        mask = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        chosen = self.parameterAsEnums(parameters, "LAYERS", context) if parameters.get("LAYERS") is not None else []
        layers = [LAYERS[number] for number in chosen]
        options: dict[str, Value] = {
            **self.options(parameters, file, context),
            "output": mask,
            "layers": layers,
            "overwrite": self.parameterAsBool(parameters, "OVERWRITE", context),
            "restart": self.parameterAsBool(parameters, "RESTART", context),
            "no-prefect": True,
            "progress": "json",
        }
        made = self.call("run", options, feedback)
        if not made:
            feedback.pushInfo(self._stopped(mask))
            return {}
        self._tell(made, feedback)
        self._load(mask, layers, file, context, feedback)
        return {"OUTPUT": mask}

    def _stopped(self, mask: str) -> str:
        if mask.startswith(QgsProcessingUtils.tempFolder()):
            return "Stopped. The mask is a temporary file, so the next run starts over; choose a file to go on instead"
        return f"Stopped. Run it again with the same parameters to go on: what is done so far is in {mask}.partial"

    def _tell(self, made: dict[str, Any], feedback: QgsProcessingFeedback) -> None:
        for item in made.get("items", []):
            if item.get("reason"):
                feedback.pushInfo(str(item["reason"]))
            for warning in item.get("warnings", []):
                feedback.pushWarning(str(warning.get("message", warning)))

    def _load(
        self,
        mask: str,
        layers: list[str],
        file: RasterFile,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> None:
        crs = None if file.has_own_crs else file.crs
        title = f"{file.name}: mask"
        loaded = context.willLoadLayerOnCompletion(mask)
        if loaded:
            self.name_output(context, mask, title, ClassStyle(self.classes(mask, feedback), crs))
        for name, path in layers_beside(mask, layers if loaded else []):
            details = QgsProcessingContext.LayerDetails(f"{file.name}: {name}", context.project(), "")
            context.addLayerToLoadOnCompletion(path, details)
            self.name_output(context, path, f"{file.name}: {name}", ClassStyle([], crs))


class PlanAlgorithm(SegmentingAlgorithm):
    """Tells what a run would take."""

    NAME = "plan"
    TITLE = "Plan a segmentation"
    HELP = """Tells the patches, the memory, the disk space and the time of a run before anything is done. The log has
a line for each. The time is measured on two random patches.

Command: pipeline plan"""

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802
        """Add the parameters."""
        self.add_inputs()
        self.add(QgsProcessingParameterBoolean("PROBE", "Measure the time of two patches", True))
        self.add_advanced()
        for name, title in (("PATCHES", "Patches"), ("MEMORY_BYTES", "Memory"), ("DISK_BYTES", "Disk")):
            self.addOutput(QgsProcessingOutputNumber(name, title))
        self.addOutput(QgsProcessingOutputNumber("SECONDS", "Seconds"))

    def run_verb(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Tell the plan in the log, and return its numbers."""
        file = self.input_file(parameters, context, feedback)
        probe = self.parameterAsBool(parameters, "PROBE", context)
        options = {**self.options(parameters, file, context), "probe" if probe else "no-probe": True}
        found: dict[str, Any] = next(iter(self.call("plan", options, feedback).get("items", [])), {})
        for title, value in plan_rows(found):
            feedback.pushInfo(f"{title}: {value}")
        return {name.upper(): found.get(name) for name in ("patches", "memory_bytes", "disk_bytes", "seconds")}
