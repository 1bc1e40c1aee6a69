"""Small inputs of every kind, always with the same bytes and times, and models whose masks no processor changes.

Nothing of the pipeline is imported: its modules may move, files may not.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray
from safetensors.torch import save

WHEN = 1_700_000_000
"""Time of change of all inputs, in seconds."""
PLACE = Affine(0.5, 0, 500_000.25, 0, -0.5, 5_002_000.75)
CELLS = np.array([[-1.0, 0, 0, 40], [0, 1, 0, -30], [0, 0, 1.5, -20], [0, 0, 0, 1]])
"""Affine of the volumes."""
BLOT = 24
CLASSES = ("background", "left", "right")
"""Of the models."""


def pixels(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    """Blots under noise, from 1, along the last two axes."""
    rng = np.random.default_rng(seed)
    blots = rng.integers(1, 200, (*shape[:-2], -(-shape[-2] // BLOT), -(-shape[-1] // BLOT)))
    whole = np.kron(blots, np.ones((BLOT, BLOT), int))[..., : shape[-2], : shape[-1]]
    return (whole + rng.integers(0, 56, shape)).astype(np.uint8)


def still(path: Path) -> Path:
    """Set the time of change of a file, or of all in a folder."""
    for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
        os.utime(each, (WHEN, WHEN))
    return path


def put_scene(path: Path, values: NDArray[Any], **profile: Any) -> Path:
    """Write `(channels, rows, columns)` as GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype.name}
    how = {"crs": "EPSG:32633", "transform": PLACE, "nodata": 0, **profile}
    with rasterio.open(path, "w", driver="GTiff", **shape, **how) as to:
        to.write(values)
    return still(path)


def put_tiles(folder: Path, values: NDArray[Any]) -> Path:
    """Cut a scene into four GeoTIFFs that lie side by side."""
    rows, columns = (side // 2 for side in values.shape[1:])
    for number, (top, left) in enumerate([(0, 0), (0, columns), (rows, 0), (rows, columns)]):
        part = values[:, top : top + rows, left : left + columns]
        put_scene(folder / f"tile{number}.tif", part, transform=PLACE @ Affine.translation(left, top))
    return still(folder)


def put_zarr(path: Path, values: NDArray[Any]) -> Path:
    """Write `(channels, rows, columns)` as a Zarr store with a place, as GeoZarr says."""
    import zarr

    group = zarr.open_group(path, mode="w")
    named = {"dimension_names": ("band", "y", "x")}
    array = group.create_array(
        "image", shape=values.shape, dtype=values.dtype, chunks=(1, 128, 128), fill_value=0, **named
    )
    array[...] = values
    array.attrs["grid_mapping"] = "spatial_ref"
    reference = group.create_array("spatial_ref", shape=(), dtype="int64")
    with rasterio.Env():
        wkt = rasterio.crs.CRS.from_epsg(32633).to_wkt()
    numbers = " ".join(repr(float(number)) for number in PLACE.to_gdal())
    reference.attrs.update({"crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": numbers})
    return still(path)


def put_volume(path: Path, values: NDArray[Any]) -> Path:
    """Write `(i, j, k)` as NIfTI."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, CELLS)
    image.set_sform(CELLS, 1)
    image.set_qform(None, 0)
    nibabel.save(image, path)
    return still(path)


def put_nrrd(path: Path, values: NDArray[Any]) -> Path:
    """Write `(i, j, k)` as NRRD in RAS."""
    rows = " ".join(f"({','.join(repr(float(x)) for x in CELLS[:3, axis])})" for axis in range(3))
    lines = [
        "NRRD0004",
        "type: short",
        "dimension: 3",
        "space: right-anterior-superior",
        f"sizes: {' '.join(map(str, values.shape))}",
        f"space directions: {rows}",
        f"space origin: ({','.join(repr(float(x)) for x in CELLS[:3, 3])})",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: raw",
    ]
    path.write_bytes("\n".join([*lines, "", ""]).encode() + values.astype("<i2").tobytes(order="F"))
    return still(path)


def put_metaimage(path: Path, values: NDArray[Any]) -> Path:
    """Write `(i, j, k)` as MetaImage, whose axes are LPS."""
    turned = np.diag([-1.0, -1, 1]) @ CELLS[:3, :3]
    spacing = np.linalg.norm(turned, axis=0)
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": " ".join(map(str, (turned / spacing).T.ravel())),
        "Offset": " ".join(map(str, np.diag([-1.0, -1, 1]) @ CELLS[:3, 3])),
        "ElementSpacing": " ".join(map(str, spacing)),
        "DimSize": " ".join(map(str, values.shape)),
        "ElementType": "MET_SHORT",
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{name} = {value}\n" for name, value in lines.items())
    path.write_bytes(text.encode() + values.astype("<i2").tobytes(order="F"))
    return still(path)


def put_dicom(folder: Path, values: NDArray[Any]) -> Path:
    """Write `(i, j, k)` as an MR series, one file a slice."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    folder.mkdir(parents=True)
    for number, plane in enumerate(values.astype("<i2").transpose(2, 1, 0)):
        made = Dataset()
        about: dict[str, Any] = {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
            "SOPInstanceUID": f"1.2.3.5.{number + 1}",
            "Modality": "MR",
            "StudyInstanceUID": "1.2.3",
            "SeriesInstanceUID": "1.2.3.4",
            "FrameOfReferenceUID": "1.2.3.6",
            **dict.fromkeys(("PatientID", "PatientName", "PatientBirthDate", "PatientSex"), ""),
            **dict.fromkeys(("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"), ""),
            "InstanceNumber": number + 1,
            "ImagePositionPatient": ["-40", "30", str(1.5 * number - 20)],
            "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
            "RescaleSlope": "1",
            "RescaleIntercept": "0",
            "PixelSpacing": ["1", "1"],
            "SliceThickness": "1.5",
            "Rows": plane.shape[0],
            "Columns": plane.shape[1],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 1,
        }
        for name, value in about.items():
            setattr(made, name, value)
        made.PixelData = plane.tobytes()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.save_as(folder / f"IM{number:04}", enforce_file_format=True)
    return still(folder)


def put_model(folder: Path, kind: str) -> Path:
    """Write a model that lets features through a ResNet-18 as they are, and weighs them against each other.

    Its weights are 0, 1 and 64, its input of bytes is scaled by a power of two, and features are resized by eighths: no
    sum is rounded. Scores lie so far apart that a softmax is 0 or 1.
    """
    channels = 2 if kind == "scene" else 3
    state = _weights(channels)
    stored = save({name: tensor.contiguous() for name, tensor in sorted(state.items())})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(stored)
    card = _card(kind, channels) | {"weights_sha256": hashlib.sha256(stored).hexdigest()}
    (folder / "card.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    return still(folder)


def _weights(channels: int) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    _convolution(state, "stem.0", 64, channels, 7, [(2 * n + s, n, 1 - 2.0 * s) for n in range(2) for s in range(2)])
    _norm(state, "stem.1", 64)
    for layer, inputs, outputs in (("layer1", 64, 64), ("layer2", 64, 128)):
        for block in range(2):
            name, before = f"{layer}.{block}", inputs if block == 0 else outputs
            _convolution(state, f"{name}.conv1", outputs, before, 3)
            _norm(state, f"{name}.bn1", outputs)
            _convolution(state, f"{name}.conv2", outputs, outputs, 3)
            _norm(state, f"{name}.bn2", outputs)
            if before != outputs:
                _convolution(state, f"{name}.downsample.0", outputs, before, 1, _SAME)
                _norm(state, f"{name}.downsample.1", outputs)
    for level in range(4):
        _convolution(state, f"ppm.{level}.1", 4, 128, 1)
        _norm(state, f"ppm.{level}.2", 4)
    _convolution(state, "head.0", 8, 128 + 16, 3, _SAME)
    _norm(state, "head.1", 8)
    _convolution(state, "head.4", 3, 8, 1, [(1, 0, 64.0), (1, 1, -64.0), (2, 2, 64.0), (2, 3, -64.0)])
    state["head.4.bias"] = torch.tensor([0.0, 3 + 2**-10, 7 + 2**-11])
    return state


_SAME = [(channel, channel, 1.0) for channel in range(4)]
"""Taps, by output, input and weight, that let four channels through."""


def _convolution(
    state: dict[str, torch.Tensor],
    name: str,
    outputs: int,
    inputs: int,
    side: int,
    taps: list[tuple[int, int, float]] | None = None,
) -> None:
    weight = torch.zeros(outputs, inputs, side, side)
    for to, of, value in taps or []:
        weight[to, of, side // 2, side // 2] = value
    state[f"{name}.weight"] = weight


def _norm(state: dict[str, torch.Tensor], name: str, channels: int) -> None:
    """The identity: the variance with the small number that is added to it is 1."""
    state[f"{name}.weight"] = torch.ones(channels)
    state[f"{name}.bias"] = torch.zeros(channels)
    state[f"{name}.running_mean"] = torch.zeros(channels)
    state[f"{name}.running_var"] = torch.ones(channels) - 1e-5


def _card(kind: str, channels: int) -> dict[str, Any]:
    scene = kind == "scene"
    colours = ((0, 0, 0), (200, 60, 50), (50, 110, 200))
    return {
        "format": 2,
        "name": f"exact-{kind}",
        "kind": kind,
        "classes": [{"name": name, "colour": c} for name, c in zip(CLASSES, colours, strict=True)],
        "network": {
            "backbone": "resnet18",
            "in_channels": channels,
            "classes": 3,
            "output_stride": 8,
            "dilation": "contracted",
            "basic_dilation": "conv1",
            "align_corners": False,
            "stem": "torchvision",
            "bins": [1, 2, 3, 6],
            "ppm_channels": 4,
            "head_channels": 8,
            "auxiliary": False,
            "head": "pspnet",
            "truncated": True,
            "dropout": 0.1,
        },
        "patch": [128, 96] if scene else [48, 64],
        "overlap": [32, 24] if scene else [16, 16],
        "channels": ["a", "b"] if scene else ["MR"],
        "margin": 0 if scene else 1,
        "normalisation": {
            "kind": "fixed",
            "mean": [127.0, 127.0] if scene else [127.0],
            "std": [64.0, 64.0] if scene else [64.0],
            "low": [],
            "high": [],
        },
        "spacing": None,
        "orientation": None if scene else "RAS",
        "views": [] if scene else ["axial"],
        "averaging": "softmax",
        "window": "linear",
        "licence": "CC0-1.0",
        "credits": "nobody",
        "evaluation": {},
        "int8": None,
    }


def put_stack(folder: Path, values: NDArray[Any]) -> Path:
    """Write the first two channels of a scene as files of their own, `a.tif` and `b.tif`."""
    for name, plane in zip("ab", values, strict=True):
        put_scene(folder / f"{name}.tif", plane[None])
    return still(folder)


TRAINING = """
name = "small"
kind = "scene"
channels = ["red", "green"]
classes = [
  {name = "dark", colour = [0, 0, 0]},
  {name = "bright", colour = [255, 255, 255]},
  {name = "rare", colour = [255, 0, 0]},
]
[data]
images = "scene*.tif"
labels = "{stem}_label.tif"
validation = ["scene2"]
exclude = ["*_label"]
[network]
output_stride = 16
ppm_channels = 8
head_channels = 8
[samples]
patch = [32, 32]
batch = 4
[schedule]
steps = 5
every = 1
optimiser = "adamw"
rate = 2e-3
new_layers = 1.0
averaging = 0.5
"""


def put_trainings(folder: Path) -> Path:
    """Write three labelled scenes whose values tell the class, and a training of five steps of them; its file."""
    for index, (rows, columns) in enumerate([(96, 80), (64, 144), (80, 80)]):
        rng = np.random.default_rng(index)
        labels = np.kron(rng.integers(0, 2, (rows // 16, columns // 16)), np.ones((16, 16), int)).astype(np.uint8)
        labels[20:24, 30:34] = 2
        labels[:5, :5] = 255
        noise = rng.normal(0, 8, (2, rows, columns))
        values = np.stack([60 + 80 * (labels == 1), 60 + 120 * (labels == 2)]) + noise
        put_scene(folder / f"scene{index}.tif", values.clip(1, 255).astype(np.uint8))
        put_scene(folder / f"scene{index}_label.tif", labels[None], nodata=None)
    config = folder / "small.toml"
    config.write_text(TRAINING, encoding="utf-8")
    return still(config)
