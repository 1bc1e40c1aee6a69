from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import rasterio
import zarr
from typer.testing import CliRunner

from pipeline import __version__
from pipeline.archive import run as archive
from pipeline.cli import app
from pipeline.cli.screen import Screen
from pipeline.doctor.profile import configured_server
from pipeline.errors import InputError, Interrupted, OutputError
from pipeline.jobs.job import Job, Resources
from pipeline.models.card import Card
from pipeline.runs.plan import plan
from pipeline.runs.report import Report
from pipeline.runs.segment import segment
from tests.support.inputs import SCENE_CARD, labels_of, pixels, put_scene, put_volume

VERBS = ("run", "plan", "info", "models", "export", "import-weights")
RUNNER = CliRunner()


def pipeline(*words: object, code: int = 0) -> str:
    """Stdout of a call that ends with `code`."""
    ended = RUNNER.invoke(app, [str(word) for word in words])
    assert ended.exit_code == code, ended.output
    return ended.stdout


def items(*words: object, code: int = 0) -> list[dict]:
    """The one JSON document on stdout."""
    return json.loads(pipeline(*words, "--json", code=code))["items"]


@pytest.fixture(scope="module")
def made(models, tmp_path_factory):
    """A folder with a small scene, a small volume, and their masks."""
    folder = tmp_path_factory.mktemp("made")
    scene = put_scene(folder / "scene.tif", pixels((2, 150, 130)))
    volume = put_volume(folder / "scan.nii.gz", pixels((2, 40, 50)).T.astype(np.int16), np.diag([0.9, 1.1, 2.5, 1]))
    segment(Job(str(scene), model=str(models / "scene")))
    segment(Job(str(volume), model=str(models / "volume")))
    return folder


@pytest.mark.parametrize("words", [(), *((verb,) for verb in VERBS)])
def test_every_verb_has_help(words):
    said = pipeline(*words, "--help")
    assert "Usage" in said
    if not words:
        assert all(verb in said for verb in VERBS)


def test_the_version_is_told():
    assert pipeline("--version") == f"pipeline {__version__}\n"


@pytest.mark.parametrize("words", [("run", "--inputt", "a"), ("segment",), ("export", "a.tif"), ("run", "--rows", "x")])
def test_a_word_that_is_no_option_ends_with_2(words):
    pipeline(*words, code=2)


def test_no_input_is_a_wrong_request():
    ended = RUNNER.invoke(app, ["run"])
    assert ended.exit_code == 2
    assert ended.stderr == "error: no input given; give one, e.g. `pipeline run --input scene.tif`\n"


def test_run_tells_what_it_did(made, models, tmp_path):
    words = ("run", "--input", made / "scene.tif", "--model", models / "scene", "--output", tmp_path / "m.tif")
    (item,) = items(*words)
    assert (item["status"], item["reason"], item["cells"], item["model"]) == ("done", None, 150 * 130, "scene")
    assert item["output"] == str(tmp_path / "m.tif")
    assert items(*words)[0]["status"] == "skipped"
    said = RUNNER.invoke(app, [str(word) for word in words])
    assert str(tmp_path / "m.tif") in said.stdout, "paths are not folded where no person reads them"
    assert said.stderr == f"{tmp_path / 'm.tif'}: already made by this very job\n"
    assert items(*words, "--overwrite")[0]["status"] == "done"


def test_run_takes_a_folder_a_pattern_and_a_table(made, models, tmp_path):
    table = tmp_path / "list.csv"
    table.write_text(f"input\n{made / 'scene.tif'}\n")
    for name in (made, made / "*.tif", table):
        found = items(
            "run", "--input", name, "--model", models / "scene", "--output", tmp_path / "out", code=name == made
        )
        assert found[-1]["output"] == str(tmp_path / "out" / "scene_mask.tif")
        assert [item["status"] for item in found[:-1]] == ["failed"] * (name == made), "the volume is not for the model"
    assert labels_of(tmp_path / "out" / "scene_mask.tif").shape == (150, 130)


def test_options_go_before_the_job_file(made, models, tmp_path):
    job = tmp_path / "job.toml"
    job.write_text(
        f'input = "{made / "scene.tif"}"\nmodel = "{models / "scene"}"\n'
        'output = "masks/"\nwindow = "hann"\npatch = 64\n'
    )
    (told,) = items("plan", "--config", job, "--no-probe")
    assert (told["window"], told["patch"], told["overlap"]) == ("hann", [64, 64], [16, 16])
    assert told["output"] == str(tmp_path / "masks" / "scene_mask.tif")
    (told,) = items("plan", "--config", job, "--no-probe", "--window", "linear", "--patch", "80,64", "--overlap", "8")
    assert (told["window"], told["patch"], told["overlap"]) == ("linear", [80, 64], [8, 8])


@pytest.mark.parametrize(("how", "code"), [(Interrupted(), 130), (KeyboardInterrupt(), 130)])
def test_a_stopped_run_ends_with_130(made, models, monkeypatch, how, code):
    def stops(*_):
        raise how

    monkeypatch.setattr(archive, "segment_in", stops)
    ended = RUNNER.invoke(app, ["run", "--input", str(made / "scene.tif"), "--model", str(models / "scene")])
    assert ended.exit_code == code
    assert ended.stderr == "error: stopped; run the same command again to resume\n"


def test_signals_stop_a_run_once_and_then_at_once(capsys):
    with Screen(quiet=False, stop_on_signals=True) as screen:
        assert not screen.should_stop()
        signal.raise_signal(signal.SIGTERM)
        assert screen.should_stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert "interrupt again to stop immediately" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_quiet_and_pipes_show_nothing_but_failures(capsys):
    with Screen(quiet=True, stop_on_signals=False) as screen:
        screen.item(Job("a.tif"), 1, 1).started(10, 0)
        screen.finished(Report("a.tif", "m.tif", "done", None, 1.0, 10))
        screen.item(Job("b.tif"), 1, 1)
        screen.finished(Report("b.tif", None, "failed", "b.tif: no", 0.0, 0))
    assert capsys.readouterr().err == "failed: b.tif: no\n"


def test_plan_tells_what_a_run_will_do(made, models):
    (told,) = items("plan", "--input", made / "scene.tif", "--model", models / "scene")
    rows, columns = 2, 2  # starts 0 and 22, and 0 and 34
    assert told["patches"] == rows * columns
    assert (told["bands"], told["strips"], told["shape"]) == (1, 1, [150, 130])
    assert told["disk_bytes"] == 2 * 150 * 130
    assert told["seconds"] > 0
    text = pipeline("plan", "--input", made / "scene.tif", "--model", models / "scene", "--no-probe")
    assert ["time", "not", "tried"] in [line.split() for line in text.splitlines()]
    assert ["disk", "38.1", "KiB"] in [line.split() for line in text.splitlines()]


def test_a_bad_input_among_others_does_not_hide_their_plans(made, models, tmp_path):
    good, bad = made / "scene.tif", tmp_path / "missing.tif"
    words = ["plan", "--input", bad, "--input", good, "--model", models / "scene", "--no-probe", "--json"]
    ended = RUNNER.invoke(app, [str(word) for word in words])
    assert ended.exit_code == 1
    assert [item["input"] for item in json.loads(ended.stdout)["items"]] == [str(good)]
    assert f"{bad}: there is no such file" in ended.stderr


def test_plan_counts_the_patches_that_a_run_computes(scene, models):
    job = Job(str(scene), model=str(models / "scene"))
    told = plan(job, Resources(), probe=False)
    assert (told.bands, told.patches) == (3, 44)
    assert plan(job, Resources(rows=2048), probe=False).bands == 2
    assert plan(job, Resources(), probe=False).seconds is None


def test_plan_touches_nothing(made, models):
    before = {path: path.stat().st_mtime_ns for path in made.iterdir()}
    pipeline("plan", "--input", made / "scan.nii.gz", "--model", models / "volume")
    assert {path: path.stat().st_mtime_ns for path in made.iterdir()} == before


def test_info_tells_what_a_scene_is(made):
    (told,) = items("info", made / "scene.tif")
    with rasterio.open(made / "scene.tif") as dataset:
        assert told["shape"] == list(dataset.shape)
        assert told["crs"] == dataset.crs.to_wkt()
        x, y = dataset.xy(3, 5)
    assert np.allclose(np.array(told["affine"]) @ [3, 5, 1], [x, y, 1])
    assert (told["kind"], told["axes"], told["channels"], told["dtype"]) == ("scene", ["y", "x"], 2, "uint8")
    assert "classes" not in told


def test_info_tells_what_a_mask_is_and_how_it_was_made(made):
    for name in ("scene_mask.tif", "scan_mask.nii.gz"):
        (told,) = items("info", made / name)
        assert told["made"]["input"]["name"] == ("scene.tif" if "scene" in name else "scan.nii.gz")
        assert told["classes"][0] == {
            "value": 0,
            "name": "a" if "scene" in name else "background",
            "colour": [200, 60, 50] if "scene" in name else [0, 0, 0],
        }
    assert told["orientation"] == "RAS"


def test_info_is_one_thing_a_line(made):
    lines = [line.rstrip() for line in pipeline("info", made / "scene_mask.tif").splitlines()]
    at = lines.index("crs       WGS 84 / UTM zone 33N")
    rows = [list(map(float, line.split()[-3:])) for line in lines[at + 1 : at + 4]]
    assert rows == items("info", made / "scene_mask.tif")[0]["affine"]
    assert lines[at + 1].startswith("affine")
    first = lines.index("classes   0 a #c83c32")
    assert lines[first + 1 : first + 3] == ["          1 b #000000", "          2 c #326ec8"]
    assert lines[first + 3] == "made      format: 1"
    made_of = [line.strip() for line in lines[first + 4 :]]
    assert {"input.name: scene.tif", "model: scene", "patch: 128 x 96", "normalisation.mean: 100.0 x 50.0"} <= {
        *made_of
    }
    assert all(": " in line for line in made_of)
    assert "axes      y, x" in lines
    assert "shape     150 x 130" in lines


def test_models_are_listed(models, monkeypatch, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        text = (models / "scene" / "card.json").read_text().replace('"name": "scene"', f'"name": "{name}"')
        (tmp_path / name / "card.json").write_text(text)
    monkeypatch.setattr("pipeline.models.catalogue.WEIGHTS", tmp_path)
    told = items("models")
    assert [card["name"] for card in told] == ["one", "two"]
    assert Card.from_json(json.dumps(told[0])).network == SCENE_CARD.network
    text = pipeline("models")
    assert "one" in text
    assert "0 a, 1 b, 2 c" in text


def exported(path: Path, output: Path) -> Path:
    assert json.loads(pipeline("export", path, "--output", output, "--json")) == {
        "input": str(path),
        "output": str(output),
    }
    return output


def test_a_mask_of_a_scene_goes_to_zarr_and_back(made, tmp_path):
    before = made / "scene_mask.tif"
    there = exported(before, tmp_path / "m.zarr")
    back = exported(there, tmp_path / "m.tif")
    assert np.array_equal(zarr.open_group(there, mode="r")["mask"][:], labels_of(before))
    assert np.array_equal(labels_of(back), labels_of(before))
    with rasterio.open(before) as one, rasterio.open(back) as other:
        assert one.profile == other.profile
        assert one.tags(1) == other.tags(1)
        assert one.colormap(1) == other.colormap(1)
    first, *others = ({**items("info", path)[0], "input": 0, "block": 0} for path in (before, there, back))
    assert [first, first] == others


def test_a_mask_of_a_volume_goes_to_zarr_and_back(made, tmp_path):
    before = made / "scan_mask.nii.gz"
    there = exported(before, tmp_path / "m.zarr")
    back = exported(there, tmp_path / "m.nii")
    assert np.array_equal(labels_of(back), labels_of(before))
    assert np.array_equal(nibabel.load(back).affine, nibabel.load(before).affine)
    assert json.loads((tmp_path / "m.json").read_text()) == json.loads((made / "scan_mask.json").read_text())
    first, *others = ({**items("info", path)[0], "input": 0, "block": 0} for path in (before, there, back))
    assert [first, first] == others


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("scene_mask.tif", "scene_mask.tif"), 2, "is the input itself"),
        (("scene_mask.tif", "scene.tif"), 1, "already exists; use --overwrite to replace it"),
        (("scene.tif", "x.zarr"), 2, "is not a mask, but 2 channels of uint8"),
        (("scan.nii.gz", "x.zarr"), 2, "is not a mask, but 1 channels of int16"),
        (("scene_mask.tif", "x.nii.gz"), 2, "a mask of a scene is written as"),
        (("scan_mask.nii.gz", "x.tif"), 2, "a mask of a volume is written as"),
        (("none.tif", "x.tif"), 2, "there is no such file"),
    ],
)
def test_what_cannot_be_exported_is_refused(made, words, code, said):
    before = sorted(made.iterdir())
    ended = RUNNER.invoke(app, ["export", str(made / words[0]), "--output", str(made / words[1])])
    assert ended.exit_code == code
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert sorted(made.iterdir()) == before


def test_the_reason_of_a_failure_names_its_input_once():
    assert archive.failure_report(Job("b.tif"), ValueError("oh")).reason == "b.tif: ValueError: oh; --debug shows where"
    assert archive.failure_report(Job("b.tif"), OutputError("c.tif: no room")).reason == "b.tif: c.tif: no room"
    assert archive.failure_report(Job("a.tif"), InputError("a.tif: is red")).reason == "a.tif: is red"


@pytest.mark.parametrize(
    ("variables", "profiles", "expected"),
    [
        ({}, None, False),
        ({"PREFECT_API_URL": "http://h/api"}, None, True),
        ({"PREFECT_API_URL": ""}, 'active = "a"\n[profiles.a]\nPREFECT_API_URL = "http://h"', False),
        ({}, 'active = "a"\n[profiles.a]\nPREFECT_API_URL = "http://h"', True),
        ({"PREFECT_PROFILE": "b"}, 'active = "a"\n[profiles.a]\nPREFECT_API_URL = "http://h"\n[profiles.b]', False),
        ({}, 'active = "a"\n[profiles.a]', False),
        ({}, "not toml", False),
    ],
)
def test_a_prefect_server_is_known_by_environment_or_profile(monkeypatch, tmp_path, variables, profiles, expected):
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"PREFECT_HOME": str(tmp_path), **variables}.items():
        monkeypatch.setenv(name, value)
    if profiles is not None:
        (tmp_path / "profiles.toml").write_text(profiles)
    assert (configured_server() is not None) is expected


def test_the_command_runs_as_a_process():
    command = [Path(sys.executable).with_name("pipeline"), "run", "-i", "none.tif", "-m", "none", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith('error: unknown model "none"')
