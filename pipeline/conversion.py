"""A mask from one format to another, with its place, classes and history."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError, OutputError, RequestError
from pipeline.io.formats import COMPANIONS, VECTORS, Mask, about, in_the_way, open_source, publish, suffix_of
from pipeline.io.safely import clean
from pipeline.sieve import Sieved


def export(
    path: str | Path,
    output: Path,
    *,
    sieve: int = 0,
    simplify: float = 0.0,
    min_area: float = 0.0,
    overwrite: bool = False,
) -> None:
    """Write the mask at `path` in the format of `output`'s suffix, cell by cell the same, in bounded memory.

    With `sieve`, patches of fewer cells take the class that most of their border has. Class names, colours, nodata and
    the record of how it was made go along. As vectors (`.gpkg`, `.parquet`, `.geojson`) it becomes polygons, of which
    outlines may move by `simplify` world units and those below `min_area` square metres are left out. `.qml`, `.png`
    and `.json` are a style for QGIS, a picture and a STAC Item of it. Raises PipelineError.
    """
    as_vectors = suffix_of(output) in VECTORS
    if (simplify or min_area) and not as_vectors:
        raise RequestError(f"{output}: --simplify and --min-area are for vectors: {', '.join(VECTORS)}")
    if Path(path).resolve() == output.resolve():
        raise RequestError(f"{output}: the output is the input itself; give another --output")
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: is there already; --overwrite replaces it, or give another --output")
    if not overwrite and (other := in_the_way(output)):
        raise OutputError(
            f"{other}: would be replaced by the mask's own; --overwrite allows it, or give another --output"
        )
    labels: Any = open_source(path)
    try:
        if labels.dtype not in (np.uint8, np.uint16) or labels.channels != 1:
            raise InputError(
                f"{path}: {labels.channels} channels of {labels.dtype} are no mask; needed is one of uint8 or uint16"
            )
        said = about(path)
        if output.parent.is_dir():
            clean(output.parent)
        nodata = int(np.iinfo(labels.dtype).max) if said.nodata is None else said.nodata
        made = dict(said.made or {})
        if sieve:
            labels, made = Sieved(labels, nodata, sieve), made | {"sieve": sieve}
        if as_vectors:
            _need_vectors()
            from pipeline.vectors import Finish, write_vectors

            write_vectors(labels, output, nodata, said.classes, Finish(simplify, min_area))
            return
        if suffix_of(output) in COMPANIONS:
            from pipeline.companions import Scene, write_companion

            write_companion(Scene(Path(path), labels, nodata, said.classes, made), output)
            return
        publish(Mask(labels, labels.grid, nodata, said.classes, made), output)
    finally:
        labels.close()


def _need_vectors() -> None:
    missing = [name for name in ("pyogrio", "shapely", "pyarrow") if find_spec(name) is None]
    if missing:
        raise RequestError(f"vectors need {', '.join(missing)}: pip install 'pipeline[vectors]'")
