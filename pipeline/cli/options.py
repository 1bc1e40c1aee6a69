"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input", "-i", help="File, folder, pattern, table, URL, mosaic: or stack: of rasters; may be given again."
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", help="File (.tif, .zarr, .nii, .nii.gz) or folder. Default: <stem>_mask beside the input."
    ),
]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Name or path of a model; see `pipeline models`.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Job file (TOML); options given here go first.")]
Bands = Annotated[
    str | None,
    typer.Option(
        help="Bands of a raster by number, from 1, or name: 4,3,2 or red,green,blue. Default: named as the model's "
        "channels, or all but alpha."
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(help="The model sees value * scale + offset: one scale, or one a channel. Default: the model's rule."),
]
Offset = Annotated[str | None, typer.Option(help="Offset, likewise: --scale 0.0001 --offset -0.1 for Sentinel-2.")]
Series = Annotated[str | None, typer.Option(help="UID of one of several DICOM series in a folder or zip.")]
Bids = Annotated[
    str | None, typer.Option(help="The input is a BIDS dataset: segment its images of this suffix, as in T1w.")
]
Patch = Annotated[
    str | None, typer.Option(help="Patch in input pixels: 512, or 512,768 (height, width). Default: the model's.")
]
Overlap = Annotated[
    str | None, typer.Option(help="Overlap of patches in input pixels, likewise. Default: the model's.")
]
Window = Annotated[
    str | None, typer.Option(help="Blend window: constant, linear, hann, gaussian. Default: the model's.")
]
View = Annotated[
    str | None,
    typer.Option(help="Slices of a volume: axial, coronal, sagittal, or several to average. Default: the model's."),
]
Tta = Annotated[
    str | None,
    typer.Option(help="Average over flips or turns, and scales, of each patch, as in flips,0.75,1.25. Default: none."),
]
Aoi = Annotated[
    str | None,
    typer.Option(
        help="Area of interest: west,south,east,north in degrees, or with EPSG:... at the end, or a file of polygons."
    ),
]
Also = Annotated[
    str | None,
    typer.Option(
        help="Layers beside the mask of a scene: confidence, probabilities, scores, disagreement, or several."
    ),
]
Affine = Annotated[
    str | None,
    typer.Option(help="What holds where a NIfTI's sform and qform disagree: strict (neither), sform, qform."),
]
Volume = Annotated[
    str | None, typer.Option(help="Volume of a 4-D NIfTI file, counted from 0; or all, for a mask of each.")
]
KeepHeaderText = Annotated[
    bool | None, typer.Option("--keep-header-text", help="Keep free text and extensions of a NIfTI header in the mask.")
]
Like = Annotated[str | None, typer.Option(help="Raster on whose grid scenes are segmented. Default: their own.")]
Resolution = Annotated[
    str | None,
    typer.Option(help="Pixels in which scenes are segmented, in units of their system: 10, or 10,20 (height, width)."),
]
Crs = Annotated[str | None, typer.Option(help="System in which scenes are segmented, as in EPSG:32633.")]
Asset = Annotated[
    str | None,
    typer.Option(
        help="Asset of STAC items that is the input, or several that are its bands: red,green,blue. Default: visual, "
        "image, data or the only image."
    ),
]
Memory = Annotated[str | None, typer.Option(help="Most that the sweep may take, as in 500MiB or 2GiB.")]
Band = Annotated[int | None, typer.Option(help="Rows written at a time: a multiple of 1024 (volumes: 32).")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1. Default: a GPU where there is one.")]
Precision = Annotated[
    str | None, typer.Option(help="Numbers of the network: float32, bfloat16, int8. Default: what is fast here.")
]
Runtime = Annotated[
    str | None, typer.Option(help="What computes it: torch, compiled, openvino. Default: what suits the run.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Make the output anew, even if it is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Workers = Annotated[int | None, typer.Option(help="Processes of this machine. Default: this one alone.")]
