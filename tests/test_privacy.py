"""Names of files, which may be names of patients, are told as digits where that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.privacy import digest_of, without_names
from pipeline.segmentation import Report
from tests.inputs import put_volume

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
    for _ in range(2):
        ended = CliRunner().invoke(app, words)
        assert ended.exit_code == 1, ended.output
        assert ended.output
        assert "miller" not in ended.output.lower()
        assert "anne" not in ended.output.lower()
        paths = sorted(Path("in", PATIENT).glob("*.nii.gz"))
        assert all(digest_of(path) in ended.output for path in paths if "_mask" not in path.name)
    if told:
        items = json.loads(ended.stdout)["items"]
        assert {item["status"] for item in items} <= {"skipped", "failed"}


def test_a_reason_is_told_without_the_names_in_it(archive):
    path = archive / PATIENT / f"{PATIENT}_1.nii.gz"
    report = Report(str(path), None, "failed", f"{path}: broken, and {PATIENT}_1_mask.json is there", 0.0, 0)
    told = without_names(report)
    assert told.input == digest_of(path)
    assert told.reason.startswith(f"{digest_of(path)}: broken, and ")
    assert PATIENT not in told.reason


def test_prefect_would_keep_them(archive, models):
    words = ["run", "--input", str(archive), "--model", str(models / "volume"), "--hash-names", "--prefect"]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 2
    assert "Prefect keeps the names of its items" in ended.stderr
