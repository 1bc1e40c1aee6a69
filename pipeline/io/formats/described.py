"""The JSON file beside the mask of a volume, for formats that have no place for classes, nodata and provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.classes import class_table_of, rows_of
from pipeline.files.atomic import atomic_write
from pipeline.io.mask import Mask, MaskInfo
from pipeline.io.suffixes import stem_of


def sidecar_of(path: Path) -> Path:
    """Return the file that describes the mask at `path`."""
    return path.with_name(stem_of(path) + ".json")


@contextmanager
def described(mask: Mask, path: Path) -> Iterator[Callable[[], None]]:
    """Give what describes a mask just before it gets its name; if no mask is written, its description goes as well."""
    beside = {"labels": rows_of(mask.classes), "nodata": mask.nodata, "made": mask.provenance, **mask.sidecar_extra}

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


def described_info(path: Path) -> MaskInfo:
    """Return the metadata of the mask at `path` from the file beside it."""
    beside = json.loads(sidecar_of(path).read_text(encoding="utf-8"))
    return MaskInfo(beside["nodata"], class_table_of(beside["labels"]), beside["made"])
