"""What is to be done with one input, and how: the first decides every byte, the second none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.io.address import shown


@dataclass(frozen=True)
class Job:
    """What: one input, one model, one output. None stands for the model's own value."""

    input: str
    """A file, a Zarr store, a folder or zip of DICOM files, or an address that GDAL opens."""
    output: Path | None = None
    """File to write; its suffix is the format. None: `<stem>_mask` beside the input."""
    model: str | None = None
    """A packaged name, or the path of a model. None: the packaged one for the kind of input."""
    bands: tuple[int, ...] | None = None
    """Bands of a raster to use, counted from 1; None: all but alpha."""
    patch: tuple[int, int] | None = None
    """Height and width of a patch in cells of the input."""
    overlap: tuple[int, int] | None = None
    """Height and width that neighbouring patches share, in cells of the input."""
    window: str | None = None
    """Blend window: constant, linear, hann or gaussian."""
    view: str | tuple[str, ...] | None = None
    """Direction in which a volume is sliced: axial, coronal or sagittal; scores of several are averaged in order."""
    tta: str | tuple[str | float, ...] | None = None
    """Test-time augmentation: flips or turns, and scales, as in "flips,0.75,1.25"; None: the patch as it is."""
    aoi: str | None = None
    """Area of interest of a scene: "west,south,east,north" in degrees, with ",EPSG:..." in another system, or a file of
    polygons; cells outside are neither read nor predicted. None: all of it."""

    also: str | tuple[str, ...] | None = None
    """Layers to write beside the mask of a scene, of `pipeline.layers.LAYERS`, as in "confidence,scores"."""

    @property
    def name(self) -> str:
        """The input as it may be shown and kept: an address without what gives access to it."""
        return shown(self.input)

    series: str | None = None
    """Series instance UID, where a folder holds several DICOM series; None: the only one."""


@dataclass(frozen=True)
class Means:
    """How: speed and memory only."""

    workers: int | None = None
    """Processes of this machine; None: this one."""
    scheduler: str | None = None
    """Address of a Dask scheduler, whose workers see the same files."""
    memory: int | None = None
    """Bytes that the sweep may take; rows too wide for it are cut into strips."""
    band: int | None = None
    """Rows written at a time, a multiple of the chunk."""
    device: str | None = None
    """Device of torch; None: a GPU where there is one. It may change the rounding, and is recorded."""
    precision: str | None = None
    """Numbers of the network: float32, bfloat16 or int8; None: what is fast here. Rounds, and is recorded, as above."""
    runtime: str | None = None
    """What computes the network: torch, compiled or openvino; None: what suits the run. Likewise."""
    overwrite: bool = False
    """Replace an output that was made otherwise."""
    restart: bool = False
    """Forget a run that was begun."""
