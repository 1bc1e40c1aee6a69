"""The picture of shared features: `python -m docs.pictures.features` from the root of the project.

features.svg   what the backbone computes for patches by themselves, and in blocks, of which one is drawn with its halo
"""

from __future__ import annotations

from itertools import chain, product
from pathlib import Path

from pipeline.geometry import Blocks, Box, Lattice

FOLDER = Path(__file__).parent
SIDE, GAP, TOP = 340, 60, 50
LATTICE = Lattice((1280, 1280), (512, 512), (256, 256), (0, 0))
SCALE = SIDE / (1280 + 128)
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1b2733}.small{font-size:11px;fill:#55636f}"
    ".patch{fill:#3b7dd8;fill-opacity:.16;stroke:#27548f}.halo{fill:#f1b04c;fill-opacity:.35;stroke:#b97f22;"
    "stroke-dasharray:4 3}.ground{fill:#fff}.block{fill:#3b7dd8;fill-opacity:.16;stroke:#27548f}"
    ".joined{fill:none;stroke:#1b2733;stroke-width:2.5}"
)


def rectangle(box: Box, left: float, kind: str) -> str:
    """Return a box of the grid as a rectangle in the panel that begins at `left`."""
    (y, x), (height, width) = ((start + 64) * SCALE for start in box.start), box.shape
    return (
        f'<rect class="{kind}" x="{left + x:.1f}" y="{TOP + y:.1f}" '
        f'width="{width * SCALE:.1f}" height="{height * SCALE:.1f}"/>'
    )


def draw() -> str:
    """Return the picture as SVG."""
    blocks = list(chain(*Blocks(LATTICE, (768, 768), (64, 64)).rows()))
    patches = [LATTICE.patch_at(start) for start in product(*LATTICE.starts)]
    alone = [rectangle(patch, 10, "patch") for patch in patches]
    right = SIDE + GAP
    together = [
        *(rectangle(block.cells, right, "block") for block in blocks),
        rectangle(blocks[0].seen, right, "halo"),
        rectangle(blocks[0].cells, right, "ground"),
        rectangle(blocks[0].cells, right, "block"),
        rectangle(LATTICE.patch_at((512, 512)), right, "joined"),
    ]
    per_pixel = sum(patch.size for patch in patches) / Box.whole(LATTICE.shape).size
    mean = f"most pixels are computed four times; {per_pixel:.1f} times in the mean"
    labels = [
        f'<text x="10" y="20">patch: {len(patches)} patches, each by itself</text>',
        f'<text class="small" x="10" y="38">{mean}</text>',
        f'<text x="{right}" y="20">shared: {len(blocks)} blocks; a patch is joined of its parts</text>',
        f'<text class="small" x="{right}" y="38">each pixel once, but for the halo of each block (orange)</text>',
    ]
    width, height = 2 * SIDE + GAP + 20, TOP + SIDE + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<style>{STYLE}</style>{''.join(labels + alone + together)}</svg>\n"
    )


if __name__ == "__main__":
    (FOLDER / "features.svg").write_text(draw(), encoding="utf-8")
