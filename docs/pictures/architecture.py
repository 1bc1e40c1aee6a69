"""The pictures of the architecture page: `python -m docs.pictures.architecture` from the root of the project.

floors.svg   the packages, from the ground up: `FLOORS` in `tests/test_rooms.py`
life.svg     the life of one input, from the command to the mask
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from tests.test_rooms import FLOORS

FOLDER = Path(__file__).parent
WIDTH, HEIGHT, GAP = 960, 34, 8
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1b2733}.small{font-size:11px;fill:#55636f}.name{font-weight:600}"
    "rect{rx:5;stroke:#8aa0b4;fill:#eef3f8}.data rect{fill:#fdf3e3;stroke:#d2a85a}"
    ".ends rect{fill:#e5f2e8;stroke:#7fb08a}"
    "path{stroke:#55636f;fill:none;marker-end:url(#head)}"
)
HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 8 4 0 8z" style="fill:#55636f;stroke:none"/></marker></defs>'
)


class Box(NamedTuple):
    """A rectangle with a name and what is in it."""

    x: float
    y: float
    width: float
    name: str
    words: str
    kind: str = ""


MEANING = {
    "errors": "what can go wrong",
    "samples": "generated scenes and phantoms",
    "web": "libraries for a browser",
    "classes": "class tables",
    "optional": "extras that may be missing",
    "decoding": "strict TOML and JSON",
    "files": "atomic writes, hashes",
    "geometry": "boxes, grids, affines, lattices, slabs",
    "engine": "windows, blending, the sweep, the ledger",
    "testing": "contracts for your own parts",
    "sources": "sources made of sources",
    "io": "files: raster, volume, dicom, zarr",
    "models": "networks, inference, importing (torch)",
    "jobs": "what is asked: jobs, job files, inputs",
    "runs": "how one input goes from start to end",
    "masks": "what comes after a mask",
    "training": "from labels to weights",
    "archive": "many inputs and their ledger",
    "display": "progress of a run",
    "viewer": "a local server for a browser",
    "evaluation": "masks against truth",
    "reports": "pages that show masks and archives",
    "flows": "Prefect",
    "demo": "the sample of `make demo`",
    "doctor": "what is installed, and what is wrong",
    "cli": "verbs, options, tables",
}


def floors() -> list[Box]:
    """Return a box for each package, the ground floor at the bottom."""
    rows = list(reversed(FLOORS))
    return [box for number, parts in enumerate(rows) for box in _row(parts, 10 + number * (HEIGHT + GAP + 8))]


def _row(parts: Sequence[str], y: float) -> Iterable[Box]:
    width = (WIDTH - 20 - GAP * (len(parts) - 1)) / len(parts)
    for number, part in enumerate(parts):
        name = part.removeprefix("pipeline.")
        yield Box(10 + number * (width + GAP), y, width, name, MEANING[name])


LIFE = (
    (
        ("command", "--input scene.tif --model landcover", "ends"),
        ("cli", "options become a Request", ""),
        ("jobs", "a Job for each input", "data"),
    ),
    (
        ("runs.prepare", "looks at the input once, reads headers", ""),
        ("PreparedJob", "all that decides the bytes", "data"),
        ("runs.lock, Ledger", "one writer; what is done already", ""),
    ),
    (
        ("io, sources", "Source.read(box), rows ahead", ""),
        ("engine.sweep", "patches in lattice order, blended", ""),
        ("models.inference", "batch of patches to scores", ""),
    ),
    (
        ("Sink", "slabs into whole Zarr chunks, then the ledger", ""),
        ("runs.publish", "temporary name, fsync, rename", ""),
        ("scene_mask.tif", "the input's own grid, classes, provenance", "ends"),
    ),
)
ARROWS = ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (3, 0), (3, 1))
"""Boxes of `LIFE` from which an arrow goes to the one at their right."""


def life() -> list[Box]:
    """Return the steps, row by row."""
    return [
        Box(10 + column * 320, 10 + row * 78, 290, name, words, kind)
        for row, steps in enumerate(LIFE)
        for column, (name, words, kind) in enumerate(steps)
    ]


def arrows() -> list[str]:
    """Return arrows: within a row, from the end of a row to the next, and both ways between sweep and network."""
    right = [_path(300 + column * 320, 34 + row * 78, 330 + column * 320) for row, column in ARROWS]
    turns = [f'<path d="M795 {58 + row * 78}V{73 + row * 78}H155V{86 + row * 78}"/>' for row in (0, 1)]
    there_and_back = [_path(620, 184, 650), _path(650, 198, 620)]
    return [*right, *turns, *there_and_back, '<path d="M475 214V229H155V242"/>']


def _path(start: float, y: float, stop: float) -> str:
    return f'<path d="M{start} {y}H{stop}"/>'


def drawing(boxes: Sequence[Box], lines: Sequence[str], height: float) -> str:
    """Return an SVG."""
    shapes = [
        f'<g class="{box.kind}"><rect x="{box.x:.1f}" y="{box.y}" width="{box.width:.1f}" height="{height}"/>'
        f'<text class="name" x="{box.x + 8:.1f}" y="{box.y + 15}">{escape(box.name)}</text>'
        f'<text class="small" x="{box.x + 8:.1f}" y="{box.y + 29}">{escape(box.words)}</text></g>'
        for box in boxes
    ]
    bottom = max(box.y for box in boxes) + height + 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom:.0f}"><style>{STYLE}</style>{HEAD}'
    return "\n".join([head, *shapes, *lines, "</svg>", ""])


def pictures() -> dict[str, str]:
    """Both pictures, by file name."""
    return {"floors.svg": drawing(floors(), (), HEIGHT), "life.svg": drawing(life(), arrows(), 48)}


def main() -> None:
    """Write both pictures."""
    for name, text in pictures().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
