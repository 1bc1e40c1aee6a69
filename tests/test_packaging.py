"""What is shipped: sizes, licenses, the data of packages, and a recipe that asks for the same as the package."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from pipeline import __version__
from pipeline.jobs.job import Job, Resources
from pipeline.models.catalogue import WEIGHTS, backbones, load_card, names
from pipeline.models.pretrained import read_backbone_card
from pipeline.runs.prepare import prepare

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
RECIPE = yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text("utf-8"))
SHIPPED = [
    path
    for folder in ("pipeline", "flows")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and "__pycache__" not in path.parts
]
IN_CONDA = {"torch": "pytorch", "isal": "python-isal", "dask": "dask-core"}
"""Names of packages that are others in conda-forge."""


def test_no_file_is_large_and_all_but_weights_is_small():
    sizes = {path: path.stat().st_size for path in SHIPPED}
    assert [path for path, size in sizes.items() if size > 30_000_000] == []
    assert sum(size for path, size in sizes.items() if "weights" not in path.parts) < 8_000_000
    assert sum(sizes.values()) < 60_000_000


def test_every_file_of_a_package_is_shipped():
    """Those that are no modules, by the patterns of `package-data`."""
    patterns = [
        f"{package.replace('.', '/')}/{pattern}"
        for package, own in PROJECT["tool"]["setuptools"]["package-data"].items()
        for pattern in own
    ]
    data = [str(path.relative_to(ROOT)) for path in SHIPPED if path.suffix != ".py"]
    assert len(data) > 20
    assert [name for name in data if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []


def test_the_notice_names_all_that_is_of_others():
    text = (ROOT / "NOTICE").read_text("utf-8")
    cards = {name: load_card(name) for name in names()} | {
        name: read_backbone_card(WEIGHTS / name) for name in backbones()
    }
    for name, card in cards.items():
        part = text.partition(f"pipeline/models/weights/{name})")[2].partition("\n\n")[0]
        assert f"License: {card.license}." in part
        assert " ".join(card.credits.split()) in " ".join(part.split())
    for folder in (ROOT / "pipeline/web/vendor").iterdir():
        assert f"pipeline/web/vendor/{folder.name}/LICENSE" in text
        copyright_ = next(line for line in (folder / "LICENSE").read_text("utf-8").splitlines() if "Copyright" in line)
        assert copyright_.strip() in text


def test_the_recipe_asks_for_what_the_package_asks_for():
    said = dict(line.split(" ", 1) for line in RECIPE["requirements"]["run"])
    wanted = {one.name: one.specifier for one in map(Requirement, PROJECT["project"]["dependencies"])}
    assert {IN_CONDA.get(name, name) for name in wanted} == said.keys() - {"python"}
    for name, specifier in wanted.items():
        assert set(said[IN_CONDA.get(name, name)].split(",")) == {str(one) for one in specifier}, name
    assert RECIPE["context"]["version"] == PROJECT["project"]["version"]
    python = said["python"].replace("${{ python_min }}", RECIPE["context"]["python_min"])
    assert set(python.split(",")) == set(PROJECT["project"]["requires-python"].split(","))
    licenses = RECIPE["about"]["license_file"]
    assert all((ROOT / name).is_file() for name in licenses)


def test_the_version_is_in_no_fingerprint(scene, models, tmp_path):
    """So that work that an earlier version began is resumed, and its masks are known."""
    prepared = prepare(Job(str(scene), tmp_path / "m.tif", str(models / "scene")), Resources())
    assert __version__ not in json.dumps(prepared.fingerprint())


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_the_source_distribution_has_a_rule_for_everything():
    """By MANIFEST.in; `packaging/wheels.py` builds it, and compares."""
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    top = {name.partition("/")[0] for name in tracked}
    rules = set((ROOT / "MANIFEST.in").read_text("utf-8").split())
    always = {"pipeline", "flows", "LICENSE", "NOTICE", "README.md", "pyproject.toml", "MANIFEST.in"}
    assert top - rules - always <= {".ci", ".gitattributes", ".gitignore"}


def test_an_image_gets_what_is_installed_and_runs_as_no_root():
    steps = [line.split() for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines()]
    copied = {name for step in steps if step[:1] == ["COPY"] and "--from=build" not in step for name in step[1:-1]}
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
    (extras,) = (step[1].removeprefix("EXTRAS=").split(",") for step in steps if step[1:] and "EXTRAS=" in step[1])
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])
    assert steps.index(["USER", "1000"]) > max(at for at, step in enumerate(steps) if step[:1] in (["RUN"], ["COPY"]))


def dotted_names_in(text: str) -> set[str]:
    """Such as `torch.nn.Module`, however it is imported."""
    imported = re.findall(r"^\s*from ([\w.]+) import (\([^)]*\)|.*)", text, re.MULTILINE)
    return {*re.findall(r"\b\w+(?:\.\w+)+", text)} | {
        f"{module}.{name}" for module, names in imported for name in re.findall(r"\w+", names)
    }


def test_types_that_are_used_are_checked():
    """Nothing names what mypy passes over in libraries that are always there."""
    overrides = PROJECT["tool"]["mypy"]["overrides"]
    (passed_over,) = (one["module"] for one in overrides if one.keys() == {"module", "follow_imports"})
    named = set().union(*(dotted_names_in(path.read_text("utf-8")) for path in SHIPPED if path.suffix == ".py"))
    assert {"torch.nn", "rasterio.io.DatasetReader"} <= named
    patterns = re.compile("|".join(map(fnmatch.translate, passed_over)))
    assert [name for name in named if patterns.match(name) or patterns.match(f"{name}.")] == []
