"""What each stage of a run costs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path


@dataclass(frozen=True)
class Costs:
    """Costs of each stage. All `_s` are seconds of an undisturbed core, all `_mb` are millions of bytes in files.

    Mpx are millions of pixels of the scene, each with all its channels.
    """

    backbone: str
    numerics: str
    """Precision and runtime of the network."""
    patch: int
    """Side in pixels."""
    overlap: int
    """Pixels that neighbouring patches share."""
    block: int
    """Side of the blocks of the input file, which are read and decoded whole, in pixels."""
    slab: int
    """Rows that are read at a time."""
    band: int
    """Rows that are written at a time."""
    decode_s: float
    """To read and decode a Mpx of a file that the system holds in memory."""
    patch_s: float
    """To cut a patch and compute it on one thread."""
    blend_s: float
    """To blend and decide a Mpx of patches, overlaps counted as often as they are computed."""
    write_s: float
    """To encode a Mpx into the store and to have it safe on the disk of the machine that was measured."""
    publish_s: float
    """To make the mask from a Mpx of the store, as if by one core."""
    read_mb: float
    """Of the input, for each Mpx."""
    store_mb: float
    """Of the store, for each Mpx."""
    mask_mb: float
    """Of the mask, for each Mpx; it is written twice, the second time in the order of a COG."""
    begin_s: float
    """Once: the command, its checks, and the trial of its numerics, beside which the server of workers starts."""
    worker_s: float
    """Once for each worker: to begin, and to load the model."""
    task_s: float
    """The scheduler, for each run of bands."""

    @classmethod
    def load(cls, path: Path) -> Costs:
        """Those that `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def on_gpu(self, speedup: float) -> Costs:
        """Those of a network so many times faster; blending, which is done where the network is, goes with it."""
        return replace(self, patch_s=self.patch_s / speedup, blend_s=self.blend_s / speedup)

    def at_share(self, share: float) -> Costs:
        """Those where each process gets this share of a core."""
        seconds = [field.name for field in fields(self) if field.name.endswith("_s")]
        return replace(self, **{name: getattr(self, name) / share for name in seconds})
