"""Masks of a network that no processor rounds are what they were: every format, view, layer and number of workers.

`python -m tests.golden.test_golden` writes `hashes.json` anew: only where a change of results is meant.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.golden.decode import array, cells
from tests.golden.record import SCENES, VOLUMES, called, outside, put_inputs, resumed

pytestmark = pytest.mark.slow

HASHES = Path(__file__).parent / "hashes.json"
ROUNDED = {"landcover", "hippocampus", "hippocampus averaged", "scene tta scales", "scene resolution", "scene crs"}
"""Cases in which numbers are rounded on the way to a label."""
CASES = {name: words for name, words in (SCENES | VOLUMES).items() if name not in ROUNDED}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all inputs, which is the current one."""
    folder = tmp_path_factory.mktemp("golden")
    with chdir(folder):
        put_inputs()
        yield folder


def expected() -> dict[str, str]:
    found: dict[str, str] = json.loads(HASHES.read_text(encoding="utf-8"))
    return found


def mask(name: str, *, call=called, more: tuple[str, ...] = ()) -> Path:
    """The mask of a case, made by the command line."""
    given, output, *words = CASES[name]
    path = Path("test", name.replace(" ", "-") + "".join(more), output)
    call("run", "--input", given, "--output", str(path), *words, *more, "--no-prefect", "--json")
    return path


@pytest.mark.parametrize("name", CASES)
def test_a_mask_is_what_it_was(folder, name):
    assert cells(mask(name)) == expected()[name]


def layers(path: Path) -> dict[str, list]:
    """Which cells have more than half; numbers of a softmax are rounded by each processor its own way."""
    found = {}
    for layer, half in (("confidence", 127), ("probabilities", 127), ("scores", 0.5), ("disagreement", 0)):
        with rasterio.open(path.with_name(f"m_{layer}.tif")) as raster:
            values = raster.read()
            found[layer] = [*array(np.packbits(values > half)), str(values.dtype), *raster.descriptions]
    return found


def test_layers_are_what_they_were(folder):
    assert layers(mask("scene layers", more=("--restart",))) == expected()["layers"]


def test_workers_make_the_same(folder):
    assert cells(mask("scene tall", call=outside, more=("--workers", "3"))) == expected()["scene tall"]


def test_a_killed_run_makes_the_same(folder):
    dict(resumed())
    assert cells(Path("out/killed/m.tif")) == expected()["scene tall"]


def write() -> None:
    """Write the hashes of what this version makes."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        put_inputs()
        found = {name: cells(mask(name)) for name in CASES}
        found["layers"] = layers(Path("test/scene-layers/m.tif"))
    HASHES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
