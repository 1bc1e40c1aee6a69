"""Read and write Zarr: staged work, and a format of inputs and masks.

The only package that imports zarr. May import the modules of `pipeline.io`, and NIfTI headers from `volume`.
"""

from pipeline.io.zarr.export import export_store
from pipeline.io.zarr.labels import CHUNK, create_labels, mask_of
from pipeline.io.zarr.layers import create_layer, record_provenance
from pipeline.io.zarr.location import version_at
from pipeline.io.zarr.scores import create_scores
from pipeline.io.zarr.source import ZarrSource
from pipeline.io.zarr.stage import StagedVolume, stage_volume
from pipeline.io.zarr.tiles import StoredTiles, tiles_of
from pipeline.io.zarr.work import WorkSource
from pipeline.io.zarr.writer import SlabStore

__all__ = [
    "CHUNK",
    "SlabStore",
    "StagedVolume",
    "StoredTiles",
    "WorkSource",
    "ZarrSource",
    "create_labels",
    "create_layer",
    "create_scores",
    "export_store",
    "mask_of",
    "record_provenance",
    "stage_volume",
    "tiles_of",
    "version_at",
]
