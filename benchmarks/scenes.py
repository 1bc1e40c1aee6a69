"""Sample scenes for the benchmarks, made once and kept: python benchmarks/scenes.py FOLDER ROWS COLUMNS."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pipeline.demo import scene_grid
from pipeline.io.raster import write_scene
from pipeline.samples import scene_rows


def sample_scene(folder: Path, rows: int, columns: int) -> Path:
    """A scene of `rows` x `columns` x 3 in `folder`."""
    path = folder / f"scene-{rows}x{columns}.tif"
    if not path.exists():
        spans = ((top, min(top + 512, rows)) for top in range(0, rows, 512))
        slabs = (scene_rows(top, stop, columns)[0] for top, stop in spans)
        write_scene(path, scene_grid((rows, columns)), slabs, 3, np.dtype(np.uint8))
    return path


if __name__ == "__main__":
    print(sample_scene(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
