"""The notebooks of the documentation run from the first cell to the last."""

from __future__ import annotations

import contextlib
import os

import nbformat
import pytest

from pipeline.models import catalogue
from tests.support.fast_models import put_fast_models, put_start
from tests.support.notebooks import NOTEBOOKS, html_in, kernel_folders, run_here, run_in_kernel

pytestmark = pytest.mark.slow
BY_NAME = {path.stem: path for path in NOTEBOOKS}


@pytest.fixture(scope="module")
def fast_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    put_fast_models(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "WEIGHTS", folder)
        yield folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)
        assert max(map(len, cell.source.splitlines())) <= 120
    assert notebook.cells[0].source.startswith("# ")


def test_there_are_four():
    assert sorted(BY_NAME) == ["archive", "first-scene", "first-volume", "train-land-cover"]


@pytest.mark.parametrize("name", ["first-volume", "train-land-cover"])
def test_a_notebook_runs(name, tmp_path, fast_models):
    with contextlib.chdir(tmp_path):
        shown = run_here(BY_NAME[name])
    assert any("<img" in one for one in shown)


def test_a_kernel_shows_bars_and_masks(tmp_path, fast_models, monkeypatch):
    put_start(tmp_path, fast_models)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    for name, folder in kernel_folders(tmp_path).items():
        monkeypatch.setenv(name, folder)
    _, planned, run, figures, _ = run_in_kernel(BY_NAME["first-scene"], tmp_path)
    assert "patches" in html_in(planned)
    bar, report = (output.data["text/html"] for output in run)
    assert '<progress value="1.000"' in bar
    assert "1/1 items" in bar
    assert "<img" in report
    assert any(name in report for name in ("building", "land", "road", "vegetation", "water"))
    assert "iou" in html_in(figures)
    assert not [output for output in run if output.output_type == "stream"], "and no bars of characters"
