"""The plugin in a real QGIS: every algorithm by `qgis_process`, and a window on a screen of its own."""

from __future__ import annotations

import csv
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipeline.jobs.job import Job
from pipeline.runs.segment import segment
from tests.support.inputs import labels_of, pixels, put_scene
from tests.support.qgis import LACKING, put_qgis, put_wheel

pytestmark = [pytest.mark.qgis, pytest.mark.skipif(bool(LACKING), reason=LACKING or "there is a QGIS")]
NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
HEIGHT, WIDTH = 240, 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("qgis") / "my mäps [1] 'x'"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def qgis(tmp_path_factory):
    """QGIS looks for plugins by patterns, so its home has no brackets."""
    return put_qgis(tmp_path_factory.mktemp("home dir é"))


@pytest.fixture(scope="module")
def photo(folder):
    return put_scene(folder / "scène & co.tif", pixels((2, HEIGHT, WIDTH)), transform=NORTH_UP, tiled=True)


@pytest.fixture(scope="module")
def model(models):
    return models / "scene"


@pytest.fixture(scope="module")
def expected(photo, model, folder):
    """What the command makes by itself."""
    path = folder / "expected.tif"
    segment(Job(str(photo), path, str(model)))
    return path


@pytest.fixture(scope="module")
def made(qgis, photo, model, folder):
    """A mask by `qgis_process`."""
    path = folder / 'mask "é".tif'
    results, log = qgis.process("run", INPUT=photo, MODEL=model, OUTPUT=path)
    assert results == {"OUTPUT": str(path)}, log
    return path


def test_run_gives_the_bytes_of_the_command(made, expected):
    assert made.read_bytes() == expected.read_bytes()


def test_plan_gives_numbers(qgis, photo, model):
    results, log = qgis.process("plan", INPUT=photo, MODEL=model, PROBE="false")
    assert results["PATCHES"] > 0, log
    assert results["MEMORY_BYTES"] > 0
    assert results.get("SECONDS") is None


def test_polygons_and_pictures_of_a_mask(qgis, made, folder):
    polygons, picture = folder / "pölygons.gpkg", folder / "pictüre 1.png"
    results, log = qgis.process("polygons", INPUT=made, OUTPUT=polygons, SIEVE=30)
    assert results == {"OUTPUT": str(polygons)}, log
    assert polygons.stat().st_size > 0
    results, log = qgis.process("export", INPUT=made, OUTPUT=picture)
    assert results == {"OUTPUT": str(picture)}, log
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_areas_of_zones_add_up(qgis, made, folder):
    table = folder / "areas.csv"
    results, log = qgis.process("areas", INPUT=made, OUTPUT=table)
    assert results == {"OUTPUT": str(table)}, log
    names, *rows = csv.reader(table.read_text(encoding="utf-8").splitlines())
    assert names == ["zone", "value", "name", "cells", "area", "share", "unit"]
    assert sum(int(row[3]) for row in rows) == HEIGHT * WIDTH


def test_a_mask_equals_itself(qgis, made, folder):
    table, pictures = folder / "figures.csv", folder / "pictures {stem}"
    results, log = qgis.process("evaluate", INPUT=made, TRUTH=made, OUTPUT=table, PICTURES=pictures)
    assert results["ACCURACY"] == results["MEAN_IOU"] == 1.0, log
    assert list(pictures.glob("*.png"))


def test_an_error_comes_in_the_words_of_the_command(qgis, photo, folder):
    results, log = qgis.process("run", INPUT=photo, MODEL="landcovr", OUTPUT=folder / "none.tif")
    assert results == {}
    assert "landcovr" in log
    assert "landcover" in log, "the nearest name"
    assert "Traceback" not in log
    assert not (folder / "none.tif").exists()


@pytest.fixture(scope="module")
def seen(qgis, photo, model, folder):
    """What is seen in a window of QGIS, after `qgis_session.py`."""
    bare = put_scene(folder / "bare.tif", pixels((2, HEIGHT, WIDTH)), transform=NORTH_UP, crs=None)
    long = put_scene(folder / "long.tif", pixels((2, 26000, 100)), transform=NORTH_UP, tiled=True)
    archive = folder / "my archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(photo, "scene.tif")
    session = folder / "session"
    session.mkdir()
    given = {"scene": photo, "bare": bare, "long": long, "archive": archive, "model": model}
    given |= {
        "python": Path(sys.base_prefix, "bin/python3"),
        "wheel": put_wheel(folder),
        "output": session / "mäsk.tif",
    }
    said = {**{name: str(path) for name, path in given.items()}, "cancel_at": 30, "layers": [0]}
    (session / "given.json").write_text(json.dumps(said), encoding="utf-8")
    printed = qgis.session(Path(__file__).with_name("qgis_session.py"), session / "given.json")
    assert (session / "seen.json").is_file(), printed
    found = json.loads((session / "seen.json").read_text(encoding="utf-8"))
    assert [value for name, value in found.items() if "traceback" in name] == [], printed
    assert found["exceptions"] == []
    return {**found, "folder": session}


def inside(path):
    """Share of the cells of a mask that are labels, in the left and in the right half."""
    with rasterio.open(path) as dataset:
        observed = dataset.read(1) != dataset.nodata
    return observed[:, : WIDTH // 2].mean(), observed[:, WIDTH // 2 :].mean()


def test_the_form_segments_and_the_mask_is_styled(seen, expected):
    assert seen["provider"] == "Segmentation (pipeline)"
    assert {"landcover"} <= set(seen["models"])
    np.testing.assert_array_equal(labels_of(Path(seen["mask"])), labels_of(expected))  # its record has its layers, too
    assert [label for _, label, _ in seen["classes"]] == ["a", "b", "c"]
    assert seen["loaded"] == ["scène", "scène: confidence", "scène: mask"]
    for picture in ("form", "log", "window", "set-up"):
        assert (seen["folder"] / f"{picture}.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("extent", "extent.tif"),
        ("extent in degrees", "degrees.tif"),
        ("polygons in memory", "memory.tif"),
        ("no crs in the file", "bare.tif"),
        ("no crs in the file, polygons", "bare_polygons.tif"),
    ],
)
def test_an_area_of_the_map_is_the_area_of_interest(seen, name, output):
    assert "error" not in seen[name], seen[name]
    left, right = inside(seen["folder"] / output)
    assert left == 1
    assert right < 0.05


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("both", "the area of interest is given twice"),
        ("none selected", "has no polygons, or none is selected"),
        ("elsewhere", "does not overlap the scene"),
        ("broken", "broken.tif"),
        ("unknown model", "landcovr"),
        ("run, wrong", "/gone/environment: there is no pipeline command in it"),
    ],
)
def test_what_is_wrong_is_told(seen, name, words):
    assert words in seen[name]["error"], seen[name]
    assert "Traceback" not in seen[name]["log"]


def test_layers_without_a_file_give_the_same_mask(seen, expected):
    labels = labels_of(expected)
    for name, output in (("in memory", "held.tif"), ("in an archive", "archive.tif")):
        assert "error" not in seen[name], seen[name]
        assert np.array_equal(labels_of(seen["folder"] / output), labels)
    assert "is saved as" in seen["in memory"]["log"]
    assert Path(seen["temporary"]["OUTPUT"]).name == "OUTPUT.tif"


def test_bands_and_layers_are_chosen(seen):
    assert "--bands=2,1 " in seen["bands"]["log"]
    assert (seen["folder"] / "bands_confidence.tif").is_file()


def test_areas_of_zones_of_layers_in_memory(seen):
    zones = {row[0] for row in seen["areas"]}
    assert zones == {"zoné 0", "zoné 1"}
    cells = [sum(row[3] for row in seen["areas"] if row[0] == zone) for zone in sorted(zones)]
    assert abs(cells[0] - HEIGHT * WIDTH / 3) < 2 * HEIGHT
    assert {row[0] for row in seen["areas, selected"]} == {"zoné 1"}
    assert seen["virtual zones"] == ["zoné 0"]


def test_figures_of_a_mask_with_itself(seen):
    assert seen["accuracy"] == 1.0
    assert [row[1] for row in seen["figures"]] == ["a", "b", "c"]
    assert {row[4] for row in seen["figures"]} == {1.0}


def test_a_canceled_run_leaves_no_mask_and_goes_on(seen):
    canceled, resumed = seen["canceled"], seen["resumed"]
    assert not canceled["mask"]
    assert canceled["left"] == ["long mask.tif.partial"]
    assert "Run it again with the same parameters to go on" in canceled["log"]
    assert canceled["longest wait"] < 1.0, "the window answers"
    assert resumed["first"] > 15, "what was done is not done again"
    assert resumed["left"] == ["long mask.tif"]
    assert (seen["folder"] / "long mask.tif").read_bytes() == (seen["folder"] / "at once.tif").read_bytes()


def test_the_set_up_page_finds_the_command_and_installs_nothing_unasked(seen, qgis):
    assert seen["set up"].startswith(f"Ready. {qgis.command}: pipeline ")
    assert str(qgis.command) in seen["found"]
    assert seen["set up, wrong"].startswith("Not ready. /gone/environment: there is no pipeline command in it")
    (question,) = seen["asked"]
    assert "-m venv" in question
    assert "-m pip install" in question
    assert not seen["made unasked"]


def test_the_set_up_page_makes_an_environment(seen):
    environment = seen["folder"] / "new environment é"
    assert seen["chosen"] == str(environment), seen["set-up log"]
    assert seen["made"].startswith(f"Ready. {environment}/bin/pipeline: pipeline 9.9.0, but this plugin was made for")


def test_nothing_of_the_package_is_imported_into_qgis(seen):
    assert seen["imported"] == []
