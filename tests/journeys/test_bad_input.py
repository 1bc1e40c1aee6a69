"""What goes wrong is said in one line with the place and the way out, and leaves nothing behind."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.runs import cluster
from tests.support.inputs import listing, pixels, put_scene, put_volume


@dataclass
class Ended:
    code: int
    out: str
    err: str


def pipeline(*words: object) -> Ended:
    ended = CliRunner().invoke(app, [str(word) for word in words])
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
    assert "Traceback" not in ended.output
    return Ended(ended.exit_code, ended.stdout, ended.stderr)


def text(path: Path) -> Path:
    path.write_text("this is no image\n")
    return path


def cut(path: Path) -> Path:
    """The first two thirds of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


def volume(path: Path) -> Path:
    return put_volume(path, pixels((9, 30, 40)).T.astype(np.int16), np.diag([1.0, 1, 2, 1]))


def scene(path: Path, channels: int = 2, **profile: object) -> Path:
    return put_scene(path, pixels((channels, 50, 60)), **profile)


def empty(path: Path) -> Path:
    path.touch()
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


CASES = {
    "missing file": (lambda f: f / "none.tif", "scene", 1, r"none\.tif: there is no such file; look for it with"),
    "missing folder": (lambda f: f / "x/y/none.tif", "scene", 1, r"none\.tif: there is no such file; .*`ls "),
    "text as tif": (lambda f: text(f / "a.tif"), "scene", 1, r"a\.tif: .* not recognized .*; try `gdalinfo"),
    "text as nifti": (lambda f: text(f / "a.nii.gz"), "volume", 1, r"a\.nii\.gz: is not NIfTI.*; convert it first"),
    "cut tif": (lambda f: cut(scene(f / "a.tif")), "scene", 1, r"a\.tif, rows 0 to 50: GDAL cannot read it .*gdalinfo"),
    "cut header": (lambda f: cut(cut(cut(scene(f / "a.tif", compress="deflate")))), "scene", 1, r"a\.tif"),
    "cut nii.gz": (
        lambda f: cut(volume(f / "a.nii.gz")),
        "volume",
        1,
        r"a\.nii\.gz: damaged at .*fetch the file again",
    ),
    "cut nii": (
        lambda f: cut(volume(f / "a.nii")),
        "volume",
        1,
        r"a\.nii: needs \d+ bytes .* holds \d+: it is cut short",
    ),
    "0 bytes": (lambda f: empty(f / "a.tif"), "scene", 1, r"a\.tif: is empty \(0 bytes\); fetch or write it again"),
    "0 bytes of nifti": (lambda f: empty(f / "a.nii.gz"), "volume", 1, r"a\.nii\.gz: is empty \(0 bytes\)"),
    "dicom": (lambda f: text(f / "a.DCM"), "volume", 1, r"a\.DCM: is a single DICOM file; give the folder .*$"),
    "packed afni": (
        lambda f: text(f / "a+orig.BRIK.gz"),
        "volume",
        1,
        r"gz: AFNI is not supported; .*`3dAFNItoNIFTI`$",
    ),
    "4 channels": (
        lambda f: put_scene(f / "a.tif", pixels((4, 50, 60)).astype(np.uint16)),
        "scene",
        1,
        r"a\.tif: has 4 channels, but the model scene takes 2 \(a, b\); choose them with --bands, e.g. --bands 1,2$",
    ),
    "1 channel": (lambda f: scene(f / "a.tif", 1), "scene", 1, r"has 1 channel.*`pipeline models` lists other models"),
    "complex": (
        lambda f: put_scene(f / "a.tif", np.ones((2, 9, 9), np.complex64)),
        "scene",
        1,
        r"a\.tif: pixels are complex64; only integers and real numbers",
    ),
    "scene for volumes": (
        lambda f: scene(f / "a.tif"),
        "volume",
        1,
        r"is a scene, but the model volume is for volumes",
    ),
    "volume for scenes": (lambda f: volume(f / "a.nii"), "scene", 1, r"is a volume, but the model scene is for scenes"),
    "unknown model": (
        lambda f: scene(f / "a.tif"),
        "hippocampu",
        2,
        r'unknown model .* \(did you mean "hippocampus"\?',
    ),
    "model that is a text": (lambda f: scene(text(f / "a.tif")), "text.json", 1, r"text\.json"),
    "empty folder": (lambda f: folder(f / "none"), "scene", 2, r"none: contains no GeoTIFF, NIfTI or Zarr"),
    "folder as store": (lambda f: folder(f / "a.zarr"), "scene", 1, r"a\.zarr: not a Zarr store"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_input_is_named_in_one_line(models, tmp_path, case):
    make, model, code, said = CASES[case]
    path = make(tmp_path)
    if model == "text.json":
        text(tmp_path / model)
        (tmp_path / "text.safetensors").touch()
    there = models / model if model in ("scene", "volume") else tmp_path / model if "." in model else model
    before = listing(tmp_path)
    ended = pipeline("run", "--input", path, "--model", there)
    assert ended.code == code, ended
    assert len(ended.err.splitlines()) == 1, ended.err
    assert_said(said, ended.err)
    assert listing(tmp_path) == before
    for verb in ("plan", "info"):
        ended = pipeline(verb, *(["--input", path, "--model", there] if verb == "plan" else [path]))
        assert len(ended.err.splitlines()) <= 1, ended.err
    assert listing(tmp_path) == before


def assert_said(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text


WORDS = {
    "output is the input": (["--output", "a.tif"], 1, r"a\.tif: is the input itself; give another --output"),
    "output below a file": (["--output", "a.tif/x/m.tif"], 1, r"a\.tif/x/m\.tif: cannot be created .*another --output"),
    "unknown suffix": (["--output", "m.png"], 2, r"m\.png: is neither a folder nor one of \.tif"),
    "scene to nifti": (["--output", "m.nii"], 1, r"m\.nii: a mask of a scene is written as \.tif, \.tiff, \.zarr, not"),
    "several to one": (
        ["--input", "b.tif", "--output", "m.tif"],
        2,
        r"m\.tif: is one file, but there are 2 inputs; give a folder",
    ),
    "unknown window": (["--window", "gauss"], 2, r"unknown window 'gauss' \(did you mean \"gaussian\"\?\); choose one"),
    "unknown view": (["--view", "front"], 2, r"unknown view 'front'; choose one of axial"),
    "repeated view": (["--view", "axial,axial"], 2, r"view axial,axial: each can be given once"),
    "view of a scene": (["--view", "axial"], 1, r"a\.tif: --view is for volumes; this is a scene"),
    "unknown tta": (["--tta", "flip"], 2, r"unknown tta 'flip' \(did you mean \"flips\"\?\); give flips or turns"),
    "tta out of scale": (["--tta", "flips,9"], 2, r"tta flips, 9: scales must be from 0\.25 to 4"),
    "turns of no square": (["--tta", "turns"], 1, r"a\.tif: tta turns: needs square patches, .* 128 x 96; give flips"),
    "too much overlap": (
        ["--overlap", "128"],
        1,
        r"a\.tif: overlap \(128, 128\) must be .* smaller than the patch \(128, 96\);",
    ),
    "overlap of a patch": (
        ["--overlap", "9", "--patch", "9"],
        2,
        r"overlap \(9, 9\) must be .* smaller than the patch \(9, 9\)",
    ),
    "no patch": (["--patch", "0"], 2, r"patch \(0, 0\) must be at least 1"),
    "words as patch": (["--patch", "big"], 2, r"'big' must be whole numbers with commas"),
    "three patches": (["--patch", "1,2,3"], 2, r"'1,2,3' must be one whole number, or height and width"),
    "band of 100": (["--rows", "100"], 1, r"--rows 100: must be a multiple of 1024"),
    "no memory": (["--memory", "1KiB"], 1, r"--memory 0\.0 MiB: the narrowest strip needs 0\.\d MiB; allow more"),
    "endless memory": (["--memory", "inf"], 2, r"--memory 'inf': must be a size, e.g. 500MiB"),
    "memory in words": (["--memory", "much"], 2, r"--memory 'much': must be a size, e.g. 500MiB"),
    "no workers": (["--workers", "0"], 2, r"--workers 0: must be at least 1"),
    "no band there": (["--bands", "1,7"], 1, r"a\.tif: there is no band 7; it has the bands 1, 2"),
    "no such band": (["--bands", "1,nir"], 1, r"a\.tif: there is no band nir; it has the bands 1, 2"),
    "an empty band": (
        ["--bands", "1,,2"],
        2,
        r"'1,,2' must be bands separated by commas, e.g. 4,3,2 or red,green,blue",
    ),
    "no scheduler": (
        ["--scheduler", "tcp://127.0.0.1:9"],
        1,
        r"cannot connect to a Dask scheduler at tcp://127\.0\.0\.1:9",
    ),
    "no device": (
        ["--device", "gpu"],
        1,
        r"a\.tif: --device gpu: not a device of torch; give cpu, cuda, cuda:1 or mps",
    ),
    "no such device": (
        ["--device", "cuda:99"],
        1,
        r"a\.tif: --device cuda:99: torch can use \d+ GPUs here; give cpu, or",
    ),
    "no job file": (["--config", "none.toml"], 2, r"none\.toml: the job file cannot be read"),
}


@pytest.mark.parametrize("case", WORDS)
def test_a_wrong_word_is_named_in_one_line(models, tmp_path, monkeypatch, case):
    words, code, said = WORDS[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    for name in ("a.tif", "b.tif", "c/a.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        scene(tmp_path / name)
    before = listing(tmp_path)
    ended = pipeline("run", "--input", "a.tif", "--model", models / "scene", "--precision", "float32", *words)
    assert ended.code == code, ended
    assert len(ended.err.splitlines()) == 1, ended.err
    assert_said(said, ended.err)
    assert listing(tmp_path) == before


def test_one_bad_input_does_not_stop_the_others(models, tmp_path):
    for name, make in (("a", scene), ("b", text), ("c", scene)):
        make(tmp_path / f"{name}.tif")
    ended = pipeline("run", "--input", tmp_path, "--model", models / "scene", "--output", tmp_path / "out", "--json")
    assert ended.code == 1
    items = json.loads(ended.out)["items"]
    assert [item["status"] for item in items] == ["done", "failed", "done"]
    assert "b.tif" in items[1]["reason"]
    masks = {f"{name}_mask.tif{aux}" for name in "ac" for aux in ("", ".aux.xml")}
    assert listing(tmp_path / "out") == {*masks, "archive.sqlite", "archive.json"}


def test_an_error_that_nobody_foresaw_is_one_line_too(models, tmp_path, monkeypatch):
    def fails(*_):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("pipeline.masks.info.describe", fails)
    ended = pipeline("info", scene(tmp_path / "a.tif"))
    assert (ended.code, ended.err) == (1, "error: ZeroDivisionError: oh; --debug shows where\n")
    assert isinstance(CliRunner().invoke(app, ["--debug", "info", "a.tif"]).exception, ZeroDivisionError)


LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'


@pytest.mark.parametrize(
    "profile",
    [{"crs": None}, {"crs": LOCAL}, {"crs": None, "transform": Affine.identity()}],
    ids=["no system", "a local system", "no place at all"],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_scene_without_a_known_system_is_segmented_all_the_same(models, tmp_path, profile):
    path = scene(tmp_path / "a.tif", **profile)
    assert pipeline("run", "--input", path, "--model", models / "scene").code == 0
    with rasterio.open(path) as before, rasterio.open(tmp_path / "a_mask.tif") as after:
        assert after.crs == before.crs
        assert after.transform == before.transform


def test_a_file_that_is_not_ours_is_not_replaced_by_what_goes_beside_a_mask(tmp_path, models):
    scan, beside = volume(tmp_path / "scan.nii.gz"), tmp_path / "scan_mask.json"
    beside.write_text('{"mine": 1}')
    ended = pipeline("run", "--input", scan, "--model", models / "volume")
    assert ended.code == 1
    assert f"{beside}: already exists and would be overwritten" in ended.err
    assert beside.read_text() == '{"mine": 1}'
    assert pipeline("run", "--input", scan, "--model", models / "volume", "--overwrite").code == 0
    assert "made" in json.loads(beside.read_text())
