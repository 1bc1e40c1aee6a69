"""Each library has one room, imports run one way, and a planted fault is seen."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "torch": ("pipeline.models", "pipeline.runs.predictors", "pipeline.training"),
    "lightning": ("pipeline.training",),
    "torchmetrics": ("pipeline.training",),
    "huggingface_hub": ("pipeline.models.hub",),
    "safetensors": ("pipeline.models", "pipeline.training"),
    "llvmlite": ("pipeline.engine.kernels",),
    "openvino": ("pipeline.models.inference.openvino",),
    "onnx": ("pipeline.models.exchange.graph", "pipeline.models.exchange.export"),
    "google": ("pipeline.models.exchange.graph",),
    "onnxruntime": ("pipeline.models.exchange.session",),
    "nncf": ("pipeline.models.inference.quantize",),
    "rasterio": ("pipeline.io.raster",),
    "affine": ("pipeline.io.raster",),
    "scipy": ("pipeline.sources.components", "pipeline.evaluation", "pipeline.sources.sieve"),
    "jinja2": ("pipeline.reports.page",),
    "markupsafe": ("pipeline.reports.page",),
    "PIL": ("pipeline.io.lettering", "pipeline.io.drawing"),
    "starlette": ("pipeline.viewer",),
    "uvicorn": ("pipeline.viewer",),
    "anyio": ("pipeline.viewer",),
    "pyogrio": ("pipeline.io.vector",),
    "pyarrow": ("pipeline.io.vector",),
    "shapely": ("pipeline.io.vector", "pipeline.masks.polygons"),
    "isal": ("pipeline.io.volume.stream",),
    "nibabel": ("pipeline.io.volume.nifti_header",),
    "nrrd": ("pipeline.io.volume.nrrd",),
    "pydicom": ("pipeline.io.dicom",),
    "highdicom": ("pipeline.io.dicom",),
    "zarr": ("pipeline.io.zarr",),
    "obstore": ("pipeline.io.objects",),
    "google_crc32c": ("pipeline.io.zarr.deflate",),
    "dask": ("pipeline.runs.cluster", "pipeline.runs.local"),
    "distributed": ("pipeline.runs.cluster",),
    "sqlalchemy": ("pipeline.archive.postgres",),
    "prefect": ("flows",),
    "httpx": ("flows", "pipeline.doctor.server"),
    "pystac": ("pipeline.jobs.stac",),
    "pystac_client": ("pipeline.jobs.stac",),
    "requests": ("pipeline.jobs.stac",),
    "pytest": ("pipeline.testing",),
    "hypothesis": ("pipeline.testing",),
    "filelock": ("pipeline.runs.lock",),
    "psutil": ("pipeline.files.process", "pipeline.runs.limits", "pipeline.doctor.machine"),
    "packaging": ("pipeline.doctor.versions",),
    "typer": ("pipeline.cli",),
    "rich": ("pipeline.display", "pipeline.cli.screen", "pipeline.cli.tables", "pipeline.demo"),
    "IPython": ("pipeline.display.notebook",),
}
"""By library: the modules, with those below them, that may import it."""
ROOT_FILES = frozenset({"__init__", "errors", "classes", "optional", "demo"})
"""Modules in the root of the package: any other lies loose."""
FLOORS = (
    ("pipeline.errors", "pipeline.samples", "pipeline.web"),
    ("pipeline.classes", "pipeline.optional", "pipeline.decoding", "pipeline.files"),
    ("pipeline.geometry",),
    ("pipeline.engine",),
    ("pipeline.sources", "pipeline.testing"),
    ("pipeline.io", "pipeline.models"),
    ("pipeline.jobs",),
    ("pipeline.masks",),
    ("pipeline.runs", "pipeline.training"),
    ("pipeline.archive", "pipeline.viewer", "pipeline.display"),
    ("pipeline.evaluation",),
    ("pipeline.reports",),
    ("flows", "pipeline.demo", "pipeline.doctor"),
    ("pipeline.cli",),
)
"""Every part of the project, from the ground up: each may import from the floors below it, and from no other part."""
LATE = (
    "pipeline.archive.copied_ledger",
    "pipeline.archive.ledger",
    "pipeline.archive.place",
    "pipeline.cli",
    "pipeline.display.notebook",
    "pipeline.engine.fused",
    "pipeline.io.formats",
    "pipeline.io.opening",
    "pipeline.io.remote_files",
    "pipeline.io.zarr.attributes",
    "pipeline.io.zarr.georeference",
    "pipeline.io.zarr.location",
    "pipeline.jobs.aoi",
    "pipeline.jobs.inputs",
    "pipeline.masks.areas",
    "pipeline.masks.export",
    "pipeline.masks.info",
    "pipeline.models.importing.importer",
    "pipeline.models.catalogue",
    "pipeline.models.inference.runtime",
    "pipeline.runs.execute",
    "pipeline.runs.prepare",
    "pipeline.runs.report",
    "pipeline.runs.segment",
    "pipeline.runs.storage",
    "pipeline.runs.work",
)
"""May import inside functions: verbs, doors, the network and kernels bring libraries that not every call needs."""

PLACE = re.compile(r"(pipeline|tests|flows|docs)/")


class Import(NamedTuple):
    importer: str
    imported: str
    line: int
    late: bool


def sources() -> dict[str, str]:
    """Text by module name, of all that is installed."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text()
        for folder in ("pipeline", "flows")
        for path in (ROOT / folder).rglob("*.py")
    }


def imports(texts: dict[str, str]) -> Iterator[Import]:
    """All imports: at the top, inside functions, and for the type checker alone."""
    for module, text in texts.items():
        yield from _imports(module, text, frozenset(texts))


@cache
def _imports(module: str, text: str, modules: frozenset[str]) -> list[Import]:
    return [
        Import(module, name, node.lineno, late) for node, late in _statements(text) for name in _names(node, modules)
    ]


@cache
def _statements(text: str) -> list[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Statements that import, and whether they are inside functions."""
    tree = ast.parse(text)
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(node)
    }
    return [(node, id(node) in late) for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]


def _names(node: ast.Import | ast.ImportFrom, modules: frozenset[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.level:
        return ["a relative import"]
    whole = [f"{node.module}.{alias.name}" for alias in node.names]
    return [name if name in modules else str(node.module) for name in whole]


def within(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def faults(texts: dict[str, str]) -> list[str]:
    """All that breaks a rule."""
    found = list(imports(texts))
    return [
        *(f"{module} lies loose" for module in texts if _loose(module)),
        *(f"{i.importer}:{i.line} imports {i.imported}" for i in found if _outside(i) or _upward(i)),
        *(f"{i.importer}:{i.line} imports {i.imported} late" for i in found if i.late and not within(i.importer, LATE)),
        *(f"{i.importer}:{i.line} imports {i.imported}, which is inside a package" for i in found if _behind(i)),
        *(f"{' -> '.join(loop)}" for loop in loops(found)),
    ]


def _loose(module: str) -> bool:
    return module != "pipeline" and _floor(module) is None


@cache
def _floor(module: str) -> int | None:
    """Number of the floor on which a module is."""
    return next((number for number, parts in enumerate(FLOORS) if within(module, parts)), None)


def _outside(found: Import) -> bool:
    library = found.imported.split(".")[0]
    return library in ROOMS and not within(found.importer, ROOMS[library])


def _upward(found: Import) -> bool:
    """Whether an import goes to the same floor or a higher one, or to the root, which only hands names out."""
    if found.imported == "a relative import" or (found.imported == "pipeline" and not _of_a_flow(found)):
        return True
    here, there = _floor(found.importer), _floor(found.imported)
    return here is not None and there is not None and there >= here and not _same_part(found)


def _behind(found: Import) -> bool:
    """Whether a flow reaches past the names that the packages hand out."""
    return _of_a_flow(found) and found.imported.startswith("pipeline.") and found.imported.count(".") > 1


def _of_a_flow(found: Import) -> bool:
    return within(found.importer, ("flows",))


def _same_part(found: Import) -> bool:
    parts = (part for floor in FLOORS for part in floor)
    return any(within(found.importer, (part,)) and within(found.imported, (part,)) for part in parts)


def loops(found: list[Import]) -> list[tuple[str, ...]]:
    """Modules that import themselves through others: one way around, if there is any."""
    edges: dict[str, set[str]] = {}
    for one in found:
        if one.imported != one.importer:
            edges.setdefault(one.importer, set()).add(one.imported)
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return [tuple(error.args[1])]
    return []


def test_every_library_stays_in_its_room_and_imports_run_one_way():
    texts = sources()
    assert len(texts) > 40
    assert faults(texts) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("pipeline.engine.sweep", "import torch"),
        ("pipeline.sources.statistics", "from scipy.spatial import KDTree"),
        ("pipeline.masks.export", "def f():\n    from rasterio.windows import Window"),
        ("pipeline.io.mask_files", "import zarr.codecs"),
        ("pipeline.sources.reoriented", "import nibabel as nib"),
        ("pipeline.io.mask_files", "import pydicom"),
        ("pipeline.runs.plan", "from distributed import Client"),
        ("pipeline.archive.run", "from prefect import task"),
        ("pipeline.masks.info", "import rich.table"),
        ("pipeline.geometry.box", "from pipeline.engine import Labels"),
        ("pipeline.engine.reader", "from pipeline.sources.passes import slabs"),
        ("pipeline.models.inference.fit", "from pipeline.io import mask_files"),
        ("pipeline.sources.reoriented", "import pipeline.runs.prepare"),
        ("pipeline.samples.noise", "from pipeline.errors import InputError"),
        ("pipeline.archive.run", "import flows.segment"),
        ("pipeline.errors", "from .geometry import Box"),
        ("flows.item", "from pipeline.runs.report import Report"),
        ("flows.item", "from pipeline.runs import segment"),
        ("pipeline.runs.plan", "def f():\n    import json"),
        ("pipeline.runs.prepare", "from pipeline.runs.segment import segment"),
    ],
)
def test_a_planted_import_is_seen(module, text):
    texts = sources()
    assert faults({**texts, module: f"{texts[module]}\n{text}\n"})


def test_an_import_for_types_alone_counts():
    texts = sources()
    typing = "if TYPE_CHECKING:\n    from pipeline.runs.prepare import prepare"
    assert faults({**texts, "pipeline.jobs.job": f"{texts['pipeline.jobs.job']}\n{typing}\n"})


def test_nothing_but_tests_uses_the_contracts():
    """They need pytest."""
    room = ("pipeline.testing",)
    assert not [i for i in imports(sources()) if within(i.imported, room) and not within(i.importer, room)]


def test_a_loose_module_is_seen():
    assert faults({**sources(), "pipeline.helpers": ""}) == ["pipeline.helpers lies loose"]


@pytest.mark.parametrize(
    "room",
    [
        "",
        *(
            f".{name}"
            for name in (
                "archive",
                "display",
                "evaluation",
                "jobs",
                "masks",
                "models",
                "models.importing",
                "reports",
                "runs",
                "sources",
                "training",
            )
        ),
    ],
)
def test_a_package_hands_out_the_names_that_type_checkers_see(room):
    package = importlib.import_module(f"pipeline{room}")
    tree = ast.parse(Path(package.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {name.name: node.module for node in block.body for name in node.names}
    assert set(package.__all__) == set(seen)
    assert all(getattr(package, name) is getattr(importlib.import_module(home), name) for name, home in seen.items())
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_the_root_holds_five_files():
    assert {path.stem for path in (ROOT / "pipeline").glob("*.py")} <= ROOT_FILES


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    text = f"import sys\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return set(ended.stdout.splitlines()[-1].split())


PACKAGES = sorted(
    path.parent.relative_to(ROOT) for folder in ("pipeline", "flows") for path in (ROOT / folder).rglob("__init__.py")
)


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_package_says_in_three_lines_what_is_in_it_and_what_it_may_import(package):
    said = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8")))
    assert said is not None
    assert len(said.splitlines()) >= 3
    assert "ay import" in said


def test_importing_sets_up_nothing_for_the_whole_process():
    code = """
import logging, os, warnings
import pydicom, rasterio
from rasterio._env import get_gdal_config
from rasterio.errors import NotGeoreferencedWarning
def state():
    loggers = [logging.getLogger(name) for name in ("rasterio._err", "rasterio._env", "pydicom", "pylibjpeg")]
    quiet = [(logger.level, len(logger.filters)) for logger in loggers]
    warned = NotGeoreferencedWarning in [kind for _, _, kind, *_ in warnings.filters]
    validation = pydicom.config.settings.reading_validation_mode
    return get_gdal_config("GDAL_CACHEMAX"), warned, quiet, validation, dict(os.environ)
before = state()
import pipeline.io.raster, pipeline.io.dicom.source, pipeline.io.opening, pipeline.runs.segment
assert state() == before
from pipeline.io.raster.gdal import CACHE, configure
configure()
assert get_gdal_config("GDAL_CACHEMAX") == CACHE
"""
    assert loaded(code)


HEAVY = {"torch", "rasterio", "nibabel", "zarr", "dask", "distributed", "prefect"}


def test_help_loads_no_library_but_its_own():
    help_ = "import contextlib\nfrom pipeline.cli import app\nwith contextlib.suppress(SystemExit): app(['--help'])"
    assert not loaded(help_) & {*HEAVY, "numpy"}
    assert not loaded("import pipeline") & {*HEAVY, "numpy"}


def test_counting_an_archive_loads_no_library_for_images(tmp_path):
    status = f"""
import pathlib
from pipeline.archive.ledger import ArchiveLedger
from pipeline.cli import app
ledger = pathlib.Path({str(tmp_path)!r}, "archive.sqlite")
ArchiveLedger(ledger).close()
app(["status", str(ledger)], standalone_mode=False)
print()"""
    assert not loaded(status) & {*HEAVY, "numpy", "sqlalchemy"}


def test_preparing_a_scene_loads_no_torch_dask_or_prefect():
    modules = ("jobs.inputs", "jobs.job_file", "runs.prepare", "masks.info", "models.catalogue")
    code = "; ".join(f"import pipeline.{module}" for module in modules)
    assert not loaded(code) & HEAVY


def test_segmenting_in_one_process_loads_nothing_for_others():
    assert not loaded("import pipeline.runs.execute") & {"distributed", "prefect"}


def test_contributing_names_places_that_are_there():
    """Paths in backticks, of code and of tests; patterns name at least one file."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    places = {word for span in re.findall(r"`([^`\n]+)`", text) for word in span.split() if PLACE.match(word)}
    assert len(places) > 60
    assert [place for place in sorted(places) if not list(ROOT.glob(place))] == []


def test_contributing_says_which_tests_to_run_after_a_change_in_any_room():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = {path.parent for folder in ("pipeline", "flows") for path in (ROOT / folder).rglob("__init__.py")}
    named = {str(room.relative_to(ROOT)) for room in rooms} - {"pipeline", "pipeline/io"}
    assert [room for room in sorted(named) if f"`{room}`" not in text] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/concepts/architecture.md"])
def test_names_of_the_guides_are_those_of_the_code(page):
    """Names in backticks with a capital or an underscore, such as `FORMATS` and `check_options`."""
    spans = re.findall(r"`([^`\n]+)`", (ROOT / page).read_text(encoding="utf-8"))
    named = {word for span in spans for word in re.findall(r"^_?[A-Za-z]\w*", span) if re.search(r"[A-Z_]", word)}
    tests = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    known = {word for text in [*sources().values(), *tests] for word in re.findall(r"\w+", text)}
    assert sorted(named - known - {"CHANGELOG"}) == []
