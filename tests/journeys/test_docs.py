"""What the documentation shows is run, and its reference pages are held against the code.

Above a block, an HTML comment may say how it is taken:

    <!-- saved as job.toml -->      the block is a file of the reader's
    <!-- exits with 1 -->           the last command fails, as it should
    <!-- exits with any code -->    the last command may fail
    <!-- not run: REASON -->        only where a server or a cluster is needed

Lines under a `$ command` are its output, and a `text` block right after a `python` block is what that prints; `...`
stands for anything.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import inspect
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from dataclasses import MISSING, fields, is_dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple, get_type_hints

import click
import numpy as np
import pytest
import typer.main
import zarr

import pipeline
from docs.pictures import architecture
from docs.site import navigation
from pipeline.classes import LabelClass
from pipeline.cli import app
from pipeline.decoding import keys_of
from pipeline.demo import scene_grid
from pipeline.geometry import Grid
from pipeline.io.zarr import create_labels
from pipeline.jobs.request import Request, Search
from pipeline.models import catalogue
from pipeline.models.card import Card, ClassEntry, Int8, Normalization
from pipeline.models.spec import ONNXSpec, PSPNetSpec
from pipeline.training.config import Training
from tests.support.fast_models import put_fast_models, put_start
from tests.support.output import without_progress

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FRONT = [DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"]
SAMPLES = DOCS / "howto/sample-inputs.md"


class Block(NamedTuple):
    note: str
    kind: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^(?:<!-- ([^\n]*) -->\n)?```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(m[1] or "", m[2], m[3], text[: m.start(3)].count("\n")) for m in found]


RUN = [page for page in PAGES if any(block.kind in ("python", "console") for block in blocks_of(page))]


def name_of(page: Path) -> str:
    return str(page.relative_to(DOCS))


SITE = [DOCS.parent / page for page in navigation.pages()]
PICTURES = ("png", "svg", "webp")


def path_of(page: Path) -> str:
    return str(page.relative_to(DOCS.parent))


@pytest.fixture(scope="module")
def fast_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    put_fast_models(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "WEIGHTS", folder)
        yield folder


@pytest.fixture(scope="module")
def samples(tmp_path_factory, fast_models):
    folder = tmp_path_factory.mktemp("samples")
    with contextlib.chdir(folder):
        run_page(SAMPLES)
    return folder


FEW_EXAMPLES = """
from hypothesis import Phase, settings

settings.register_profile("few", max_examples=10, phases=[Phase.generate])
settings.load_profile("few")
"""


@pytest.fixture
def reader(tmp_path, samples, fast_models, monkeypatch):
    """A reader's folder with the sample inputs, and the models in this and in all processes begun from here."""
    folder = tmp_path / "reader"
    shutil.copytree(samples, folder)
    (folder / "conftest.py").write_text(FEW_EXAMPLES)
    start = tmp_path / "start"
    start.mkdir()
    put_start(start, fast_models)
    monkeypatch.setenv("PYTHONPATH", str(start), prepend=os.pathsep)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # which would rewrite the asserts of whole libraries
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.filterwarnings("ignore:Use .@. matmul:PendingDeprecationWarning")  # of affine, by rioxarray
@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_what_a_page_shows_is_what_happens(page, reader):
    run_page(page)


def run_page(page: Path) -> None:
    shared: dict[str, object] = {"__name__": "page"}
    blocks = blocks_of(page)
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        place = f"{name_of(page)}, line {block.line}"
        if block.note.startswith("saved as "):
            Path(block.note.removeprefix("saved as ")).write_text(block.text, encoding="utf-8")
        elif block.note.startswith("not run: "):
            continue
        elif block.kind == "console":
            run_console(block, place)
        elif block.kind == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * block.line + block.text, str(page), "exec"), shared)
            if after is not None and after.kind == "text":
                check(after.text, printed.getvalue(), place)


def run_console(block: Block, place: str) -> None:
    steps = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    for number, step in enumerate(steps, 1):
        command, expected = re.match(r"((?:[^\n]*\\\n)*[^\n]*\n)(.*)", step, re.DOTALL).groups()
        code, printed = run_command(command.replace("\\\n", " ").strip())
        wanted = block.note.removeprefix("exits with ") if number == len(steps) and block.note else "0"
        assert wanted in ("any code", str(code)), f"{place}: {command} exits with {code}\n{printed}"
        if expected.strip():
            check(expected, printed, f"{place}: {command}")


def run_command(command: str) -> tuple[int, str]:
    """Exit code and output; `pipeline` itself runs here, for a process of its own takes seconds to begin."""
    if not command.startswith("pipeline ") or re.search(r"[|<>;&$]", re.sub("'[^']*'", "", command)):
        bash = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return bash.returncode, bash.stdout
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            app(shlex.split(command)[1:])
        except SystemExit as end:
            return int(end.code or 0), printed.getvalue()
    return 0, printed.getvalue()


ONLY_SOMEWHERE = r"^(.*labels agree with float32 on .*|bfloat16 is slow on this machine.*)\n"


def check(expected: str, printed: str, place: str) -> None:
    """Compare without the lines that only some machines add: those fast in bfloat16, and those slow in everything."""
    printed = re.sub(ONLY_SOMEWHERE, "", without_progress(printed), flags=re.MULTILINE)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(expected, printed, flags):
        pytest.fail(f"{place}\nshown:\n{textwrap.indent(expected, '  ')}\nprinted:\n{textwrap.indent(printed, '  ')}")


def test_only_servers_and_clusters_excuse_a_block():
    notes = [block.note for page in PAGES for block in blocks_of(page) if block.note.startswith("not run")]
    assert all(re.search(r"\b(server|cluster)\b", note) for note in notes), notes


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def prose_of(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", SITE, ids=path_of)
def test_links_lead_somewhere(page):
    for target in LINK.findall(prose_of(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{page}: {target}"
        assert not anchor or anchor in anchors(file), f"{page}: {target}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings; those of one name are numbered."""
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    known = [re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings]
    return {f"{name}-{before}" if (before := known[:at].count(name)) else name for at, name in enumerate(known)}


def test_an_anchor_is_that_of_a_heading_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# `--like`: a grid\n\n```sh\n# no heading\n```\n\n## Keys\n\n## Keys\n")
    assert anchors(page) == {"--like-a-grid", "keys", "keys-1"}


def test_the_index_lists_every_page_of_the_documentation():
    assert {DOCS.parent / page for page in navigation.pages()} >= {*PAGES, *FRONT}


def test_every_picture_is_shown_on_a_page():
    shown = {(page.parent / target).resolve() for page in SITE for target in LINK.findall(prose_of(page))}
    assert {path for kind in PICTURES for path in DOCS.rglob(f"*.{kind}")} <= shown


@pytest.mark.parametrize("page", SITE, ids=path_of)
def test_blocks_of_files_can_be_read(page):
    readers = {"json": json.loads, "toml": tomllib.loads, "py": ast.parse, "python": ast.parse}
    for block in blocks_of(page):
        if block.kind in readers:
            readers[block.kind](block.text)


@pytest.mark.parametrize("page", SITE, ids=path_of)
def test_verbs_and_options_that_a_page_names_exist(page):
    """Those of blocks that are not run, too, and of code in the text."""
    shown = [line for block in blocks_of(page) if block.kind in ("console", "sh") for line in commands_of(block.text)]
    for command in [*shown, *re.findall(r"`pipeline ([a-z][^`]*)`", prose_of(page))]:
        verb, *words = re.split(r"[\s=]+", command)
        options = {word for word in words if re.fullmatch(r"--?[a-z][\w-]*", word, re.IGNORECASE)}
        assert verb in COMMANDS, f"{page}: pipeline {command}"
        assert options <= {*options_of(COMMANDS[verb]), "--help"}, f"{page}: pipeline {command}"
    assert set(re.findall(r"`(--[a-z][\w-]*)", prose_of(page))) <= {
        *chain(*map(options_of, COMMANDS.values())),
        *OTHERS,
    }


def commands_of(block: str) -> list[str]:
    """What follows `pipeline` in the lines of a block that begin with it, up to a remark or another command."""
    lines = re.findall(r"^(?:\$ )?(?:[A-Z_]+=\S* )*pipeline ([a-z].*)$", block.replace("\\\n", " "), re.MULTILINE)
    return [re.split(r" #| [|>&;]", line)[0] for line in lines]


OTHERS = {"--help", "--debug", "--install-completion", "--show-completion", "--suffix", "--cost", "--kills"}
OTHERS |= {"--gpus", "--entrypoint", "--lend", "--from-store", "--faults", "--server"}
"""Options of all verbs, of benchmarks, and of Docker."""


def options_of(verb: click.Command) -> set[str]:
    return {name for option in verb.params for name in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize("page", [page for page in SITE if page.name != "CHANGELOG.md"], ids=path_of)
def test_files_that_a_page_names_exist(page):
    """But for those of changes, which are of their time."""
    named = re.findall(
        r"`((?:pipeline|flows|tests|docs|benchmarks|configs)/[\w/.*-]+)", page.read_text(encoding="utf-8")
    )
    assert [name for name in named if not list(DOCS.parent.glob(name.rstrip("/")))] == []


def test_a_decision_is_one_page_of_five_parts():
    for page in (DOCS / "decisions").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        parts = ["Motivation", "Choice", "Why", "Alternatives", "Consequences"]
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == parts, page
        assert text.count("\n") <= 45, page


def test_pictures_are_small():
    sizes = [path.stat().st_size for kind in PICTURES for path in DOCS.rglob(f"*.{kind}")]
    assert max(sizes) < 300_000
    assert sum(sizes) < 3_000_000


@pytest.mark.parametrize("name", architecture.pictures())
def test_the_pictures_of_the_architecture_are_those_of_the_code(name):
    """`python -m docs.pictures.architecture` draws them."""
    assert (DOCS / "pictures" / name).read_text(encoding="utf-8") == architecture.pictures()[name]


def section(page: str, heading: str) -> str:
    text = (DOCS / "reference" / page).read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {heading}"
    return found[1]


def first_column(text: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)`", text, re.MULTILINE))


def test_the_tables_of_the_reference_are_made_from_the_code():
    make = runpy.run_path(str(DOCS / "reference/make.py"))
    for name in make["PAGES"]:
        page = (DOCS / "reference" / name).read_text(encoding="utf-8")
        assert make["remade"](page) == page, f"{name} is older than the code; python docs/reference/make.py"
    documented = [section for name in make["PAGES"] for section in make["tables_of"](name)]
    assert {f"pipeline {verb}" for verb in COMMANDS} | make["TABLES"].keys() == set(documented)


COMMANDS = {name: verb for name, verb in typer.main.get_command(app).commands.items() if not verb.hidden}


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_option_of_a_verb_is_documented(verb):
    shown = [option for option in COMMANDS[verb].params if not getattr(option, "hidden", False)]
    given = {name for option in shown for name in (*option.opts, *option.secondary_opts)}
    rows = re.findall(r"^\| (.*?) \|", section("cli.md", f"pipeline {verb}"), re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(-[^` ]+|[A-Z]+)", row)}
    positional = {"file": "FILE", "files": "FILES", "mask": "MASK", "masks": "MASK", "asked": "MODEL"}
    positional |= {"ledger": "LEDGER", "places": "PLACES", "subject": "SUBJECT", "model": "MODEL", "to": "ADDRESS"}
    assert documented == {positional.get(name, name) for name in given}


@pytest.mark.parametrize(("heading", "kind"), [("Keys", Request), ("search", Search)])
def test_every_key_of_a_job_file_is_documented(heading, kind):
    assert first_column(section("job-file.md", heading)) == {key.name for key in keys_of(kind)}


@pytest.mark.parametrize("heading", ["Keys", "classes", "network", "network in ONNX", "normalisation", "int8"])
def test_every_key_of_a_card_is_documented(heading):
    kinds = {
        "Keys": Card,
        "classes": ClassEntry,
        "network": PSPNetSpec,
        "network in ONNX": ONNXSpec,
        "normalisation": Normalization,
        "int8": Int8,
    }
    assert first_column(section("card.md", heading)) == {key.name for key in keys_of(kinds[heading])}


@pytest.mark.parametrize("name", pipeline.__all__)
def test_every_public_name_is_documented_as_it_is(name):
    found = getattr(pipeline, name)
    text = section("python.md", name)
    if is_dataclass(found) or hasattr(found, "_fields"):
        known = getattr(found, "_fields", None) or [field.name for field in fields(found)]
        assert first_column(text) >= set(known)
    if inspect.isfunction(found):
        shown = ast.parse(re.search(r"```py\n(.*?)```", text, re.DOTALL)[1]).body[0]
        real = ast.parse(textwrap.dedent(inspect.getsource(found))).body[0]
        assert ast.unparse(shown.args) == ast.unparse(real.args)
        assert ast.unparse(shown.returns) == ast.unparse(real.returns)


@pytest.mark.parametrize("scene", [True, False], ids=["scene", "volume"])
def test_every_attribute_of_a_store_is_documented(scene, tmp_path):
    affine = ((0.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    grid = scene_grid((4, 5)) if scene else Grid((3, 4, 5), affine, ("z", "y", "x"))
    classes = (LabelClass(0, "land", (1, 2, 3)),)
    create_labels(tmp_path / "a.zarr", grid, np.dtype(np.uint8), nodata=255, classes=classes, provenance={})
    root = zarr.open_group(tmp_path / "a.zarr", mode="r")
    text = (DOCS / "reference/zarr-layout.md").read_text(encoding="utf-8")
    below = dict(root.members(max_depth=None))
    written = {key for node in (root, *below.values()) for key in node.attrs}
    inner = {
        key for node in (root, *below.values()) for name in ("pipeline", "ome") for key in node.attrs.get(name, {})
    }
    assert [key for key in sorted(written | inner) if f"`{key}`" not in text] == []
    assert [name for name, node in below.items() if isinstance(node, zarr.Array) and f"`{name}`" not in text] == []


def test_every_key_of_a_training_is_documented_with_its_default():
    for name, kind in {"The file": Training, **get_type_hints(Training)}.items():
        if not is_dataclass(kind) or kind is ClassEntry:
            continue
        found = re.findall(r"^\| `(\w+)` \| *(?:`(.*?)`)? *\|", section("training.md", name), re.MULTILINE)
        rows = dict(found)
        keys = keys_of(kind)
        assert rows.keys() == {key.name for key in keys}
        for name, field in ((key.name, key.field) for key in keys):
            if field.default is not MISSING and not is_dataclass(field.default):
                shown = tomllib.loads(f"x = {rows[name]}")["x"] if rows[name] else None
                assert shown == (list(field.default) if isinstance(field.default, tuple) else field.default), field.name
