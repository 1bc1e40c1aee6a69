"""Names of files, which may be names of patients, are told as digits where that is asked for."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension
from typer.testing import CliRunner

from pipeline.archive.pseudonyms import pseudonym, without_names
from pipeline.cli import app
from pipeline.runs.report import Report
from tests.support.inputs import pixels, put_volume

PATIENT = "Miller_Anne"


@pytest.fixture
def archive(tmp_path):
    """A scan that is fine, one that is broken, and one that cannot be written beside."""
    folder = tmp_path / "in" / PATIENT
    folder.mkdir(parents=True)
    put_volume(folder / f"{PATIENT}_1.nii.gz", np.full((20, 20, 4), 7, np.int16), np.eye(4))
    (folder / f"{PATIENT}_2.nii.gz").write_bytes(b"broken")
    put_volume(folder / f"{PATIENT}_3.nii.gz", np.full((20, 20, 4), 7, np.int16), np.eye(4))
    (folder / f"{PATIENT}_3_mask.json").write_text("{}")
    return tmp_path / "in"


@pytest.mark.parametrize("output", [(), ("--output", "masks/")])
@pytest.mark.parametrize("told", [(), ("--json",)])
def test_no_name_is_told(archive, models, monkeypatch, tmp_path, output, told):
    monkeypatch.chdir(tmp_path)
    words = ["run", "--input", "in", "--model", str(models / "volume"), *output, *told, "--no-prefect", "--hash-names"]
    for again in (False, True):
        ended = CliRunner().invoke(app, words)
        assert ended.exit_code == 1, ended.output
        assert ended.output
        assert "miller" not in ended.output.lower()
        assert "anne" not in ended.output.lower()
        paths = sorted(Path("in", PATIENT).glob("*.nii.gz"))
        named = [pseudonym(path) in ended.output for path in paths if "_mask" not in path.name]
        assert all(named) or (again and not told), "skipped items take one line"
        assert named[1], "a failure is named"
    if told:
        items = json.loads(ended.stdout)["items"]
        assert {item["status"] for item in items} <= {"skipped", "failed"}


def test_a_reason_is_told_without_the_names_in_it(archive):
    path = archive / PATIENT / f"{PATIENT}_1.nii.gz"
    report = Report(str(path), None, "failed", f"{path}: broken, and {PATIENT}_1_mask.json is there", 0.0, 0)
    told = without_names(report)
    assert told.input == pseudonym(path)
    assert told.reason.startswith(f"{pseudonym(path)}: broken, and ")
    assert PATIENT not in told.reason


@pytest.fixture
def told_scan(tmp_path):
    """A scan of a BIDS dataset whose header names the patient wherever it has room for text."""
    image = nibabel.Nifti1Image(pixels((4, 30, 40), seed=3).T.astype(np.int16), np.diag([1.0, 1, 2, 1]))
    for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        image.header[field] = PATIENT.encode()
    image.header.extensions.append(Nifti1Extension("comment", f"of {PATIENT}".encode()))
    path = tmp_path / "study" / "sub-01" / "anat" / "sub-01_T1w.nii"
    path.parent.mkdir(parents=True)
    nibabel.save(image, path)
    assert path.read_bytes().count(PATIENT.encode()) >= 5
    (tmp_path / "study" / "dataset_description.json").write_text(f'{{"Name": "{PATIENT}", "BIDSVersion": "1.10.0"}}')
    return path


def test_text_of_a_header_reaches_no_output_at_all(told_scan, models, tmp_path, capfd):
    out, model = tmp_path / "out", str(models / "volume")
    volume = ["--input", str(told_scan), "--model", model, "--no-prefect"]
    runs = [["run", *volume, "--output", str(out / name)] for name in ("m.nii.gz", "m.nii", "m.zarr", "folder/")]
    dataset = ["--input", str(tmp_path / "study"), "--bids", "T1w", "--model", model, "--no-prefect", "--json"]
    runs.append(["run", *dataset, "--ledger", str(out / "bids" / "archive.sqlite"), "--output", str(out / "bids")])
    runs.append(["plan", "--input", str(told_scan), "--model", model, "--no-probe"])
    mask = str(out / "m.nii.gz")
    runs += [["export", mask, "--output", str(out / name)] for name in ("e.nii.gz", "e.zarr", "e.ctbl", "e.label")]
    runs.append(["export", mask, "--output", str(out / "e.png"), "--image", str(told_scan)])
    runs.append(["export", mask, "--output", str(out / "parts"), "--per-class"])
    runs.append(["measure", mask, "--image", str(told_scan), "--output", str(out / "table.csv")])
    runs.append(["check", mask, "--like", str(told_scan)])
    runs.append(["info", mask, str(told_scan)])
    said = ""
    for words in runs:
        ended = CliRunner().invoke(app, words)
        assert ended.exit_code == 0, (words, ended.output)
        said += ended.output
    said += "".join(capfd.readouterr())
    written = [path for path in out.rglob("*") if path.is_file()]
    assert {"archive.sqlite", "sub-01_dseg.tsv", "e.png", "organ.nii.gz", "table.csv"} <= {
        path.name for path in written
    }
    for text in (said.encode(), *(plain(path) for path in written)):
        assert b"miller" not in text.lower()


def plain(path):
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def test_prefect_would_keep_them(archive, models):
    words = ["run", "--input", str(archive), "--model", str(models / "volume"), "--hash-names", "--prefect"]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 2
    assert "Prefect stores the names of its items" in ended.stderr
