"""Suggest what to label next: the chips of scenes on which patches, or models, disagree most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.engine import STEPS, Source
from pipeline.engine.protocols import Pixels
from pipeline.errors import InputError, OutputError, RequestError
from pipeline.geometry import Box
from pipeline.geometry.grid import difference
from pipeline.io.mask import Mask, MaskInfo
from pipeline.io.mask_files import check_mask, mask_info, publish
from pipeline.io.opening import open_source
from pipeline.io.raster.part import PartSource
from pipeline.io.raster.write import write_scene
from pipeline.io.suffixes import stem_of
from pipeline.io.tables import write_rows
from pipeline.io.vector import writing_polygons
from pipeline.jobs.layers import DISAGREEMENT, layer_path
from pipeline.masks.image import image_beside
from pipeline.masks.polygons import outline
from pipeline.sources.passes import slabs

TABLE, PLACES, CHIPS = "chips.csv", "chips.geojson", "chips"
NODATA = 255


@dataclass(frozen=True)
class Chip:
    """A part of a scene that is worth a label."""

    mask: Path
    box: Box
    disagreement: float
    """Mean over its observed cells, 0 to 1."""
    image: Path
    """What to label."""
    label: Path
    """What the mask says there, to be corrected."""

    @property
    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        row, column = self.box.start
        place = {"mask": str(self.mask), "row": row, "column": column, DISAGREEMENT: round(self.disagreement, 4)}
        return {"image": str(self.image), "label": str(self.label), **place}


@dataclass(frozen=True)
class _Candidate:
    mask: Path
    box: Box
    disagreement: float
    observed: int
    """Cells that have a disagreement."""

    @property
    def worth(self) -> float:
        """What a label is worth: slivers at an edge and corners of a scene show little, however odd it is."""
        return self.disagreement * self.observed


def suggest(masks: Sequence[str | Path], out: Path, *, size: int = 512, count: int = 20) -> tuple[Chip, ...]:
    """Write the `count` chips of `size` cells with most disagreement in all, of all masks together, into `out`.

    Each mask has its image and its disagreement layer (`pipeline run --layers disagreement`) beside it. Chips lie side
    by side, those at a right or lower edge are smaller. Written are `chips/NAME.tif` and `chips/NAME_label.tif`, a
    training table `chips.csv` with the columns image and label, and `chips.geojson` of those with a place on the Earth.

    Raises:
        RequestError: a size or a count below 1, or a mask of a volume.
        InputError: a mask without its image or its layer, or on another grid.
        OutputError: `out` holds chips already, or cannot be written.

    """
    for name, given in (("--size", size), ("--count", count)):
        if given < 1:
            raise RequestError(f"{name} {given}: must be at least 1")
    if (out / TABLE).exists():
        raise OutputError(f"{out / TABLE}: is there already; give another --out")
    found = [candidate for mask in masks for candidate in _candidates(Path(mask), size)]
    chosen = sorted(found, key=lambda one: -one.worth)[:count]
    (out / CHIPS).mkdir(parents=True, exist_ok=True)
    chips = tuple(_write(candidate, out / CHIPS, number) for number, candidate in enumerate(chosen, 1))
    _write_places(out / PLACES, chips)
    names = ("image", "label", "mask", "row", "column", DISAGREEMENT)
    write_rows(out / TABLE, names, (_row(chip) for chip in chips))
    return chips


def _candidate(mask: Path, box: Box, pixels: Pixels) -> _Candidate | None:
    """A chip of a mask, by its part of the layer; None if nothing is observed there."""
    steps = pixels.values[0][:, slice(box.start[1], box.stop[1])]
    observed = steps[steps > 0]
    return _Candidate(mask, box, float((observed - 1.0).mean() / STEPS), observed.size) if observed.size else None


def _row(chip: Chip) -> tuple[Any, ...]:
    beside = {"image": f"{CHIPS}/{chip.image.name}", "label": f"{CHIPS}/{chip.label.name}"}
    return tuple({**chip.record, **beside}.values())


def _candidates(mask: Path, size: int) -> Iterator[_Candidate]:
    """All chips of a mask with observed cells, from its layer, read once."""
    path = layer_path(mask, DISAGREEMENT)
    if not path.exists():
        raise InputError(f"{mask}: has no layer {path.name} beside it; run it with --layers disagreement")
    layer, labels = open_source(path), open_source(mask)
    try:
        if not labels.grid.is_scene:
            raise RequestError(f"{mask}: is the mask of a volume; chips are suggested of scenes")
        if words := difference(labels.grid, layer.grid):
            raise InputError(f"{mask} and its layer {path.name}: {words}; make both anew")
        for box, pixels in slabs(layer, size):
            for start in range(0, layer.grid.shape[1], size):
                chip = Box((box.start[0], start), (box.stop[0], min(start + size, layer.grid.shape[1])))
                if (found := _candidate(mask, chip, pixels)) is not None:
                    yield found
    finally:
        layer.close()
        labels.close()


def _write(candidate: _Candidate, folder: Path, number: int) -> Chip:
    """Cut a chip out of an image and its mask; its number tells masks of one name apart."""
    row, column = candidate.box.start
    name = f"{number:03}_{stem_of(candidate.mask)}_{row}_{column}"
    image, label = folder / f"{name}.tif", folder / f"{name}_label.tif"
    info = mask_info(candidate.mask)
    source, labels = _image(candidate.mask, info), open_source(candidate.mask)
    try:
        check_mask(candidate.mask, labels, "scene")
        if words := difference(labels.grid, source.grid):
            raise InputError(f"{candidate.mask} and its image: {words}; give the image that the mask was made from")
        part, under = PartSource(labels, candidate.box), PartSource(source, candidate.box)
        planes = (pixels.values for _, pixels in slabs(under))
        write_scene(image, under.grid, planes, source.channels, source.dtype)
        nodata = NODATA if info.nodata is None else info.nodata
        publish(Mask(part, part.grid, nodata, info.classes, info.provenance or {}), label)
    finally:
        source.close()
        labels.close()
    return Chip(candidate.mask, candidate.box, candidate.disagreement, image, label)


def _image(mask: Path, info: MaskInfo) -> Source:
    path = image_beside(mask, info.provenance)
    if path is None:
        raise InputError(f"{mask}: the image that it was made from is not beside it; copy it there")
    return open_source(path)


def _write_places(path: Path, chips: Sequence[Chip]) -> None:
    """Write the outlines of chips that have a place on the Earth; no file if none has."""
    placed = [(chip, place) for chip in chips if (place := _place(chip)) is not None]
    if not placed:
        return
    with writing_polygons(path, None) as file:
        for number, (chip, place) in enumerate(placed, 1):
            about = {
                "rank": np.array([number]),
                "image": np.array([chip.image.name], object),
                DISAGREEMENT: np.array([round(chip.disagreement, 4)]),
            }
            file.add(np.array([place], object), about)


def _place(chip: Chip) -> Any:  # noqa: ANN401  (of shapely, which has no types)
    source = open_source(chip.label)
    try:
        return outline(source.grid)
    finally:
        source.close()
