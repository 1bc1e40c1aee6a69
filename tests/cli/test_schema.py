"""The document that other programs are built on: held against the command line itself, and against its JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
from typer.testing import CliRunner

from pipeline import __version__
from pipeline.cli import app
from pipeline.cli.schema import schema
from pipeline.io.formats import mask_suffixes
from pipeline.models.catalogue import load_card, names

DOCUMENT = schema(app)
VERBS = {verb["name"]: verb for verb in DOCUMENT["verbs"]}
COMMANDS = {name: verb for name, verb in typer.main.get_command(app).commands.items() if not verb.hidden}
RULES = Path(__file__).parents[2] / "docs/reference/command-schema.json"


def test_the_document_follows_its_schema():
    jsonschema.Draft202012Validator.check_schema(json.loads(RULES.read_text("utf-8")))
    jsonschema.validate(DOCUMENT, json.loads(RULES.read_text("utf-8")))


def test_the_verb_prints_it():
    ended = CliRunner().invoke(app, ["schema", "--json"])
    assert json.loads(ended.stdout) == DOCUMENT
    assert DOCUMENT["pipeline"] == __version__
    assert "landcover" in CliRunner().invoke(app, ["schema"]).stdout


def test_every_option_of_every_verb_is_in_it():
    assert VERBS.keys() == COMMANDS.keys()
    for name, command in COMMANDS.items():
        shown = [one for one in command.params if not getattr(one, "hidden", False)]
        options = [[*one.opts, *one.secondary_opts] for one in shown if one.param_type_name == "option"]
        assert [one["flags"] for one in VERBS[name]["options"]] == options
        assert [one["help"] for one in VERBS[name]["arguments"]] == [
            one.help.partition(" Default: ")[0] for one in shown if one.param_type_name == "argument"
        ]


def option(verb: str, flag: str) -> dict[str, Any]:
    return next(one for one in VERBS[verb]["options"] if flag in one["flags"])


@pytest.mark.parametrize(
    ("verb", "flag", "expected"),
    [
        ("run", "--workers", {"type": "integer", "several": None, "unset": "this process alone"}),
        ("run", "--patch", {"type": "integer", "several": "commas"}),
        ("run", "--scale", {"type": "number", "several": "commas"}),
        ("run", "--memory", {"type": "text", "several": None}),
        ("run", "--input", {"type": "text", "several": "repeated", "names": "input"}),
        ("run", "--output", {"type": "text", "names": "output"}),
        ("run", "--model", {"several": "repeated", "names": "model"}),
        ("run", "--config", {"type": "path"}),
        ("run", "--precision", {"choices": ["float32", "bfloat16", "int8"]}),
        ("run", "--view", {"choices": ["axial", "coronal", "sagittal"], "several": "commas"}),
        ("run", "--layers", {"name": "layers", "choices": ["confidence", "probabilities", "scores", "disagreement"]}),
        ("run", "--wait", {"type": "number", "default": 30.0}),
        ("run", "--overwrite", {"type": "boolean", "default": False}),
        ("run", "--keep-header-text", {"type": "boolean", "flags": ["--keep-header-text", "--no-keep-header-text"]}),
        ("export", "--output", {"type": "path", "required": True}),
        ("export", "--sieve", {"type": "integer", "default": 0}),
        ("import-weights", "--dilation", {"choices": ["contracted", "full"]}),
        ("import-weights", "--output-stride", {"choices": ["8", "16", "32"], "type": "integer"}),
    ],
)
def test_an_option_has_its_type_choices_and_default(verb, flag, expected):
    found = option(verb, flag)
    assert {name: found[name] for name in expected} == expected


def test_models_and_formats_are_those_of_the_package():
    assert [model["name"] for model in DOCUMENT["models"]] == list(names())
    for model in DOCUMENT["models"]:
        assert [one["name"] for one in model["classes"]] == [one.name for one in load_card(model["name"]).classes]
    assert [suffix for one in DOCUMENT["formats"] for suffix in one["written"]] == list(mask_suffixes())
    assert {".jp2", ".nii.gz", ".mhd"} <= {suffix for one in DOCUMENT["formats"] for suffix in one["read"]}
    assert "DICOM" in {one["name"] for one in DOCUMENT["formats"] if one["folders"]}
