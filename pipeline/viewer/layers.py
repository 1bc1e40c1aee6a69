"""The files that a viewer shows, and what each of them is: an image, a mask, or a layer of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.classes import ClassTable, hex_color
from pipeline.engine import STEPS, Source
from pipeline.errors import InputError, PipelineError, RequestError
from pipeline.files.visible import visible
from pipeline.geometry.grid import difference
from pipeline.io.formats import Input, look
from pipeline.io.mask import MaskInfo
from pipeline.io.mask_files import mask_info
from pipeline.io.opening import open_source
from pipeline.io.raster.georeference import same_crs
from pipeline.io.raster.shapes import authority_code
from pipeline.masks.image import image_beside, image_of

LayerKind = Literal["image", "mask", "values"]
MOST = 20
"""Most files that are shown at a time."""


@dataclass(frozen=True)
class Layer:
    """A file that is shown."""

    item: Input
    kind: LayerKind
    source: Source
    """All of its channels."""
    info: MaskInfo
    """Its metadata, as far as it is a mask or a layer."""

    @property
    def name(self) -> str:
        """Its name without folders, as it may be shown."""
        return visible(self.item.path.name if self.item.is_path else self.item.name)

    @property
    def classes(self) -> ClassTable:
        """The classes of a mask."""
        return self.info.classes

    @property
    def nodata(self) -> int:
        """The value of cells of a mask that were not observed; the largest of its type where none is said."""
        return int(np.iinfo(self.source.dtype).max) if self.info.nodata is None else self.info.nodata

    @property
    def scaling(self) -> tuple[float, float] | None:
        """Scale and offset from stored values to shares, of a layer that is stored in steps; None: as they are."""
        steps = self.kind == "values" and self.source.dtype == np.uint8
        return (1 / STEPS, -1 / STEPS) if steps else None


@dataclass(frozen=True)
class Layers:
    """Files on one grid, the image first, and what a reader should know about what is not shown."""

    shown: tuple[Layer, ...]
    notes: tuple[str, ...]

    @property
    def is_scene(self) -> bool:
        """Whether they are scenes; volumes otherwise."""
        return self.shown[0].source.grid.is_scene

    def close(self) -> None:
        """Close all files."""
        for layer in self.shown:
            layer.source.close()


def described_classes(layer: Layer) -> dict[str, Any]:
    """Return the classes of a mask and its nodata value, as JSON values; the background is hidden at first."""
    if layer.kind != "mask":
        return {"classes": [], "nodata": None}
    classes = [
        {"value": c.value, "name": visible(c.name), "color": hex_color(c.color), "hidden": c.is_background}
        for c in layer.classes
    ]
    return {"classes": classes, "nodata": layer.nodata}


def open_layers(files: Sequence[str], volume: int | None = None) -> Layers:
    """Open files to be shown together; `volume` is the number, from 0, of the volume in 4-D files.

    Where only masks and layers are given, the image that they were made from is looked for beside the first of them,
    under the name in its metadata.

    Raises:
        RequestError: There are too many files, or scenes together with volumes.
        InputError: A file cannot be read, is on another grid than the first, or has no such volume.

    """
    if len(files) > MOST:
        raise RequestError(f"{len(files)} files: at most {MOST} are shown at a time")
    opened: list[Layer] = []
    try:
        opened += (_open(file, volume) for file in files)
        image, notes = (None, ()) if any(one.kind == "image" for one in opened) else _image_of(opened[0], volume)
        opened += () if image is None else (image,)
        ordered = sorted(opened, key=lambda layer: layer.kind != "image")
        _check_grids(ordered)
        _check_volume(ordered, volume)
    except BaseException:
        Layers(tuple(opened), ()).close()
        raise
    several = () if volume is not None else tuple(map(_first_of_several, ordered))
    return Layers(tuple(ordered), (*notes, *filter(None, several)))


def _check_volume(opened: Sequence[Layer], volume: int | None) -> None:
    """Raise InputError if a volume is asked for where no file has several."""
    if volume and all(layer.source.info.volumes == 1 for layer in opened):
        raise InputError(
            f"{opened[0].item.name}: has no volume {volume}: there is one, counted from 0; leave out --volume", "4d"
        )


def _open(file: str, volume: int | None) -> Layer:
    item = look(file)
    source = _source_of(item, volume)
    try:
        described = item.is_path and (source.channels == 1 or not source.grid.is_scene)
        info = mask_info(file) if described else MaskInfo()
        return Layer(item, _kind_of(source, info), source, info)
    except BaseException:
        source.close()
        raise


def _source_of(item: Input, volume: int | None) -> Source:
    """Open an input as it would be segmented, or by the sform of a NIfTI whose forms disagree.

    A mask has one volume beside the several of its image.
    """
    source = open_source(item, affine="sform", volume=item.first_volume)
    if volume is None or source.info.volumes == 1:
        return source
    source.close()
    return open_source(item, affine="sform", volume=volume)


def _kind_of(source: Source, info: MaskInfo) -> LayerKind:
    labels = source.channels == 1 and source.dtype in (np.uint8, np.uint16)
    if info.classes and labels:
        return "mask"
    return "values" if info.provenance is not None else "image"


def _first_of_several(layer: Layer) -> str:
    volumes, channels = layer.source.info.volumes, layer.source.channels
    if volumes > 1:
        return f"{layer.name}: the first of {volumes} volumes is shown; --volume shows another"
    several = channels > 1 and layer.kind == "values" and not layer.source.grid.is_scene
    return (
        f"{layer.name}: the first of its {channels} bands is shown; of NIfTI, --volume shows another" if several else ""
    )


def _image_of(layer: Layer, volume: int | None) -> tuple[Layer | None, tuple[str, ...]]:
    """Return the image that a mask or layer was made from, if it lies beside it; otherwise what to say about it."""
    name, beside = image_of(layer.info.provenance), image_beside(layer.item.path, layer.info.provenance)
    if name is None:
        return None, (f"{layer.name} does not say which image it was made from: give that as another FILE",)
    if beside is None:
        return None, (f"{visible(name)}, of which {layer.name} was made, is not beside it: give it as another FILE",)
    try:
        found = _open(str(beside), volume)
    except PipelineError as error:
        return None, (f"the image beside {layer.name} is not shown: {visible(error)}",)
    words = _difference(layer, found)
    if words is None:
        return found, ()
    found.source.close()
    return None, (f"{found.name} beside {layer.name} is not shown: {words}",)


def _check_grids(layers: Sequence[Layer]) -> None:
    first = layers[0]
    for other in layers[1:]:
        words = _difference(first, other)
        if words is not None:
            raise InputError(
                f"{other.item.name}: is on another grid than {first.item.name}: {words}; files that are shown together "
                "are on one grid",
                "unsuitable",
            )


def _difference(one: Layer, other: Layer) -> str | None:
    grids = one.source.grid, other.source.grid
    if grids[0].is_scene != grids[1].is_scene:
        kinds = ["a scene" if grid.is_scene else "a volume" for grid in grids]
        return f"{one.name} is {kinds[0]}, and {other.name} is {kinds[1]}"
    return difference(*grids) or (_different_crs(one, other) if grids[0].is_scene else None)


def _different_crs(one: Layer, other: Layer) -> str | None:
    first, second = (layer.source.grid.crs for layer in (one, other))
    if first is None or second is None or same_crs(first, second):
        return None
    return f"their CRSs differ, {_short(first)} and {_short(second)}"


def _short(crs: str) -> str:
    return authority_code(crs) or crs[:60]
