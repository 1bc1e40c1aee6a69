"""What is to be done with one input, and how: the first decides every byte, the second none."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    bands: tuple[int | str, ...] | None = None
    """Bands of a raster to use, by number from 1 or by name; None: those named as the model's channels, or else all
    but alpha."""
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
    affine: str | None = None
    """What holds where a NIfTI's sform and qform disagree: sform or qform; None: strict, neither does."""
    volume: int | None = None
    """One of the volumes of a 4-D NIfTI file, counted from 0; None: there must be one alone."""
    keep_header_text: bool | None = None
    """Whether free text and extensions of a NIfTI header go into the mask; None: no."""
    also: str | tuple[str, ...] | None = None
    """Layers to write beside the mask of a scene, of `pipeline.jobs.layers.LAYERS`, as in "confidence,scores"."""
    scale: tuple[float, ...] | None = None
    """Scale of the values of a scene, for all channels or for each: the model sees `stored * scale + offset`. None: 1,
    or where the model takes physical values and `offset` is None too, that of the file."""
    offset: tuple[float, ...] | None = None
    """Offset, likewise; None: 0, or that of the file."""
    like: str | None = None
    """A raster on whose grid a scene is segmented. None: its own."""
    resolution: tuple[float, float] | None = None
    """Height and width of the pixels in which a scene is segmented, in units of its system. None: its own."""
    crs: str | None = None
    """System in which a scene is segmented, as in EPSG:32633. None: its own."""

    series: str | None = None
    """Series instance UID, where a folder holds several DICOM series; None: the only one."""

    @property
    def name(self) -> str:
        """The input as it may be shown and kept: an address without what gives access to it."""
        return shown(self.input)

    def plain(self) -> Job:
        """The same job, with defaults that were said left unsaid: it is one job either way."""
        affine = None if self.affine == "strict" else self.affine
        return replace(self, affine=affine, keep_header_text=self.keep_header_text or None)


@dataclass(frozen=True)
class Means:
    """How: speed and memory only."""

    workers: int | None = None
    """Processes of this machine; None: this one."""
    scheduler: str | None = None
    """Address of a Dask scheduler, whose workers see the same files."""
    memory: int | None = None
    """Bytes that the sweep may take; rows too wide for it are cut into strips."""
    rows: int | None = None
    """Rows of a slab, which is written at once: a multiple of the chunk."""
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
