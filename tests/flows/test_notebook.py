"""The notebook of an archive with Prefect and Dask, in a kernel."""

from __future__ import annotations

import os

import pytest

from tests.support.fast_models import put_fast_models, put_start
from tests.support.notebooks import NOTEBOOKS, html_in, kernel_folders, run_in_kernel

pytestmark = pytest.mark.server


def test_an_archive_is_segmented_from_a_notebook(tmp_path, address, monkeypatch):
    put_fast_models(tmp_path / "weights")
    put_start(tmp_path, tmp_path / "weights")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("PREFECT_API_URL", address)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    for name, folder in kernel_folders(tmp_path).items():
        monkeypatch.setenv(name, folder)
    (archive,) = (path for path in NOTEBOOKS if path.stem == "archive")
    _, listed, shown = run_in_kernel(archive, tmp_path)
    (told,) = (output.data["text/plain"] for output in listed if output.output_type == "execute_result")
    assert told.count("'done'") == 2
    assert told.count("'failed'") == 1
    assert "<img" in html_in(shown)
