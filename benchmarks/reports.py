"""Reports of large things: how big their pages are, how long they take to make and to open, and in how much memory.

    python -m benchmarks.reports FOLDER [scene] [volume] [archive]

Makes a scene of 20,000 x 20,000 pixels and one of 10,000 x 10,000 with their masks, a volume of 512 x 512 x 400 and one
of 512 x 512 x 100 (packed), and an archive of 10,000 items; writes their reports in processes of their own, with their
peak memory; and opens the pages in Chromium, if Playwright is there. Needs 5 GB of disk.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger, Entry
from pipeline.classes import LabelClass
from pipeline.demo import scene_grid
from pipeline.geometry import Grid
from pipeline.io.raster import write_cog, write_scene
from pipeline.io.volume.nifti_write import write_nifti

CLASSES = tuple(LabelClass(value, f"class {value}", (40 * value, 200 - 30 * value, 90)) for value in range(6))
ITEMS = 10_000
_CHROMIUM = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def main(folder: Path, *parts: str) -> None:
    """Make what is not there yet, and measure."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts or _PARTS:
        for name, subject, words, ready in _PARTS[part](folder):
            page, told = measured(subject, words)
            print(json.dumps({"report of": name, **told, **opened(page, ready)}), flush=True)


def measured(subject: Path, words: list[str]) -> tuple[Path, dict[str, Any]]:
    """Write a report in a process of its own; return the page, and size, time and peak memory."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "pipeline.cli", "report", str(subject), *words]
    number = os.posix_spawn(sys.executable, command, os.environ)
    _, ended, usage = os.wait4(number, 0)
    if ended:
        raise SystemExit(f"{' '.join(command)}: ended with {ended}")
    seconds = time.perf_counter() - began
    page = next((subject if subject.is_dir() else subject.parent).glob(f"{_stem(subject)}_report.html"))
    shards = sum(file.stat().st_size for file in page.parent.glob(f"{page.stem}_thumbnails/*"))
    told = {"page, MB": round(page.stat().st_size / 1e6, 1), "thumbnails, MB": round(shards / 1e6, 1)}
    cpu = usage.ru_utime + usage.ru_stime
    return page, {**told, "s": round(seconds, 1), "CPU s": round(cpu, 1), "peak, MB": usage.ru_maxrss // 1000}


def _stem(subject: Path) -> str:
    return "archive" if subject.is_dir() else subject.name.split(".")[0]


def opened(page: Path, ready: str) -> dict[str, Any]:
    """Return the seconds until a browser shows a page; empty without one."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {}
    if chromium is None:
        return {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_CHROMIUM)
        tab = browser.new_page()
        began = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_function(f"() => {ready}", timeout=300_000)
        seconds = time.perf_counter() - began
        browser.close()
    return {"open, s": round(seconds, 2)}


Case = tuple[str, Path, list[str], str]
"""Name, mask or archive, options, and what is true once the page is shown."""


def scenes(folder: Path) -> Iterator[Case]:
    """Yield two scenes; their image has no overviews."""
    for side in (20_000, 10_000):
        image, mask = folder / f"scene{side}.tif", folder / f"scene{side}_mask.tif"
        grid = scene_grid((side, side))
        if not mask.exists():
            fields = np.random.default_rng(0).integers(0, 255, (3, 50, side // 20)).astype(np.uint8)
            wide = fields.repeat(20, axis=1).repeat(20, axis=2)
            write_scene(image, grid, (wide for _ in range(side // 1000)), 3, np.dtype(np.uint8))
            labels = np.kron(np.random.default_rng(1).integers(0, 6, (10, side // 100)), np.ones((100, 100), int))
            slabs = (labels.astype(np.uint8) for _ in range(side // 1000))
            write_cog(mask, grid, slabs, np.dtype(np.uint8), nodata=255, classes=CLASSES, tags={})
        yield f"scene, {side:,} x {side:,}", mask, ["--image", str(image)], "view.getCenter() && under.textContent"


def volumes(folder: Path) -> Iterator[Case]:
    """Yield two packed volumes: noise around a ball."""
    for depth in (400, 100):
        image, mask = folder / f"ct{depth}.nii.gz", folder / f"ct{depth}_mask.nii.gz"
        grid = Grid(
            (depth, 512, 512), ((0, 0, 0.7, -180), (0, 0.7, 0, -180), (1, 0, 0, 0), (0, 0, 0, 1)), ("z", "y", "x")
        )
        if not mask.exists():
            write_nifti(image, grid, (_noise(at) for at in range(depth)), np.int16)
            write_nifti(mask, grid, (_ball(at, depth) for at in range(depth)), np.uint8)
        yield f"volume, 512 x 512 x {depth}", mask, ["--image", str(image)], "window.viewer && under.textContent"


def _noise(at: int) -> NDArray[Any]:
    return np.random.default_rng(at).normal(0, 200, (1, 512, 512)).astype(np.int16)


def _ball(at: int, depth: int) -> NDArray[Any]:
    row, column = np.ogrid[:512, :512]
    away = ((row - 256) / 200) ** 2 + ((column - 256) / 200) ** 2 + ((at - depth / 2) / (depth / 2.2)) ** 2
    return (away < 1).astype(np.uint8)[None] + (away < 0.2).astype(np.uint8)[None]


def archive(folder: Path) -> Iterator[Case]:
    """Yield an archive whose masks are copies of one."""
    place = folder / "archive"
    if not (place / LEDGER_NAME).exists():
        place.mkdir(exist_ok=True)
        labels = np.kron(np.random.default_rng(1).integers(0, 6, (8, 8)), np.ones((64, 64), int)).astype(np.uint8)
        write_cog(
            place / "one.tif",
            scene_grid((512, 512)),
            iter([labels]),
            labels.dtype,
            nodata=255,
            classes=CLASSES,
            tags={},
        )
        for number in range(ITEMS):
            shutil.copyfile(place / "one.tif", place / f"s{number:05d}_mask.tif")
        ledger = ArchiveLedger(place / LEDGER_NAME)
        names = [(f"/data/scenes/2026/s{number:05d}.tif", f"s{number:05d}_mask.tif") for number in range(ITEMS)]
        ledger.add([Entry(name, str(place / mask), "done", seconds=1.0, cells=512 * 512) for name, mask in names])
        ledger.close()
    yield f"archive, {ITEMS:,} items", place, [], "document.querySelector('.item')"


_PARTS: dict[str, Callable[[Path], Iterator[Case]]] = {"scene": scenes, "volume": volumes, "archive": archive}

if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
