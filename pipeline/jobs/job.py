"""Define a job (what decides every byte of one mask) and its resources (what decides none)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Annotated, Literal

from pipeline.decoding import Meaning, Reader
from pipeline.decoding.readers import (
    LENGTHS,
    NUMBERS,
    PAIR,
    POSITIVE,
    SIZE,
    TEXT,
    TEXTS,
    TRUTH,
    WORDS,
    WORDS_AND_NUMBERS,
)
from pipeline.files.object_path import OutputPath, as_output
from pipeline.io.address import as_utf8, redact_url
from pipeline.io.band_names import BandName, band_names
from pipeline.io.catalog import CatalogValues


def parse_bands(words: str) -> tuple[BandName, ...]:
    """Return the bands in a text: numbers and names.

    >>> parse_bands("4,red,nir08")
    (4, 'red', 'nir08')
    """
    try:
        return band_names(words.split(","))
    except ValueError:
        raise ValueError(f"{words!r} must be bands separated by commas, e.g. 4,3,2 or red,green,blue") from None


BANDS = Reader(
    "a text or a list of whole numbers and names",
    lambda value: band_names(value.split(",") if isinstance(value, str) else value),
    parse_bands,
    "<band>,...",
)


def models_of(model: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the models that are named, as a tuple."""
    return (model,) if isinstance(model, str) else model or ()


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """Options that decide the bytes of a mask. None: the model's own value, or none."""

    bands: Annotated[
        tuple[BandName, ...] | None,
        BANDS,
        Meaning(
            "Raster bands by number (from 1) or name, in the order of the model's channels: 4,3,2 or red,green,blue.",
            unset="the bands named like the model's channels, else all but alpha",
        ),
    ] = None
    scale: Annotated[
        tuple[float, ...] | None,
        NUMBERS,
        Meaning(
            "Scale of a scene's values, one number or one per channel: the model sees value * scale + offset.",
            unset="that of the file for models of physical values, else 1",
        ),
    ] = None
    offset: Annotated[
        tuple[float, ...] | None,
        NUMBERS,
        Meaning(
            "Offset of a scene's values, one number or one per channel, e.g. -0.1 with scale 0.0001 for Sentinel-2.",
            unset="that of the file for models of physical values, else 0",
        ),
    ] = None
    series: Annotated[
        str | None, TEXT, Meaning("UID of one of several DICOM series in a folder or zip.", unset="the only one")
    ] = None
    patch: Annotated[
        tuple[int, int] | None,
        PAIR,
        Meaning("Patch size in input pixels: 512, or 512,768 (height, width).", unset="the model's"),
    ] = None
    overlap: Annotated[
        tuple[int, int] | None,
        PAIR,
        Meaning(
            "Overlap of neighboring patches in input pixels: 64, or 64,96 (height, width).",
            unset="the model's; for another patch size, the same share of it",
        ),
    ] = None
    window: Annotated[
        str | None,
        TEXT,
        Meaning(
            "Blend window: constant, linear, hann or gaussian.",
            unset="the model's",
            choices=("constant", "linear", "hann", "gaussian"),
        ),
    ] = None
    view: Annotated[
        str | tuple[str, ...] | None,
        WORDS,
        Meaning(
            "Slicing direction of a volume: axial, coronal or sagittal; the scores of several are averaged.",
            unset="the model's",
            choices=("axial", "coronal", "sagittal"),
        ),
    ] = None
    tta: Annotated[
        str | tuple[str | float, ...] | None,
        WORDS_AND_NUMBERS,
        Meaning(
            "Test-time augmentation: flips or turns of each patch, and scales, e.g. flips,0.75,1.25.",
            unset="none",
            choices=("flips", "turns"),
        ),
    ] = None
    features: Annotated[
        str | None,
        TEXT,
        Meaning(
            "Features of overlapping patches: patch (each patch computes its own) or shared (computed once for all).",
            unset="the model's, or else patch",
            choices=("patch", "shared"),
        ),
    ] = None
    aoi: Annotated[
        str | None,
        TEXT,
        Meaning(
            "Area of interest of a scene: west,south,east,north in degrees, or in the CRS named at the end "
            "(...,EPSG:32632); or a file of polygons. Pixels outside are neither read nor predicted.",
            unset="the whole scene",
        ),
    ] = None
    also: Annotated[
        str | tuple[str, ...] | None,
        WORDS,
        Meaning(
            "Layers to write beside the mask: confidence, probabilities, scores, disagreement.",
            unset="none",
            name="layers",
            choices=("confidence", "probabilities", "scores", "disagreement"),
        ),
    ] = None
    affine: Annotated[
        str | None,
        TEXT,
        Meaning(
            "NIfTI affine to use when sform and qform disagree: sform, qform, or strict (refuse).",
            unset="strict",
            name="nifti_affine",
            choices=("sform", "qform", "strict"),
        ),
    ] = None
    keep_header_text: Annotated[
        bool | None,
        TRUTH,
        Meaning("Copy free text and extensions of the NIfTI header, which may name a person.", unset="no"),
    ] = None
    like: Annotated[
        str | None,
        TEXT,
        Meaning("Raster on whose grid scenes are segmented.", unset="their own grid", role="file"),
    ] = None
    resolution: Annotated[
        tuple[float, float] | None,
        LENGTHS,
        Meaning("Pixel size to segment scenes at, in CRS units: 10, or 10,20 (height, width).", unset="their own"),
    ] = None
    crs: Annotated[str | None, TEXT, Meaning("CRS to segment scenes in, e.g. EPSG:32633.", unset="their own")] = None
    allow: Annotated[
        tuple[str, ...] | None,
        TEXTS,
        Meaning(
            "Scheme (https, s3, or file: any file) or folder to which VRTs and STAC items may refer; may be repeated.",
            unset="their own folder, or the scheme of their address",
        ),
    ] = None


@dataclass(frozen=True)
class Job(JobOptions):
    """One input, one model and one output."""

    input: Annotated[
        str,
        Meaning("A file, a Zarr store, a folder or zip of DICOM files, or an address of http(s) or an object store."),
    ]
    output: Annotated[
        OutputPath | None,
        Meaning("File or object to write; its suffix is the format.", unset="<stem>_mask beside the input"),
    ] = None
    model: Annotated[
        str | tuple[str, ...] | None,
        Meaning(
            "A packaged name, or the path of a model; the scores of several are averaged.",
            unset="the packaged one for the kind of input",
        ),
    ] = None
    _: KW_ONLY
    volume: Annotated[
        int | None,
        Meaning("Index (from 0) of the volume in a 4-D NIfTI.", unset="a 4-D file is refused"),
    ] = None
    catalog: Annotated[
        CatalogValues | None,
        Meaning("Scale and offset by the catalog in which the input was found.", unset="none, or not from a catalog"),
    ] = None

    def __post_init__(self) -> None:
        """Take an address of an object for one, as text and as a path."""
        if self.output is not None:
            object.__setattr__(self, "output", as_output(self.output))

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are named: none if the default is meant."""
        return models_of(self.model)

    @property
    def name(self) -> str:
        """The input as it may be shown and stored: an address without credentials, a name of bytes in UTF-8."""
        return as_utf8(redact_url(self.input))

    @property
    def signed(self) -> bool:
        """Whether the input is an address with credentials."""
        return redact_url(self.input) != self.input

    def plain(self) -> Job:
        """Return the same job with explicit defaults removed, so that equal jobs compare equal."""
        affine = None if self.affine == "strict" else self.affine
        model = self.models[0] if len(self.models) == 1 else self.models or None
        keep = self.keep_header_text or None
        if (affine, model, keep) == (self.affine, self.model, self.keep_header_text):
            return self  # replacing nothing takes long, for thousands
        return replace(self, affine=affine, model=model, keep_header_text=keep)


@dataclass(frozen=True)
class Resources:
    """Speed and memory: nothing here decides more than the rounding of scores."""

    workers: Annotated[
        int | None, POSITIVE, Meaning("Worker processes on this machine.", unset="this process alone")
    ] = None
    scheduler: Annotated[
        str | None,
        Meaning(
            "Dask scheduler whose workers see the same files, or an object store: its address (tcp://host:8786), its "
            "scheduler file (.json), or a cluster to start (.toml).",
            unset="none",
        ),
    ] = None
    memory: Annotated[
        int | None,
        SIZE,
        Meaning(
            "Memory limit of the sweep, e.g. 500MiB or 2GiB; rows too wide for it are cut into strips.",
            unset="no limit",
        ),
    ] = None
    rows: Annotated[
        int | None,
        POSITIVE,
        Meaning(
            "Rows of a slab, which is written at once: a multiple of 1024 (volumes: 32).",
            unset="1024 (volumes: 32)",
            former=("band",),
        ),
    ] = None
    device: Annotated[str | None, Meaning("Device: cpu, cuda, cuda:1 or mps.", unset="a CUDA GPU if there is one")] = (
        None
    )
    precision: Annotated[
        Literal["float32", "bfloat16", "int8"] | None,
        Meaning(
            "Inference precision: float32, bfloat16, or int8 for a model that has it. Changes rounding.",
            unset="the fastest of float32 and bfloat16 on this device",
        ),
    ] = None
    runtime: Annotated[
        Literal["torch", "compiled", "openvino", "onnx"] | None,
        Meaning(
            "Inference backend: torch, compiled, openvino, or onnx for ONNX networks. Changes rounding.",
            unset="chosen by the model and the size of the run",
        ),
    ] = None
    overwrite: Annotated[bool, Meaning("Overwrite an existing output.")] = False
    restart: Annotated[bool, Meaning("Discard an unfinished run and start over.")] = False
