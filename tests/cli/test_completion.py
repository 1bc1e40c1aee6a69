"""What the shell offers: by the completers, and by a real bash, which is asked as the key does it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.cli.completion import MASKS, choices, export_names, mask_names, model_names
from pipeline.decoding import keys_of
from pipeline.engine.windows import WINDOWS
from pipeline.io.formats import mask_suffixes
from pipeline.io.suffixes import SIDECARS, VECTORS
from pipeline.jobs.job import JobOptions
from pipeline.jobs.layers import LAYERS
from pipeline.masks.export import SEGMENTS
from pipeline.models.card import views_of
from pipeline.models.inference.tta import WORDS

OFFERED = {key.name: key.choices for key in keys_of(JobOptions)}


def test_the_words_that_are_offered_are_those_that_are_read():
    """They are written down once more, for what reads them takes long to import."""
    assert OFFERED["window"] == WINDOWS
    assert OFFERED["layers"] == LAYERS
    assert OFFERED["tta"] == tuple(WORDS)
    assert OFFERED["view"] == views_of(OFFERED["view"])
    assert mask_suffixes() == MASKS


@pytest.mark.parametrize(
    ("written", "offered"),
    [
        ("", ["axial", "coronal"]),
        ("c", ["coronal"]),
        ("axial,", ["axial,coronal"]),
        ("coronal,a", ["coronal,axial"]),
        ("x", []),
    ],
)
def test_each_of_several_words_is_offered_once(written, offered):
    assert choices(("axial", "coronal"), several=True)(written) == offered


@pytest.mark.parametrize("written", ["out", "", "../", "..", "a.b/out"])
def test_files_are_offered_before_the_dot(written):
    assert mask_names(written) == []


def test_suffixes_are_offered_after_the_dot():
    assert mask_names("a.b/out.n") == [f"a.b/out{suffix}" for suffix in MASKS if suffix.startswith(".n")]
    assert mask_names("out.seg.") == ["out.seg.nrrd"]
    assert export_names("out.") == [f"out{suffix}" for suffix in (*MASKS, *VECTORS, *SIDECARS, SEGMENTS)]


def test_models_are_offered_by_name():
    assert model_names("") == ["hippocampus", "landcover", "landcover-fast"]
    assert model_names("l") == ["landcover", "landcover-fast"]


def completed(*words: str) -> list[str]:
    """What the command answers the script of bash, in this process."""
    asked = {"_PIPELINE_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    ended = CliRunner().invoke(app, [], prog_name="pipeline", env=asked)
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("pipeline", "exp"), ["export", "export-model"]),
        (("pipeline", "do"), ["doctor"]),
        (("pipeline", "run", "--work"), ["--workers"]),
        (("pipeline", "run", "--precision", "b"), ["bfloat16"]),
        (("pipeline", "run", "--view", "axial,c"), ["axial,coronal"]),
        (("pipeline", "plan", "-m", "h"), ["hippocampus"]),
        (("pipeline", "models", "l"), ["landcover", "landcover-fast"]),
        (("pipeline", "quantize", "--model", "l"), ["landcover", "landcover-fast"]),
        (("pipeline", "run", "-o", "a/mask.z"), ["a/mask.zarr"]),
        (("pipeline", "export", "mask.tif", "-o", "mask.g"), ["mask.gpkg", "mask.geojson"]),
        (("pipeline", "run", "--input", "sc"), []),
        (("pipeline", "info", "sc"), []),
        (("pipeline", "run", "--config", "jo"), []),
    ],
)
def test_verbs_options_and_their_words_are_completed(words, offered):
    """Where nothing is offered, the shell completes files."""
    assert completed(*words) == offered


START = "import sys; sys.argv[0] = 'pipeline'; from pipeline.cli import main; main()"
ASK = """
source completion.sh
ask() {
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  _pipeline_completion pipeline
  echo "${COMPREPLY[*]}"
}
ask pipeline run --model lan
ask pipeline run --input sc
complete -p pipeline
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_a_real_bash_completes_models_and_leaves_files_to_itself(tmp_path):
    command = tmp_path / "pipeline"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{START}" "$@"\n')
    command.chmod(0o755)
    script = CliRunner().invoke(app, [], prog_name="pipeline", env={"_PIPELINE_COMPLETE": "source_bash"})
    (tmp_path / "completion.sh").write_text(script.stdout)
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        ["bash", "--norc", "-c", ASK], cwd=tmp_path, env={**os.environ, **path}, capture_output=True, text=True
    )
    model, file, registered = ended.stdout.splitlines()
    assert (model, file) == ("landcover landcover-fast", ""), ended.stderr
    assert registered == "complete -o default -F _pipeline_completion pipeline"
