"""Pictures of pages in a browser: `python -m docs.pictures.screens report` (`view`, `prefect`, `form`).

Run it in the root folder.

report.png    the page that `pipeline report` makes of the demo scene, with its truth
view.png      a mask over its scene in `pipeline view`, with the area of a polygon
prefect.png   a run in Prefect with its artifacts, on a server that is started for it on 127.0.0.1
form.png      the form that starts a run of a deployment, on such a server

Needs Chromium and the extra `dev`. Everything is made anew in a temporary folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from PIL import Image

from pipeline import Job, segment
from pipeline.demo import make
from pipeline.reports import ReportOptions, write_report
from tests.support.browser import chromium
from tests.support.ports import free_port
from tests.support.servers import PREFECT, environment, process, until
from tests.support.viewer import served

FOLDER = Path(__file__).parent
SCENES = ("harbor", "hills", "old-town", "river-north", "river-south")
CORNERS, UNDER = ((150, 330), (360, 300), (420, 560), (230, 600)), (300, 450)
"""Of a polygon in the window of the viewer, and where the cursor is then."""
COLORS = 256
"""Enough for pages, where an octree keeps the colors of classes; a picture of so few is a third as large."""


def report(folder: Path, page: Any) -> None:  # noqa: ANN401  (of Playwright, which a check of types may lack)
    """Open the report of a scene."""
    make(folder, shape=(600, 800))
    mask = segment(Job(str(folder / "scene.tif"), also=("confidence", "disagreement"))).output
    made = write_report(Path(str(mask)), options=ReportOptions(truth=str(folder / "truth.tif")))
    page.set_viewport_size({"width": 1100, "height": 940})
    page.goto(made.as_uri())
    page.wait_for_timeout(2000)


def view(folder: Path, page: Any) -> None:  # noqa: ANN401
    """Open a mask over its scene, and draw a polygon."""
    make(folder, shape=(1200, 1200))
    scene = folder / "scene.tif"
    mask = segment(Job(str(scene))).output
    page.set_viewport_size({"width": 960, "height": 840})
    with served([scene, Path(str(mask))]) as address:
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        page.evaluate("viewer.map.getView().setResolution(0.9); viewer.map.getView().setCenter([640, -640])")
        page.get_by_role("button", name="Draw a polygon").click()
        for corner in (*CORNERS, CORNERS[0]):
            page.mouse.click(*corner)
        page.mouse.move(*UNDER)
        page.wait_for_timeout(3000)


def prefect(folder: Path, page: Any) -> None:  # noqa: ANN401
    """Open the page of a flow that segmented an archive, at its artifacts."""
    for seed, name in enumerate(SCENES):
        make(folder / "made", shape=(400, 500), seed=seed)
        (folder / "archive").mkdir(exist_ok=True)
        (folder / "made/scene.tif").rename(folder / "archive" / f"{name}.tif")
    with prefect_server(folder) as address:
        command = (sys.executable, "-m", "pipeline.cli", "run", "--input", "archive", "--output", "masks", "--prefect")
        known = environment(folder / "home", address) | {"PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(command, cwd=folder, env=known, check=True)
        found = httpx.post(f"{address}/flow_runs/filter", json={}).json()[0]["id"]
        page.set_viewport_size({"width": 1280, "height": 1080})
        page.goto(f"{address.removesuffix('/api')}/runs/flow-run/{found}")
        page.get_by_text("Artifacts", exact=True).click()
        page.wait_for_timeout(5000)  # the timeline is drawn little by little


def form(folder: Path, page: Any) -> None:  # noqa: ANN401
    """Open the form of the deployment of an archive."""
    with prefect_server(folder) as address:
        known = environment(folder / "home", address) | {"PYTHONPATH": os.pathsep.join(sys.path)}
        for words in (
            ("work-pool", "create", "pipeline", "--type", "process"),
            ("--no-prompt", "deploy", "--name", "volume"),
        ):
            subprocess.run([*PREFECT, *words], cwd=FOLDER.parents[1], env=known, check=True)
        (found,) = httpx.post(f"{address}/deployments/filter", json={}).json()
        page.set_viewport_size({"width": 1100, "height": 840})
        page.goto(f"{address.removesuffix('/api')}/deployments/deployment/{found['id']}/run")
        page.get_by_text("bounds").first.wait_for()
        page.wait_for_timeout(3000)


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """The address of a server with its own database and pages, as long as the block lasts."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    start = (*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", port)
    with process(*start, env=environment(folder / "home", address), log=folder / "server.log"):
        until(lambda: _answers(f"{address}/health"), folder)
        yield address


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


PICTURES: dict[str, Callable[[Path, Any], None]] = {"report": report, "view": view, "prefect": prefect, "form": form}


def taken(show: Callable[[Path, Any], None]) -> Image.Image:
    """Return what a browser shows."""
    with TemporaryDirectory() as folder, chromium() as browser:
        page = browser.new_page()
        show(Path(folder), page)
        seen: bytes = page.screenshot()
    return Image.open(BytesIO(seen)).convert("RGB")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        taken(PICTURES[name]).quantize(COLORS, Image.Quantize.FASTOCTREE).save(FOLDER / f"{name}.png", optimize=True)
