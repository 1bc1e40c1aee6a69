"""The door of Zarr: where work is staged, and a format for inputs and masks. Only this folder knows zarr."""

from pipeline.io.zarr.labels import CHUNK, create_labels, mask_of
from pipeline.io.zarr.layers import create_layer, note_made
from pipeline.io.zarr.scores import create_scores
from pipeline.io.zarr.source import ZarrSource
from pipeline.io.zarr.stage import stage_volume
from pipeline.io.zarr.writer import SlabStore

__all__ = [
    "CHUNK",
    "SlabStore",
    "ZarrSource",
    "create_labels",
    "create_layer",
    "create_scores",
    "mask_of",
    "note_made",
    "stage_volume",
]
