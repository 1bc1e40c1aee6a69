"""A prepared job: everything that decides the bytes of its output. Small enough to be sent to workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.classes import ClassTable, LabelClass
from pipeline.engine import Decision, Labels
from pipeline.errors import RequestError
from pipeline.files.object_path import OutputPath
from pipeline.geometry import Grid, Region
from pipeline.io.formats import Input
from pipeline.io.versions import UNSEEN, Snapshot
from pipeline.jobs.job import Job
from pipeline.jobs.layers import Layer, parse_layers
from pipeline.jobs.read_options import ReadOptions
from pipeline.models.card import Card
from pipeline.models.exchange.version import runtime_version
from pipeline.models.inference.numerics import Numerics
from pipeline.models.inference.tta import TTA
from pipeline.models.spec import ONNXSpec
from pipeline.runs.disk_storage import DiskStorage, work_of
from pipeline.runs.members import Member, network_of, origin_of, sparse_of
from pipeline.runs.own import NOTHING, Own
from pipeline.runs.storage import storage_of
from pipeline.runs.views import View

FORMAT = 1
"""Version of all that a fingerprint stands for; raised when the same fields would give other bytes."""

ROUNDING = ("device", "precision", "runtime", "fused", "int8_sha256", "onnxruntime")
"""Fields of a fingerprint that change no more than the rounding of scores."""


@dataclass(frozen=True)
class PreparedJob:
    """A job, checked against its input and its model, with everything filled in that decides a byte."""

    job: Job
    """With its output and model filled in."""
    input: Input
    """Its input, recognized once."""
    version: Mapping[str, Any]
    """What distinguishes this version of the input from others; read once, because it may be on a server."""
    members: tuple[Member, ...]
    """Its models; the scores of several are averaged patch by patch, in this order."""
    grid: Grid
    """The grid of the mask: the input's own, unless the job asks for another."""
    views: tuple[View, ...]
    """Directions in which it is swept; scores of several are averaged, in this order."""
    staged: bool
    """Whether the volume is copied to Zarr first."""
    window: str
    region: Region | None
    """Part of the scene that is segmented; None: all of it."""
    augmentation: TTA
    """Flips, rotations and scales of each patch."""
    reading: ReadOptions
    """How the input is read for the model."""
    channels: int
    itemsize: int
    """Bytes of one value of the input."""
    numerics: Numerics
    layers: tuple[Layer, ...] = ()
    """What is written beside the labels."""
    held: int = 0
    """Bytes of the input that are held while it is read, beside its pixels: a large block."""
    began_with: Snapshot = UNSEEN
    """The files of the input before they were opened."""
    own: Own = NOTHING
    """What a program brings itself."""

    @property
    def card(self) -> Card:
        """Card of the first model, which decides what all have in common, and on the patches."""
        return self.members[0].card

    @property
    def title(self) -> str:
        """Names of the models."""
        return " + ".join(member.card.name for member in self.members)

    @property
    def averaged(self) -> bool:
        """Whether there are several views, each of which keeps its scores until all are done."""
        return len(self.views) > 1

    @property
    def store_grid(self) -> Grid:
        """The grid of the stores of labels and layers: as swept if there is one view, else the mask's own."""
        return self.grid if self.averaged else self.views[0].grid

    @property
    def destination(self) -> OutputPath:
        """Where users find the output: a file here, or an object."""
        if self.job.output is None:
            raise RequestError(f"{self.job.name}: has no output")
        return self.job.output

    @property
    def storage(self) -> DiskStorage:
        """Where the output and its work folder are kept."""
        return storage_of(self.destination)

    @property
    def output(self) -> Path:
        """File to write on this machine."""
        return self.destination if isinstance(self.destination, Path) else self.destination.here

    @property
    def work(self) -> Path:
        """Folder of unfinished work on this machine, beside the output."""
        return work_of(self.output)

    @property
    def labels(self) -> Labels:
        """Type and nodata of the labels: the largest value of the smallest type that holds the classes."""
        if len(self.card.classes) <= 255:
            return Labels(np.dtype(np.uint8), 255)
        return Labels(np.dtype(np.uint16), 65535)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What is written at the end: labels and layers."""
        return self.labels, *(layer.decision for layer in self.layers)

    @property
    def classes(self) -> ClassTable:
        """The class table of the mask."""
        return tuple(
            LabelClass(value, entry.name, entry.color, entry.snomed) for value, entry in enumerate(self.card.classes)
        )

    @property
    def channel_descriptions(self) -> tuple[str, ...]:
        """Channels of the model, each with the number of its band if bands were selected."""
        if self.reading.bands is None:
            return self.card.channels
        pairs = zip(self.card.channels, self.reading.bands, strict=True)
        return tuple(f"{channel} (band {number})" for channel, number in pairs)

    @property
    def values_description(self) -> str:
        """Which values of the input the model takes."""
        return "as stored" if self.reading.calibration is None else str(self.reading.calibration)

    @property
    def catalog_description(self) -> str | None:
        """What is done by what the catalog says about the values; None if it says nothing, or nothing is done."""
        catalog, by_user = self.job.catalog, (self.job.scale, self.job.offset) != (None, None)
        if catalog is None or by_user or self.card.values == "raw":
            return None
        applied = "; the offset is in the stored values already and is not applied again" if catalog.applied else ""
        return f"values by the catalog of the input: {self.values_description}{applied}"

    @property
    def needs_statistics(self) -> bool:
        """Whether the model normalizes each input by its own statistics."""
        return self.card.normalization.by_input

    def fingerprint(self) -> dict[str, Any]:
        """Return everything that decides the bytes of the output, as JSON values."""
        return {
            "format": FORMAT,
            "input": self.version,
            **self._of_reading(),
            "model": self.card.name,
            "weights_sha256": self.card.weights_sha256,
            **self._of_others(),
            **origin_of([member.model for member in self.members]),
            **self._of_lattices(),
            **self._of_features(),
            **self._of_card(),
            "view": self._of_views([view.label for view in self.views]),
            "tta": self.augmentation.words,
            "also": parse_layers(self.job.also),
            **self._of_numerics(),
        }

    def _of_reading(self) -> dict[str, Any]:
        calibration, onto = self.reading.calibration, self.reading.onto
        return {
            "bands": self.reading.bands,
            "calibration": None if calibration is None else asdict(calibration),
            "target": None if onto is None else {"shape": onto.shape, "affine": onto.affine, "crs": onto.crs},
            "affine": self.job.affine,
            "volume": self.job.volume,
            "keep_header_text": self.job.keep_header_text,
            "aoi": None if self.region is None else self.region.digest,
        }

    def _of_others(self) -> dict[str, Any]:
        """Return the models beside the first; nothing if there is only one, as in older versions."""
        return {"others": [member.fingerprint() for member in self.members[1:]]} if len(self.members) > 1 else {}

    def _of_lattices(self) -> dict[str, Any]:
        lattices = [view.lattice for view in self.views]
        return {
            "patch": self._of_views([lattice.patch for lattice in lattices]),
            "overlap": self._of_views([lattice.overlap for lattice in lattices]),
            "margin": lattices[0].margin,
            "window": self.window,
        }

    def _of_features(self) -> dict[str, Any]:
        """Return how patches share features; nothing if each computes its own, as older versions did."""
        blocks = [view.blocks for view in self.views if view.blocks is not None]
        return {"features": self._of_views([{"cells": of.size, "halo": of.halo} for of in blocks])} if blocks else {}

    def _of_card(self) -> dict[str, Any]:
        return {
            "normalisation": asdict(self.card.normalization),
            "network": network_of(self.card),
            "averaging": self.card.averaging,
            "spacing": self.card.spacing,
            "orientation": self.card.orientation,
            **sparse_of(self.card),
        }

    def _of_numerics(self) -> dict[str, Any]:
        form = self.card.int8 if self.numerics.precision == "int8" else None
        return {
            "device": self.numerics.device.split(":")[0],
            "precision": self.numerics.precision,
            "runtime": self.numerics.runtime,
            "int8_sha256": None if form is None else (form.xml_sha256, form.bin_sha256),
            **({"fused": True} if self.numerics.fused else {}),
            **self._of_onnx(),
        }

    def _of_onnx(self) -> dict[str, Any]:
        """Return which ONNX Runtime computes the networks in ONNX files; nothing if there are none."""
        foreign = any(isinstance(member.card.network, ONNXSpec) for member in self.members)
        return {"onnxruntime": runtime_version()} if foreign else {}

    def _of_views(self, values: list[Any]) -> Any:  # noqa: ANN401  (JSON values)
        """Return a value for each view; the value itself if there is only one."""
        return values if self.averaged else values[0]


def bytes_per_cell(decisions: Sequence[Decision]) -> int:
    """Return the bytes that are written for a cell."""
    return sum(each.dtype.itemsize * prod(each.planes) for each in decisions)
