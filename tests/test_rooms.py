"""Each library has one room, imports run one way, and a planted fault is seen."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "torch": ("pipeline.models", "pipeline.network", "pipeline.training"),
    "lightning": ("pipeline.training",),
    "torchmetrics": ("pipeline.training",),
    "safetensors": ("pipeline.models", "pipeline.training"),
    "openvino": ("pipeline.models.vino",),
    "nncf": ("pipeline.models.quantise",),
    "rasterio": ("pipeline.io.raster",),
    "affine": ("pipeline.io.raster",),
    "scipy": ("pipeline.components", "pipeline.evaluation", "pipeline.sieve"),
    "pyogrio": ("pipeline.io.vector",),
    "pyarrow": ("pipeline.io.vector",),
    "shapely": ("pipeline.io.vector", "pipeline.vectors"),
    "isal": ("pipeline.io.nifti_stream",),
    "nibabel": ("pipeline.io.volume_header",),
    "nrrd": ("pipeline.io.nrrd",),
    "pydicom": ("pipeline.io.dicom",),
    "highdicom": ("pipeline.io.dicom",),
    "zarr": ("pipeline.io.store",),
    "dask": ("pipeline.cluster",),
    "distributed": ("pipeline.cluster",),
    "prefect": ("flows",),
    "httpx": ("flows",),
    "pystac": ("pipeline.stac",),
    "pystac_client": ("pipeline.stac",),
    "requests": ("pipeline.stac",),
    "filelock": ("pipeline.holding",),
    "psutil": ("pipeline.io.safely", "pipeline.limits"),
    "typer": ("pipeline.cli",),
    "rich": ("pipeline.report", "pipeline.tables", "pipeline.demo"),
}
"""By library: the modules, with those below them, that may import it."""
BELOW = {
    "pipeline.errors": (),
    "pipeline.classes": (),
    "pipeline.extras": ("pipeline.errors",),
    "pipeline.samples": (),
    "pipeline.geometry": ("pipeline.errors",),
    "pipeline.engine": ("pipeline.errors", "pipeline.geometry"),
    "pipeline.models": ("pipeline.errors", "pipeline.geometry", "pipeline.engine"),
    "pipeline.io": ("pipeline.errors", "pipeline.geometry", "pipeline.engine", "pipeline.classes", "pipeline.extras"),
}
"""By part: all of the project that it may import, beside itself."""
LATE = (
    "pipeline.aoi",
    "pipeline.areas",
    "pipeline.cli",
    "pipeline.conversion",
    "pipeline.inputs",
    "pipeline.io.formats",
    "pipeline.io.opening",
    "pipeline.io.store.place",
    "pipeline.models.runtime",
    "pipeline.prepare",
    "pipeline.segmentation",
)
"""May import inside functions: verbs and doors bring libraries that not every call needs, and so does the network."""


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
    """All imports but those for the type checker alone."""
    for module, text in texts.items():
        yield from _imports(module, text, frozenset(texts))


@cache
def _imports(module: str, text: str, modules: frozenset[str]) -> list[Import]:
    tree = ast.parse(text)
    typing = {id(inner) for node in ast.walk(tree) if _for_types(node) for inner in ast.walk(node)}
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(node)
    }
    return [
        Import(module, name, node.lineno, id(node) in late)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and id(node) not in typing
        for name in _names(node, modules)
    ]


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


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
        *(f"{i.importer}:{i.line} imports {i.imported}" for i in found if _outside(i) or _upward(i)),
        *(f"{i.importer}:{i.line} imports {i.imported} late" for i in found if i.late and not within(i.importer, LATE)),
        *(f"{' -> '.join(loop)}" for loop in loops(found)),
    ]


def _outside(found: Import) -> bool:
    library = found.imported.split(".")[0]
    return library in ROOMS and not within(found.importer, ROOMS[library])


def _upward(found: Import) -> bool:
    if found.imported == "a relative import":
        return True
    ours = within(found.imported, ("pipeline", "flows"))
    part = next((part for part in BELOW if within(found.importer, (part,))), None)
    if part is None:
        return within(found.imported, ("flows",)) and not within(found.importer, ("flows", "pipeline.cli"))
    return ours and not within(found.imported, (part, *BELOW[part]))


def loops(found: list[Import]) -> list[list[str]]:
    """Modules that import themselves through others."""
    edges: dict[str, set[str]] = {}
    for one in found:
        if one.imported != one.importer:
            edges.setdefault(one.importer, set()).add(one.imported)
    return [path for start in edges if (path := _way(start, start, edges)) is not None]


def _way(start: str, end: str, edges: dict[str, set[str]]) -> list[str] | None:
    waiting, seen = [[start]], set()
    while waiting:
        path = waiting.pop()
        for step in edges.get(path[-1], ()):
            if step == end:
                return [*path, end]
            if step not in seen:
                seen.add(step)
                waiting.append([*path, step])
    return None


def test_every_library_stays_in_its_room_and_imports_run_one_way():
    texts = sources()
    assert len(texts) > 40
    assert faults(texts) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("pipeline.engine.sweep", "import torch"),
        ("pipeline.statistics", "from scipy.spatial import KDTree"),
        ("pipeline.conversion", "def f():\n    from rasterio.windows import Window"),
        ("pipeline.io.formats", "import zarr.codecs"),
        ("pipeline.io.views", "import nibabel as nib"),
        ("pipeline.io.formats", "import pydicom"),
        ("pipeline.planning", "from distributed import Client"),
        ("pipeline.archive.run", "from prefect import task"),
        ("pipeline.info", "import rich.table"),
        ("pipeline.geometry.box", "from pipeline.engine import Labels"),
        ("pipeline.engine.rows", "from pipeline.io.slabs import slabs"),
        ("pipeline.models.fit", "from pipeline.io import formats"),
        ("pipeline.io.views", "import pipeline.prepare"),
        ("pipeline.samples.noise", "from pipeline.errors import InputError"),
        ("pipeline.archive.run", "import flows.segment"),
        ("pipeline.errors", "from .geometry import Box"),
        ("pipeline.planning", "def f():\n    import json"),
        ("pipeline.prepare", "from pipeline.segmentation import segment"),
    ],
)
def test_a_planted_import_is_seen(module, text):
    texts = sources()
    assert faults({**texts, module: f"{texts[module]}\n{text}\n"})


def test_imports_for_types_alone_are_free():
    texts = sources()
    assert not faults({**texts, "pipeline.job": "if TYPE_CHECKING:\n    import torch\n"})


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    text = f"import sys\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return set(ended.stdout.splitlines()[-1].split())


HEAVY = {"torch", "rasterio", "nibabel", "zarr", "dask", "distributed", "prefect"}


def test_help_loads_no_library_but_its_own():
    help_ = "import contextlib\nfrom pipeline.cli import app\nwith contextlib.suppress(SystemExit): app(['--help'])"
    assert not loaded(help_) & {*HEAVY, "numpy"}
    assert not loaded("import pipeline") & {*HEAVY, "numpy"}


def test_preparing_a_scene_loads_no_torch_dask_or_prefect():
    code = "import pipeline.inputs, pipeline.config, pipeline.prepare, pipeline.info, pipeline.models.catalogue"
    assert not loaded(code) & HEAVY
