"""The door of Zarr: where work is staged, and a format for inputs and masks. Only this folder knows zarr."""

from pipeline.io.store.bands import BandStore
from pipeline.io.store.labels import CHUNK, create_labels, mask_of
from pipeline.io.store.layers import create_layer, note_made
from pipeline.io.store.scores import create_scores
from pipeline.io.store.source import ZarrSource
from pipeline.io.store.stage import stage_volume

__all__ = [
    "CHUNK",
    "BandStore",
    "ZarrSource",
    "create_labels",
    "create_layer",
    "create_scores",
    "mask_of",
    "note_made",
    "stage_volume",
]
