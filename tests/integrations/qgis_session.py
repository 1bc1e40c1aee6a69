"""What is done in QGIS' window, by QGIS' own Python: `qgis --code` runs this, without an import of the project.

Paths are in the JSON file that the variable SESSION names; what is seen is written beside it, as `seen.json`.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path

import processing
from osgeo import gdal
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QApplication, QMessageBox
from qgis.utils import iface, plugins

SESSION = Path(os.environ["SESSION"])
GIVEN = json.loads(SESSION.read_text(encoding="utf-8"))
FOLDER = SESSION.parent
SCENE, MODEL = GIVEN["scene"], GIVEN["model"]
seen: dict[str, object] = {"exceptions": []}
sys.excepthook = lambda *raised: seen["exceptions"].append("".join(traceback.format_exception(*raised)))


def wait(until, seconds: float = 150.0) -> bool:
    """Let QGIS work until something holds."""
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.02)
    return bool(until())


def picture(widget, name: str) -> None:
    wait(lambda: False, 1.0)
    widget.grab().save(str(FOLDER / f"{name}.png"))


def run(name: str, **parameters):
    """Run an algorithm; return its results, or the words that it ended with."""
    feedback = QgsProcessingFeedback()
    try:
        results = processing.run(f"pipeline:{name}", parameters, feedback=feedback)
    except QgsProcessingException as error:
        return {"error": str(error), "log": feedback.textLog()}
    return {**{key: value for key, value in results.items() if not hasattr(value, "source")}, "log": feedback.textLog()}


def segment(output: str, **parameters):
    return run("run", MODEL=MODEL, OUTPUT=str(FOLDER / output), **{"INPUT": SCENE, **parameters})


def polygons(crs: str, box: QgsRectangle, *, count: int = 1) -> QgsVectorLayer:
    """A layer in memory with boxes beside each other."""
    layer = QgsVectorLayer(f"CurvePolygon?crs={crs}&field=name:string", "zones in memory", "memory")
    for number in range(count):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromRect(moved_box(box, number)))
        feature.setAttribute("name", f"zoné {number}")
        layer.dataProvider().addFeature(feature)
    layer.updateExtents()
    return layer


def moved_box(box: QgsRectangle, number: int) -> QgsRectangle:
    right = number * box.width()
    return QgsRectangle(box.xMinimum() + right, box.yMinimum(), box.xMaximum() + right, box.yMaximum())


def whole_session() -> None:
    parts = {part.__name__: part for part in (window, areas_of_interest, odd_layers, tables, cancel, set_up)}
    for part in map(parts.get, GIVEN.get("parts", parts)):
        began = time.monotonic()
        try:
            part()
        except Exception:
            seen[f"{part.__name__}: traceback"] = traceback.format_exc()
        seen[f"{part.__name__}: seconds"] = round(time.monotonic() - began, 1)
        (FOLDER / "seen.json").write_text(json.dumps(seen, indent=1, default=str), encoding="utf-8")
    QgsProject.instance().setDirty(False)
    os._exit(0)


def window() -> None:
    """The form, filled in as a user does; the run from its button; the mask on the map."""
    main = iface.mainWindow()
    main.resize(1380, 860)
    wait(lambda: QgsApplication.processingRegistry().providerById("pipeline") is not None, 60)
    layer = QgsRasterLayer(SCENE, "scène")
    QgsProject.instance().addMapLayer(layer)
    QgsProject.instance().setCrs(layer.crs())
    iface.mapCanvas().setExtent(layer.extent())
    provider = QgsApplication.processingRegistry().providerById("pipeline")
    seen["provider"] = provider.name()
    seen["algorithms"] = [one.id() for one in provider.algorithms()]
    open_toolbox(main)
    processing.createAlgorithmDialog("pipeline:run", {}).close()  # before its list of models is there
    chosen = {"INPUT": layer.id(), "OUTPUT": GIVEN["output"], "LAYERS": GIVEN.get("layers", [])}
    form = processing.createAlgorithmDialog("pipeline:run", chosen)
    form.show()
    form.resize(820, 640)
    widget = form.mainWidget().wrappers["MODEL"]
    wait(lambda: widget._box.count() > 0, 60)
    seen["models"] = [widget._box.itemData(number) for number in range(widget._box.count())]
    widget.setValue(MODEL)
    seen["model"] = widget.value()
    picture(form, "form")
    form.runButton().click()
    wait(lambda: QgsProject.instance().mapLayersByName("scène: mask"), 240)
    picture(form, "log")
    (mask,) = QgsProject.instance().mapLayersByName("scène: mask")
    seen["classes"] = [(one.value, one.label, one.color.name()) for one in mask.renderer().classes()]
    seen["mask"] = mask.source()
    seen["loaded"] = sorted(one.name() for one in QgsProject.instance().mapLayers().values())
    form.close()
    iface.layerTreeView().expandAllNodes()
    iface.messageBar().clearWidgets()
    iface.mapCanvas().setExtent(mask.extent())
    iface.mapCanvas().zoomByFactor(1.05)
    iface.mapCanvas().refresh()
    wait(lambda: not iface.mapCanvas().isDrawing(), 30)
    picture(main, "window")


def open_toolbox(main) -> None:
    toolbox = next(dock for dock in main.findChildren(object) if type(dock).__name__ == "ProcessingToolbox")
    toolbox.show()
    toolbox.raise_()
    tree = toolbox.algorithmTree
    model = tree.model()
    for row in range(model.rowCount()):
        tree.setExpanded(model.index(row, 0), "pipeline" in str(model.data(model.index(row, 0))))
    place = next(
        model.index(row, 0) for row in range(model.rowCount()) if "pipeline" in str(model.data(model.index(row, 0)))
    )
    tree.scrollTo(place, tree.PositionAtTop)


def areas_of_interest() -> None:
    """Extents in another CRS, polygons of layers that have no file."""
    layer = QgsRasterLayer(SCENE, "scène")
    full, crs = layer.extent(), layer.crs().authid()
    half = QgsRectangle(full.xMinimum(), full.yMinimum(), full.center().x(), full.yMaximum())
    words = f"{half.xMinimum()},{half.xMaximum()},{half.yMinimum()},{half.yMaximum()}"
    seen["extent"] = segment("extent.tif", EXTENT=f"{words} [{crs}]")
    own = QgsProject.instance().transformContext()
    degrees = QgsCoordinateTransform(layer.crs(), QgsCoordinateReferenceSystem("EPSG:4326"), own)
    far = degrees.transformBoundingBox(half)
    words = f"{far.xMinimum()},{far.xMaximum()},{far.yMinimum()},{far.yMaximum()} [EPSG:4326]"
    seen["extent in degrees"] = segment("degrees.tif", EXTENT=words)
    seen["polygons in memory"] = segment("memory.tif", AREA=polygons("EPSG:4326", far))
    seen["both"] = segment("both.tif", AREA=polygons("EPSG:4326", far), EXTENT=words)
    seen["none selected"] = segment("none.tif", AREA=polygons("EPSG:4326", far, count=0))
    seen["elsewhere"] = segment("elsewhere.tif", EXTENT="0,1,0,1 [EPSG:4326]")


def odd_layers() -> None:
    """Layers without a CRS, in QGIS' memory, in an archive, of a service, and what is no raster."""
    bare = QgsRasterLayer(GIVEN["bare"], "bare")
    bare.setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
    box = bare.extent()
    half = f"{box.xMinimum()},{box.center().x()},{box.yMinimum()},{box.yMaximum()} [EPSG:32633]"
    seen["no crs in the file"] = segment("bare.tif", INPUT=bare, EXTENT=half)
    area = polygons("EPSG:32633", QgsRectangle(box.xMinimum(), box.yMinimum(), box.center().x(), box.yMaximum()))
    seen["no crs in the file, polygons"] = segment("bare_polygons.tif", INPUT=bare, AREA=area)
    gdal.Translate("/vsimem/held.tif", SCENE)
    seen["in memory"] = segment("held.tif", INPUT=QgsRasterLayer("/vsimem/held.tif", "held"))
    seen["in an archive"] = segment(
        "archive.tif", INPUT=QgsRasterLayer(f"/vsizip/{GIVEN['archive']}/scene.tif", "zipped")
    )
    seen["bands"] = segment("bands.tif", BANDS=[2, 1], LAYERS=[0])
    broken = FOLDER / "broken.tif"
    broken.write_bytes(Path(SCENE).read_bytes()[:3000])
    seen["broken"] = segment("broken_mask.tif", INPUT=QgsRasterLayer(str(broken), "broken"))
    seen["unknown model"] = run("run", INPUT=SCENE, MODEL="landcovr", OUTPUT=str(FOLDER / "x.tif"))
    seen["temporary"] = run("run", INPUT=SCENE, MODEL=MODEL, OUTPUT="TEMPORARY_OUTPUT")


def tables() -> None:
    """Areas by zone, figures, polygons, from layers of any provider."""
    mask = QgsRasterLayer(GIVEN["output"], "the mask")
    box = mask.extent()
    third = QgsRectangle(box.xMinimum(), box.yMinimum(), box.xMinimum() + box.width() / 3, box.yMaximum())
    zones = polygons(mask.crs().authid(), third, count=2)
    QgsProject.instance().addMapLayer(zones)
    table = processing.run("pipeline:areas", {"INPUT": mask, "ZONES": zones, "NAME": "name", "OUTPUT": "memory:"})
    seen["areas"] = [row.attributes() for row in table["OUTPUT"].getFeatures()]
    zones.selectByIds([2])
    chosen = QgsProcessingFeatureSourceDefinition(zones.id(), selectedFeaturesOnly=True)
    table = processing.run("pipeline:areas", {"INPUT": mask, "ZONES": chosen, "NAME": "name", "OUTPUT": "memory:"})
    seen["areas, selected"] = [row.attributes() for row in table["OUTPUT"].getFeatures()]
    found = processing.run("pipeline:evaluate", {"INPUT": mask, "TRUTH": mask, "OUTPUT": "memory:"})
    seen["figures"] = [row.attributes() for row in found["OUTPUT"].getFeatures()]
    seen["accuracy"] = found["ACCURACY"]
    seen["virtual zones"] = virtual_zones(mask, zones)


def virtual_zones(mask, zones):
    layer = QgsVectorLayer(f'?query=select geometry, name from "{zones.name()}" limit 1', "virtual", "virtual")
    table = processing.run("pipeline:areas", {"INPUT": mask, "ZONES": layer, "NAME": "name", "OUTPUT": "memory:"})
    return sorted({row["zone"] for row in table["OUTPUT"].getFeatures()})


class Canceler(QgsProcessingFeedback):
    """Cancels once a part is done, as the button does."""

    def __init__(self) -> None:
        super().__init__()
        self.progressChanged.connect(lambda share: self.cancel() if share > GIVEN["cancel_at"] else None)


def cancel() -> None:
    """A run in a thread of its own is canceled and goes on; the window answers all the time."""
    parameters = {"INPUT": GIVEN["long"], "MODEL": MODEL, "OUTPUT": str(FOLDER / "long mask.tif")}
    stopped, longest = in_thread(parameters, Canceler())
    seen["canceled"] = {
        "log": stopped.textLog(),
        "mask": Path(parameters["OUTPUT"]).exists(),
        "left": sorted(path.name for path in FOLDER.glob("long mask*")),
        "longest wait": longest,
    }
    shares = []
    again = QgsProcessingFeedback()
    again.progressChanged.connect(shares.append)
    resumed, _ = in_thread(parameters, again)
    left = sorted(path.name for path in FOLDER.glob("long mask*") if not path.name.endswith(".aux.xml"))
    seen["resumed"] = {"log": resumed.textLog(), "left": left, "first": next(share for share in shares if share > 0)}
    run("run", **{**parameters, "OUTPUT": str(FOLDER / "at once.tif")})


def in_thread(parameters, feedback):
    """Run the algorithm as its form does, and return the longest time that the window did not answer."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("pipeline:run")
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, feedback)
    ended = []
    task.executed.connect(lambda ok, results: ended.append(ok))
    QgsApplication.taskManager().addTask(task)
    longest, last = 0.0, time.monotonic()
    while not ended:
        QApplication.processEvents()
        time.sleep(0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    return feedback, longest


def set_up() -> None:
    """The page: what it finds, a wrong choice, and that nothing is installed without a yes."""
    from pipeline_segmentation import settings

    asked = []
    QMessageBox.question = staticmethod(lambda *words: asked.append(words[2]) or QMessageBox.No)
    plugin = plugins["pipeline_segmentation"]
    plugin.set_up()
    page = plugin._dialog
    wait(lambda: not page._asking.running and "asked" not in page.state.text(), 90)
    seen["set up"] = page.state.text()
    seen["found"] = [page.choice.itemData(number) for number in range(page.choice.count())]
    picture(page, "set-up")
    settings.choose("/gone/environment")
    page.look()
    seen["set up, wrong"] = page.state.text()
    seen["run, wrong"] = segment("wrong.tif")
    settings.choose("")
    wait(lambda: not page._trying.running, 60)
    made = FOLDER / "new environment é"
    page.folder.setText(str(made))
    page.python.setText(GIVEN["python"])
    page.source.setText(GIVEN["wheel"])
    page.arguments.setText("--no-deps --no-index")
    page._ask_to_make()
    wait(lambda: bool(asked), 60)
    wait(lambda: False, 1)
    seen["asked"], seen["made unasked"] = list(asked), made.exists()
    QMessageBox.question = staticmethod(lambda *words: QMessageBox.Yes)
    page._ask_to_make()
    wait(lambda: page._making.running, 60)
    wait(lambda: not page._making.running and page._make.isEnabled(), 120)
    wait(lambda: not page._asking.running and "asked" not in page.state.text(), 60)
    seen["made"], seen["set-up log"], seen["chosen"] = (
        page.state.text(),
        page.log.toPlainText(),
        settings.places().given,
    )
    picture(page, "made")
    seen["qgis"] = Qgis.QGIS_VERSION
    seen["imported"] = [name for name in ("torch", "pipeline", "rasterio") if name in sys.modules]


QTimer.singleShot(2000, whole_session)
