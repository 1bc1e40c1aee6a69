from __future__ import annotations

import inspect
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.cli import app as whole
from pipeline.cli.options import HOW, WHAT, Panel, verb
from pipeline.decoding import Meaning, keys_of, read_toml
from pipeline.decoding.readers import DURATION, PAIR, SIZE, TEXTS
from pipeline.engine import WINDOWS
from pipeline.errors import RequestError
from pipeline.jobs.job import JobOptions, Resources
from pipeline.jobs.layers import LAYERS
from pipeline.jobs.request import Request
from pipeline.training.config import TrainingResources

MAKE = runpy.run_path(str(Path(__file__).parents[2] / "docs/reference/make.py"))
FORMER = {
    "run": {"--also", "--affine", "--band"},
    "plan": {"--also", "--affine", "--band"},
    "evaluate": {"--affine", "--inputs"},
    "export": {"--each", "--structure"},
    "schedule": {"--at-once"},
    "import-weights": {"--licence"},
}


@dataclass(frozen=True)
class Wider(Request):
    """A request with one field more: all that a new option needs."""

    tile: Annotated[tuple[int, int] | None, PAIR, Meaning("Size of a tile.", unset="none", former=("cell",))] = None


@dataclass(frozen=True)
class Every:
    """A field of each kind."""

    name: Annotated[str, Meaning("A name.")]
    count: Annotated[int, Meaning("A count.")] = 3
    share: Annotated[float | None, Meaning("A share.")] = None
    quick: Annotated[bool, Meaning("Whether it is quick.", name="fast")] = False
    sure: Annotated[bool | None, Meaning("Whether it is sure.")] = None
    kind: Annotated[Literal[8, 16] | None, Meaning("A kind.")] = None
    files: Annotated[tuple[str, ...], TEXTS, Meaning("Files.", short="-f")] = ()
    size: Annotated[int | None, SIZE, Meaning("A size.")] = None
    wait: Annotated[float, DURATION, Meaning("A time.", unset="10s")] = 10.0
    inner: int = 7


def made_of(kind, *words, names=()):
    """The value that a verb which takes `kind` is given, and what is on the screen."""
    given = []

    def run(value):
        given.append(value)

    run.__annotations__ = {"value": Annotated[kind, Panel("All", *names)]}
    app = typer.Typer()
    app.command()(verb(run))
    ended = CliRunner().invoke(app, [str(word) for word in words])
    return (given or [ended.exit_code])[0], ended.output


def test_a_new_option_is_one_field(tmp_path):
    """It is on the command line, in job files and in the reference, and nothing else has to be written."""
    wider = Wider(input=("a.tif",), tile=(3, 4))
    assert made_of(Wider, "--input", "a.tif", "--tile", "3,4")[0] == wider
    assert made_of(Wider, "--input", "a.tif", "--cell", "3,4")[0] == wider
    assert "Size of a tile. Default: none." in " ".join(made_of(Wider, "--help")[1].replace("│", " ").split())
    for key in ("tile", "cell"):
        (tmp_path / "job.toml").write_text(f'input = "a.tif"\n{key} = [3, 4]')
        assert read_toml(Wider, tmp_path / "job.toml", "job file") == wider
    assert "| `tile` | a whole number, or [height, width] | Size of a tile. Default: none. |" in MAKE["job_file"](Wider)


def test_options_are_one_value():
    assert made_of(Every, "--name", "x")[0] == Every("x")
    words = ("--name", "x", "--count", 4, "--share", 0.5, "--fast", "--no-sure", "--kind", 16, "--size", "2KiB")
    assert made_of(Every, *words, "-f", "a", "--files", "b", "--wait", "2m")[0] == Every(
        "x", 4, 0.5, True, False, 16, ("a", "b"), 2048, 120.0
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--name"),
        (("--name", "x", "--size", "much"), "error: --size 'much': must be a size, e.g. 500MiB or 2GiB"),
        (("--name", "x", "--wait", "soon"), "error: --wait 'soon': must be a time"),
        (("--name", "x", "--count", "many"), "--count"),
        (("--name", "x", "--inner", "8"), "--inner"),
    ],
)
def test_what_is_wrong_is_named_with_its_option(words, said):
    code, printed = made_of(Every, *words)
    assert code == 2
    assert said in printed


def test_an_older_name_is_read_and_noted():
    made, printed = made_of(Every, "--name", "x", "--quick")
    assert made.quick
    assert "note: --quick is now --fast" in printed
    code, printed = made_of(Wider, "--tile", "1", "--cell", "2")
    assert code == 2
    assert "--cell is the old name of --tile; give only the new one" in printed


def test_a_panel_may_take_some_fields():
    assert made_of(Every, "--count", 5, names=("count",))[0] == 1, "name is missing, and is no option"
    assert made_of(Resources, "--device", "cpu", names=("device",))[0] == Resources(device="cpu")
    assert made_of(Resources, "--workers", 2, names=("device",))[0] == 2


@given(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)))
def test_an_option_and_a_key_are_the_same_value(pair):
    (key,) = (key for key in keys_of(JobOptions) if key.name == "patch")
    assert key.reader.parse(f"{pair[0]},{pair[1]}") == key.reader.read(list(pair)) == pair


@pytest.mark.parametrize("name", sorted(MAKE["typer"].main.get_command(whole).commands))
def test_older_names_are_hidden(name):
    command = MAKE["typer"].main.get_command(whole).commands[name]
    hidden = {flag for option in command.params if getattr(option, "hidden", False) for flag in option.opts}
    assert hidden == FORMER.get(name, set())
    assert all(option.help for option in command.params if not getattr(option, "hidden", False))


def test_no_verb_has_more_than_eight_parameters():
    for command in MAKE["typer"].main.get_command(whole).commands.values():
        assert len(inspect.signature(inspect.unwrap(command.callback)).parameters) <= 8


def test_help_names_what_may_be_chosen():
    help_of = {key.name: key.meaning.help for key in keys_of(Request)}
    assert all(word in help_of["window"] for word in WINDOWS)
    assert all(word in help_of["layers"] for word in LAYERS)
    assert WHAT != HOW


def test_workers_of_a_training_are_not_below_zero():
    assert TrainingResources(workers=0).workers == 0
    with pytest.raises(RequestError, match="--workers -1: must be at least 0"):
        TrainingResources(workers=-1)
