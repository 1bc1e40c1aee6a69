"""The door of Zarr: where work is staged, and a format for inputs and masks. Only this folder knows zarr."""

from pipeline.io.store.labels import CHUNK, LabelStore, create_labels, mask_of
from pipeline.io.store.source import ZarrSource
from pipeline.io.store.stage import stage_volume

__all__ = ["CHUNK", "LabelStore", "ZarrSource", "create_labels", "mask_of", "stage_volume"]
