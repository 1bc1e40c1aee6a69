"""The volumes of the structures in the mask of an item."""

from __future__ import annotations

from pipeline.errors import PipelineError
from pipeline.files.object_path import output_path
from pipeline.io.formats import mask_format
from pipeline.masks.structures import measure
from pipeline.runs.storage import copied


def measure_volumes(mask: str | None) -> dict[str, float]:
    """Return milliliters of each structure of a volume's mask, without background; empty if it is not such a mask."""
    if mask is None or mask_format(output_path(mask), "volume") is None:
        return {}
    try:
        with copied(output_path(mask)) as file:
            return {found.name: found.ml for found in measure(file) if found.value}
    except (PipelineError, OSError):
        return {}
