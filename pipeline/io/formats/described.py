"""The JSON file beside the mask or layer of a volume, in formats that have no place for what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.classes import class_table_of, rows_of
from pipeline.files.atomic import atomic_write
from pipeline.io.mask import Mask, MaskInfo, MaskLayer
from pipeline.io.suffixes import stem_of


def sidecar_of(path: Path) -> Path:
    """Return the file that describes the mask or layer at `path`."""
    return path.with_name(stem_of(path) + ".json")


@contextmanager
def described(written: Mask | MaskLayer, path: Path) -> Iterator[Callable[[], None]]:
    """Give what describes a file just before it gets its name; if none is written, its description goes as well."""
    beside = _words_of(written)

    def describe() -> None:
        """Remove an older volume first: the new sidecar does not describe it."""
        path.unlink(missing_ok=True)
        with atomic_write(sidecar_of(path)) as draft:
            draft.write_text(json.dumps(beside, indent=1) + "\n", encoding="utf-8")

    try:
        yield describe
    except BaseException:
        if not path.exists():
            sidecar_of(path).unlink(missing_ok=True)
        raise


def _words_of(written: Mask | MaskLayer) -> dict[str, Any]:
    """Return what a file says of a mask, or of a layer: its voxels that were not observed are NaN."""
    if isinstance(written, MaskLayer):
        return {"layer": written.name, "bands": written.bands, "made": written.provenance}
    labels = {"labels": rows_of(written.classes), "nodata": written.nodata, "made": written.provenance}
    return {**labels, **written.sidecar_extra}


def described_info(path: Path) -> MaskInfo:
    """Return the metadata of the mask or layer at `path` from the file beside it."""
    beside = json.loads(sidecar_of(path).read_text(encoding="utf-8"))
    if "layer" in beside:
        return MaskInfo(provenance=beside["made"], bands=tuple(map(str, beside["bands"])))
    return MaskInfo(beside["nodata"], class_table_of(beside["labels"]), beside["made"])
