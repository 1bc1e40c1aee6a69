"""How soon a large scene is on the screen, and how much memory the viewer takes.

    python -m benchmarks.viewer FOLDER [--side 30000] [--suffix .tif]

FOLDER gets a scene of three bands and its mask, side x side cells, if they are not there yet (minutes). Then `pipeline
view` shows both in Chromium: the seconds from the command to its address, and from there until all tiles are drawn, at
first and after a jump to full resolution; and the largest memory of the server. Needs Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from pipeline.classes import LabelClass
from pipeline.engine import Pixels, Source, SourceInfo
from pipeline.geometry import Box, Grid
from pipeline.io.mask import Mask
from pipeline.io.mask_files import publish
from pipeline.io.raster.write import write_layer
from tests.support.browser import PATIENCE, chromium

CLASSES = tuple(LabelClass(value, f"class {value}", (40 * value, 255 - 30 * value, 90)) for value in range(6))
BLOCK = 1024
JUMP = """([resolution, column, row]) => new Promise((done) => {
    const view = viewer.map.getView();
    view.setResolution(resolution);
    view.setCenter([column, -row]);
    viewer.map.once('rendercomplete', () => done());
    viewer.map.render();
})"""
"""Goes to a place, and waits until all tiles are drawn."""


class Waves(Source):
    """Labels of a scene of any size: waves with noise."""

    def __init__(self, side: int) -> None:
        affine = ((0.0, 0.5, 500_000.25), (-0.5, 0.0, 4_100_000.25), (0.0, 0.0, 1.0))
        grid = Grid((side, side), affine, ("y", "x"), "EPSG:32633")
        self.info = SourceInfo(grid, 1, np.dtype(np.uint8), (BLOCK, BLOCK))

    def read(self, box: Box) -> Pixels:
        """Return labels 0 to 4."""
        rows, columns = (np.arange(start, stop) for start, stop in zip(box.start, box.stop, strict=True))
        waves = np.sin(rows / 300)[:, None] + np.cos(columns / 170)[None]
        noise = np.random.default_rng(box.start[0]).random(box.shape, np.float32)
        return Pixels(((waves + 2 + noise) * 1.2).astype(np.uint8)[None], None)

    def close(self) -> None:
        """Nothing is open."""


def bands(labels: Waves) -> Iterator[NDArray[np.uint8]]:
    side = labels.grid.shape[0]
    for top in range(0, side, BLOCK):
        values = labels.read(Box((top, 0), (min(top + BLOCK, side), side))).values[0]
        yield np.stack([values * 30 + 40, 200 - values * 20, values * 10 + 80]).astype(np.uint8)


def make(folder: Path, side: int, suffix: str) -> tuple[Path, Path]:
    image, mask = folder / f"scene_{side}.tif", folder / f"scene_{side}_mask{suffix}"
    labels = Waves(side)
    if not image.exists():
        names = ("red", "green", "blue")
        write_layer(image, labels.grid, bands(labels), np.dtype(np.uint8), bands=names, nodata=0, scaling=None, tags={})
    if not mask.exists():
        publish(Mask(labels, labels.grid, 255, CLASSES, {"input": {"name": image.name}}), mask)
    return image, mask


def memory_of(process: psutil.Process) -> float:
    """The most memory that it had, in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(mask: Path) -> None:
    words = [sys.executable, "-m", "pipeline.cli", "view", str(mask), "--no-open"]
    with chromium() as browser, subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(PATIENCE)
        began = time.perf_counter()
        print(f"browser ready; {mask.name}")
        address = server.stdout.readline().strip() if server.stdout else ""
        print(f"address after        {time.perf_counter() - began:6.2f} s (the server began with the browser)")
        began = time.perf_counter()
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        print(f"drawn after          {time.perf_counter() - began:6.2f} s")
        began = time.perf_counter()
        page.evaluate(JUMP, [1, 15_000, 15_000])
        print(f"full resolution after {time.perf_counter() - began:5.2f} s")
        began = time.perf_counter()
        for step in range(20):
            page.evaluate(JUMP, [2 ** (step % 7), 1000 * step + 3000, 1100 * step + 3000])
        print(f"20 jumps             {time.perf_counter() - began:6.2f} s")
        print(f"memory of the server {memory_of(psutil.Process(server.pid)):6.0f} MB")
        print(f"CPU of the server    {sum(psutil.Process(server.pid).cpu_times()[:2]):6.1f} s")
        server.terminate()


def start_of(mask: Path) -> float:
    """Seconds from the command to its address, by itself."""
    words = [sys.executable, "-m", "pipeline.cli", "view", str(mask), "--no-open"]
    began = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        server.stdout.readline()
        taken = time.perf_counter() - began
        server.terminate()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=30_000)
    parser.add_argument("--suffix", default=".tif", choices=[".tif", ".zarr"])
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    _, mask = make(asked.folder, asked.side, asked.suffix)
    print(f"command to address   {start_of(mask):6.2f} s")
    measure(mask)


if __name__ == "__main__":
    main()
