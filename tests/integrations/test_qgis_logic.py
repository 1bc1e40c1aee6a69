"""What the QGIS plugin does without QGIS: command lines, what is printed, where the command is, how it is stopped."""

from __future__ import annotations

import ast
import configparser
import json
import os
import signal
import sys
import tomllib
from pathlib import Path, PureWindowsPath

import pytest
import typer.main
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.qgis import package
from integrations.qgis.pipeline_segmentation.logic import environment, install, layers, printed, results
from integrations.qgis.pipeline_segmentation.logic.commands import OPTIONS, box_text, command_line
from integrations.qgis.pipeline_segmentation.logic.environment import Places
from integrations.qgis.pipeline_segmentation.logic.errors import CommandError, LayerError
from integrations.qgis.pipeline_segmentation.logic.process import Ended, Patience, follow
from pipeline.cli import app

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "integrations/qgis/pipeline_segmentation"
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1)


COMMANDS = typer.main.get_command(app).commands


def parsed(verb, words):
    """What the command line reads."""
    return COMMANDS[verb].make_context(verb, list(words), resilient_parsing=False).params


@settings(max_examples=10)
@given(TEXT, TEXT)
def test_any_path_arrives_as_it_is(mask, output):
    verb, *words = command_line("export", {"output": output, "json": True}, [mask])
    read = parsed(verb, words)
    assert (read["mask"], str(read["output"]), read["as_json"]) == (mask, str(Path(output)), True)


def test_windows_paths_are_words_like_others():
    path = str(PureWindowsPath(r"C:\Users\Jo é\my data (1)\scene %TEMP% & co.tif"))
    assert command_line("run", {"input": path}) == ["run", f"--input={path}"]


def test_what_is_not_given_is_left_out():
    left_out = {"model": None, "crs": "", "overwrite": False, "layers": []}
    given = {"workers": 0, "bands": [4, 3, 2], "json": True}
    assert command_line("run", {**left_out, **given}) == ["run", "--workers=0", "--bands=4,3,2", "--json"]
    with pytest.raises(ValueError, match="run: sieve not in OPTIONS"):
        command_line("run", {"sieve": 1})


@given(*[st.floats(allow_nan=False, allow_infinity=False)] * 4)
def test_a_box_keeps_every_digit(west, south, east, north):
    *sides, crs = box_text(west, south, east, north, "EPSG:32633").split(",")
    assert [float(side) for side in sides] == [west, south, east, north]
    assert crs == "EPSG:32633"


@pytest.mark.parametrize(
    ("provider", "source", "path"),
    [
        ("gdal", "/data/a b/scène 'x'.tif", "/data/a b/scène 'x'.tif"),
        ("gdal", "/data/a|b.tif|option:NUM_THREADS=2|option:X=Y", "/data/a|b.tif"),
        ("gdal", "/vsizip//data/a b.zip/x.tif", "/vsizip//data/a b.zip/x.tif"),
        ("gdal", "GPKG:/data/x.gpkg:ortho", "GPKG:/data/x.gpkg:ortho"),
        ("gdal", 'NETCDF:"/data/x y.nc":Band1', 'NETCDF:"/data/x y.nc":Band1'),
        ("gdal", "/vsicurl/https://x/y.tif", "/vsicurl/https://x/y.tif"),
        ("gdal", "scene.tif", str(Path.cwd() / "scene.tif")),
        ("gdal", "/vsimem/clip.tif", None),
        ("virtualraster", "?crs=EPSG:3857&formula=1", None),
        ("memory", "x", None),
    ],
)
def test_the_file_of_a_layer(provider, source, path):
    assert layers.file_of(provider, source, "layer") == path


@pytest.mark.parametrize("provider", ["wms", "wcs", "arcgismapserver", "postgresraster"])
def test_a_service_is_refused_with_the_way_out(provider):
    with pytest.raises(LayerError, match=r"the layer Ortho comes from .*save it as a GeoTIFF"):
        layers.file_of(provider, "url=https://x", "Ortho")


def test_open_options_are_told():
    assert layers.open_options("/a.tif|option:A=1|option:B=2") == "A=1, B=2"
    assert layers.open_options("/a.tif") == ""


STATE = {
    "event": "progress",
    "share": 0.25,
    "seconds_left": 300.0,
    "cells_per_second": 2e6,
    "items": [{"phase": "segmenting"}],
}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (json.dumps(STATE), printed.Line("segmenting, 5 min left, 2.00 Mpx/s", 0.25, "segmenting", own=True)),
        (
            json.dumps({**STATE, "items": [{"phase": ""}], "seconds_left": None}),
            printed.Line("preparing, 2.00 Mpx/s", 0.25, "preparing", own=True),
        ),
        (json.dumps({"event": "progress", "share": None}), printed.Line("", 0.0, own=True)),
        ('{"event": "message", "text": "a\\nb"}', printed.Line("a\nb", own=True)),
        ('{"event": "other"}', printed.Line('{"event": "other"}')),
        ("[1, 2]", printed.Line("[1, 2]")),
        ("12", printed.Line("12")),
        ("error: broken\n", printed.Line("error: broken")),
        ("  \n", None),
    ],
)
def test_lines_of_the_command(line, shown):
    assert printed.parse_line(line) == shown


FAILED = json.dumps({"items": [{"status": "failed", "reason": "a.tif: is broken"}, {"status": "done", "reason": "x"}]})
FRAMED = ["Usage: pipeline run [OPTIONS]", "Try 'pipeline run --help' for help.", "╭─ Error ───╮"]


@pytest.mark.parametrize(
    ("out", "messages", "text"),
    [
        (FAILED, ["failed: a.tif: is broken"], "a.tif: is broken"),
        ("", ["note", "error: --aoi 1,2: no"], "--aoi 1,2: no"),
        ("", [*FRAMED, "│ Invalid value: x   │", "╰────╯"], "Invalid value: x"),
        ("", ["Killed"], "Killed"),
        ("", [], "the command gave no reason"),
        ("not json", [], "the command gave no reason"),
    ],
)
def test_an_error_is_told_in_the_words_of_the_command(out, messages, text):
    assert printed.error_text(Ended(1, out, ""), messages) == text


def test_a_command_that_was_killed_is_told_with_the_way_out():
    told = printed.error_text(Ended(-9, "", ""), ["note"])
    assert "signal 9" in told
    assert "memory limit" in told


def test_the_log_has_a_line_for_each_phase_and_one_a_minute():
    reading, writing = (printed.Line(text, 0.5, text.split(",")[0]) for text in ("reading, 9 s left", "writing"))
    rarely = printed.Rarely()
    told = [
        rarely.lets(line, now)
        for line, now in ((reading, 0), (reading, 1), (reading, 61), (writing, 62), (writing, 63))
    ]
    assert told == [True, False, True, True, False]
    assert not rarely.lets(printed.Line("", 1.0), 1000)


def test_an_option_that_the_installed_version_lacks_is_told():
    told = printed.error_text(Ended(2, "", ""), [*FRAMED, "│ No such option: --progress │", "╰───╯"])
    assert told == (
        "No such option: --progress The installed version of pipeline does not know it: update pipeline, or this "
        "plugin."
    )


def test_documents_become_values():
    info = {"items": [{"classes": [{"value": 2, "name": "eau é", "colour": [1, 2, 3]}]}]}
    assert results.classes_of(info) == [results.MaskClass(2, "eau é", (1, 2, 3))]
    assert results.classes_of({"items": [{}]}) == []
    cards = {"items": [{"name": "a", "kind": "volume"}, {"name": "b", "classes": [{"name": "x"}, {"name": "y"}]}]}
    assert [model.label for model in results.scene_models(cards)] == ["b: x, y"]
    figures = {"iou": {"value": 0.5, "low": 0.4, "high": 0.6}, "dice": {"value": None}}
    entry = {"value": 1, "name": "x", "truth_cells": 3, "predicted_cells": 4, "figures": figures}
    overall = {"classes": [entry], "figures": {"accuracy": {"value": 0.9}, "mean_iou": {"value": None}}}
    assert list(results.class_figures({"overall": overall})) == [[1, "x", 3, 4, 0.5, None, None, None, None]]
    assert results.overall_figures({"overall": overall}) == {"accuracy": 0.9}
    assert list(results.class_figures({"overall": None})) == []


def test_a_plan_is_told_in_words():
    item = {
        "model": "m",
        "channels": ["r", "g"],
        "memory_bytes": 3 << 30,
        "seconds": None,
        "warnings": [{"message": "w"}],
    }
    assert list(results.plan_rows(item)) == [
        ("model", "m"),
        ("channels", "r, g"),
        ("memory", "3.0 GiB"),
        ("note", "w"),
    ]


def put(path, text="#!/bin/sh\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_command_is_looked_for_in_the_nearest_place_first(tmp_path):
    variable, own, project, path, conda = (
        put(tmp_path / name / "bin/pipeline")
        for name in ("variable", "profile/pipeline-environment", "pröject x/.venv", "path", "conda")
    )
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda/environments.txt").write_text(f"{conda.parents[1]}\n/gone\n")
    places = Places(
        variables={"PIPELINE_COMMAND": str(variable.parents[1]), "PATH": f"/gone:{path.parent}:{path.parent}"},
        home=tmp_path,
        profile=tmp_path / "profile",
        project=tmp_path / "pröject x",
        windows=False,
    )
    found = list(environment.candidates(places))
    assert [one.command for one in found] == [variable, own, project, path, conda]
    assert [one.origin for one in found][1:] == ["made by this plugin", "the project's .venv", "PATH", "conda"]


@pytest.mark.parametrize("given", ["env", "env/bin", "env/bin/pipeline", "env/bin/python3", "."])
def test_what_the_user_gives_may_be_the_command_its_python_or_its_environment(tmp_path, given):
    command = put(tmp_path / "env/bin/pipeline")
    put(tmp_path / "env/bin/python3")
    put(tmp_path / ".venv/bin/pipeline")
    expected = tmp_path / ".venv/bin/pipeline" if given == "." else command
    places = Places(given=str(tmp_path / given), variables={}, windows=False)
    assert environment.find(places).command == expected


def test_windows_has_its_own_names(tmp_path):
    command = put(tmp_path / "env/Scripts/pipeline.exe")
    put(tmp_path / "env/Scripts/python.exe")
    for place in ("env", "env/Scripts/python.exe"):
        assert environment.find(Places(given=str(tmp_path / place), variables={}, windows=True)).command == command
    by_path = Places(variables={"PATH": f"C:\\gone;{command.parent}"}, home=tmp_path, windows=True)
    assert environment.find(by_path).command == command


def test_nothing_found_is_told_with_the_way_out(tmp_path):
    with pytest.raises(CommandError, match=r"was not found: not in PIPELINE_COMMAND.*Set up"):
        environment.find(Places(variables={}, home=tmp_path))
    put(tmp_path / "elsewhere/bin/pipeline")
    with pytest.raises(CommandError, match="there is no pipeline command in it"):
        environment.find(Places(given=str(tmp_path / "wrong"), variables={"PATH": str(tmp_path / "elsewhere/bin")}))


def test_variables_of_qgis_do_not_reach_the_command():
    given = {"PROJ_LIB": "/q", "PYTHONPATH": "/q", "GDAL_DATA": "/q", "AWS_PROFILE": "me", "LD_LIBRARY_PATH": "/cuda"}
    kept = environment.clean_variables(given)
    assert {name: kept.get(name) for name in given} == {
        **dict.fromkeys(given),
        "AWS_PROFILE": "me",
        "LD_LIBRARY_PATH": "/cuda",
    }
    assert "LD_LIBRARY_PATH" not in environment.clean_variables({**given, "APPDIR": "/tmp/.mount"})


@pytest.mark.parametrize(
    ("ended", "usable", "text"),
    [
        (Ended(0, "pipeline 1.2.3\n", ""), True, "p: pipeline 1.2.3"),
        (Ended(0, "pipeline 1.2.9\n", ""), True, "p: pipeline 1.2.9"),
        (Ended(0, "pipeline 1.1.0\n", ""), True, "made for 1.2.0; if an option is refused, update pipeline"),
        (Ended(0, "pipeline 1.10.0\n", ""), True, "made for 1.2.0; if an option is refused, update this plugin"),
        (Ended(0, "Pipeline Pilot 9\n", ""), False, "is another program that is also called pipeline"),
        (
            Ended(1, "", "Traceback\nModuleNotFoundError: No module named 'torch'\n"),
            False,
            "lacks the Python package torch",
        ),
        (
            Ended(1, "", "ModuleNotFoundError: No module named 'pipeline.cli'"),
            False,
            "lacks the Python package pipeline",
        ),
        (Ended(-4, "", ""), False, "instructions that this processor does not have"),
        (Ended(2, "", "a\nusage: pipeline FILE\n"), False, "(exit code 2): usage: pipeline FILE"),
        (Ended(3, "", ""), False, "(exit code 3): it said nothing"),
    ],
)
def test_what_is_wrong_with_a_command_is_told(ended, usable, text):
    verdict = environment.judge("p", ended, "1.2.0")
    assert verdict.usable is usable
    assert text in verdict.text


def test_findings_of_the_doctor_are_told_with_advice():
    one = {"topic": "disk", "state": "broken", "text": "full", "advice": "free some"}
    assert environment.findings({"findings": [{"state": "ok", "text": "fine"}, one]}) == ["disk: full: free some"]
    assert environment.findings({}) == []


CHATTY = """
import signal, sys, time
stops = 0
def stop(number, frame):
    global stops
    stops += 1
    print("stopping", file=sys.stderr, flush=True)
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
print("x" * 200_000, flush=True)
print("ready é", file=sys.stderr, flush=True)
while stops < int(sys.argv[1]):
    time.sleep(0.01)
print(stops, sys.argv[2])
sys.exit(130)
"""


def chatty(*words):
    return [sys.executable, "-c", CHATTY, *map(str, words)]


def test_a_command_is_followed_and_stopped_as_by_ctrl_c():
    lines = []
    ended = follow(chatty(1, "a 'b' \"c\" é $HOME"), os.environ, lines.append, lambda: bool(lines))
    assert lines == ["ready é\n", "stopping\n"]
    assert ended == Ended(130, "x" * 200_000 + "\n1 a 'b' \"c\" é $HOME\n", "".join(lines), stopped=True)


def test_a_command_that_does_not_stop_is_asked_again_and_ended_at_last():
    lines = []
    ended = follow(chatty(2, ""), os.environ, lines.append, lambda: bool(lines), Patience(again=0.1, kill=30))
    assert (ended.code, lines[1:]) == (130, ["stopping\n"] * 2)
    lines.clear()
    ended = follow(chatty(9, ""), os.environ, lines.append, lambda: bool(lines), Patience(again=0.1, kill=0.2))
    assert (ended.code, ended.stopped) == (-signal.SIGKILL, True)


def test_a_command_that_cannot_be_started_is_told(tmp_path):
    broken = put(tmp_path / "pipeline", "#!/gone/python\n")
    with pytest.raises(CommandError, match=r"pipeline cannot be started: No such file or directory"):
        follow([str(broken)], os.environ)


def test_an_environment_is_made_by_words_that_no_shell_reads(tmp_path):
    folder, checkout = tmp_path / "new é 'x'", tmp_path / "check out"
    put(checkout / "pyproject.toml")
    put(checkout / "constraints.txt")
    plan = install.Plan(folder, "/usr/bin/python3", str(checkout), "--index-url 'a b'", windows=False)
    make, fill = install.steps(plan)
    assert make.words == ("/usr/bin/python3", "-m", "venv", str(folder))
    assert fill.words[:4] == (str(folder / "bin/python"), "-m", "pip", "install")
    assert fill.words[-5:] == ("--index-url", "a b", "-c", str(checkout / "constraints.txt"), f"{checkout}[vectors]")
    wheel = put(tmp_path / "pipeline-1-py3-none-any.whl")
    assert install.steps(install.Plan(folder, "p", str(wheel), windows=True))[1].words[-1] == f"{wheel}[vectors]"


def test_what_cannot_be_installed_is_told(tmp_path):
    put(tmp_path / "used/file")
    with pytest.raises(CommandError, match="holds other files"):
        install.steps(install.Plan(tmp_path / "used", "p", ""))
    for source in ("", str(tmp_path / "gone.whl"), str(tmp_path)):
        with pytest.raises(CommandError, match="not a wheel"):
            install.steps(install.Plan(tmp_path / "new", "p", source))
    wheel = put(tmp_path / "pipeline-1-py3-none-any.whl")
    with pytest.raises(CommandError, match="No closing quotation"):
        install.steps(install.Plan(tmp_path / "new", "p", str(wheel), "--index 'x", windows=False))


@pytest.mark.parametrize(
    ("ended", "text"),
    [
        (Ended(0, "3.11\n", ""), ""),
        (Ended(0, "3.9\n", ""), "is Python 3.9, but pipeline needs 3.11 to 3.13"),
        (Ended(0, "3.14\n", ""), "is Python 3.14"),
        (Ended(1, "", "ModuleNotFoundError: No module named 'ensurepip'"), "install the package python3-venv"),
        (Ended(1, "", "boom"), "is not a Python that starts"),
        (Ended(0, "hello", ""), "is not a Python that starts"),
    ],
)
def test_a_python_that_does_not_do_is_told(ended, text):
    assert (text in install.judge_python("py", ended)) if text else not install.judge_python("py", ended)


def test_the_package_that_comes_with_the_plugin_is_offered(tmp_path):
    assert install.default_source(PLUGIN) == str(ROOT)
    assert install.default_source(tmp_path) == ""
    wheel = put(tmp_path / "wheels/pipeline-1-py3-none-any.whl")
    assert install.default_source(tmp_path) == str(wheel)


def test_pythons_are_those_of_path_and_of_qgis(tmp_path):
    newest, other = (put(tmp_path / name) for name in ("python3.13", "python3"))
    assert list(install.pythons({"PATH": str(tmp_path)}))[:2] == [str(newest), str(other)]


def test_the_plugin_is_zipped_whole(tmp_path):
    wheel = put(tmp_path / "pipeline-1-py3-none-any.whl", "wheel")
    made = package.make(tmp_path / "out", wheel)
    names = package.names_in(made)
    assert {name.split("/")[0] for name in names} == {"pipeline_segmentation"}
    assert {
        f"pipeline_segmentation/{name}" for name in ("metadata.txt", "LICENSE", "icon.svg", "logic/process.py")
    } <= names
    assert f"pipeline_segmentation/wheels/{wheel.name}" in names
    assert not [name for name in names if "__pycache__" in name]
    assert made.read_bytes() == package.make(tmp_path / "again", wheel).read_bytes(), "the same bytes"


def test_metadata_is_complete_and_of_this_version():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(PLUGIN / "metadata.txt", encoding="utf-8")
    general = parser["general"]
    for key in ("name", "description", "about", "author", "email", "tracker", "repository", "license"):
        assert general[key], key
    assert (general["qgisMinimumVersion"], general["hasProcessingProvider"]) == ("3.22", "yes")
    assert (PLUGIN / general["icon"]).is_file()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert general["version"] == project["version"] == environment.made_for()


def imported(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_nothing_but_qgis_and_the_standard_library_is_imported():
    allowed = {"qgis", "processing", *sys.stdlib_module_names}
    for file in PLUGIN.rglob("*.py"):
        own = allowed - {"qgis", "processing"} if file.parent.name == "logic" else allowed
        assert set(imported(file)) <= own, file


def test_logic_needs_no_more_than_an_old_python():
    """QGIS 3.22 brings Python 3.9 on Windows: no `match`, no `X | Y` that is evaluated, no `zip(strict=)`."""
    for file in PLUGIN.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        ast.parse(text, feature_version=(3, 9))
        assert "from __future__ import annotations" in text or len(text.splitlines()) < 3, file
        assert "strict=" not in text, file


def test_every_option_that_the_plugin_gives_exists():
    for verb, options in OPTIONS.items():
        known = {flag for one in COMMANDS[verb].params for flag in (*one.opts, *one.secondary_opts)}
        assert {f"--{name}" for name in options} <= known, verb
