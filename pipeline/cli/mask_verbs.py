"""Verbs for inputs and masks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import SOME_FAILED
from pipeline.cli.completion import export_names
from pipeline.cli.options import AsJson, Panel, verb
from pipeline.decoding import Meaning
from pipeline.errors import RequestError
from pipeline.files.visible import visible


@verb
def info(
    files: Annotated[list[str], typer.Argument(help="Scenes, volumes, stores or masks.")],
    as_json: AsJson = False,
) -> None:
    """Show an input's or mask's grid, location, channels, classes and provenance."""
    from pipeline.cli.tables import print_records
    from pipeline.masks.info import describe

    print_records([describe(file) for file in files], as_json=as_json)


@verb
def check(
    mask: Annotated[str, typer.Argument(help="A mask: GeoTIFF, NIfTI, NRRD, MetaImage or Zarr.")],
    like: Annotated[str, typer.Option(help="The input that the mask was made from.")],
    tolerance: Annotated[
        float, typer.Option(help="Distance in cells by which corners may be apart, e.g. 0.01. Default: 0, exactly.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Check that a mask is on the grid of its input, exactly or to a tolerance, and name each difference."""
    from pipeline.cli.mask_tables import print_differences
    from pipeline.masks.check import check as differences_of

    found = differences_of(mask, like, tolerance)
    print_differences(mask, like, found, tolerance, as_json=as_json)
    if found:
        raise typer.Exit(SOME_FAILED)


@verb
def areas(
    mask: Annotated[str, typer.Argument(help="A mask of a scene: GeoTIFF or Zarr.")],
    zones: Annotated[
        Path | None, typer.Option(help="Zones to sum over: a file of polygons in any CRS. Default: the whole mask.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Column with the names of the zones. Default: they are numbered.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table to write (.csv).")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the area of each class on the ground, by zone."""
    from pipeline.cli.mask_tables import print_areas
    from pipeline.masks.areas import areas as areas_of
    from pipeline.masks.areas import write_csv

    found = areas_of(mask, zones, name)
    if output is not None:
        write_csv(output, found)
    print_areas(found, as_json=as_json)


@verb
def suggest(
    masks: Annotated[
        list[Path],
        typer.Argument(metavar="MASK", help="Masks of scenes, with their images and disagreement layers beside them."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the chips.")],
    size: Annotated[int, typer.Option(help="Cells of a chip's side.")] = 512,
    count: Annotated[int, typer.Option(help="Number of chips.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Cut out the chips on which patches or models disagree most: what to label next."""
    from pipeline.cli.tables import print_records
    from pipeline.masks.suggest import suggest as chips_of

    print_records([chip.record for chip in chips_of(masks, out, size=size, count=count)], as_json=as_json)


@verb
def measure(
    mask: Annotated[str, typer.Argument(help="A mask of a volume: NIfTI, NRRD, MetaImage or Zarr.")],
    image: Annotated[
        str | None, typer.Option(help="The volume that the mask was made from, to measure intensities.")
    ] = None,
    volume: Annotated[int | None, typer.Option(help="Number, from 0, of the volume in a 4-D --image.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table to write (.csv).")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure each structure: volume, intensities, and whether the field of view cuts it off."""
    from pipeline.cli.mask_tables import print_structures
    from pipeline.masks.structures import measure as measured
    from pipeline.masks.structures import write_csv

    found = measured(mask, image, volume)
    if output is not None:
        write_csv(output, found)
    print_structures(found, as_json=as_json)


@dataclass(frozen=True)
class ExportOptions:
    """What is exported from a mask."""

    sieve: Annotated[
        int,
        Meaning("Minimum region size in pixels or voxels; smaller regions take the class around them."),
    ] = 0
    largest: Annotated[bool, Meaning("Volumes only: keep the largest component of each structure.")] = False
    min_volume: Annotated[
        float, Meaning("Volumes only: smallest component to keep, in milliliters; others become background.")
    ] = 0.0
    structure: Annotated[
        str | None, Meaning("Export one class by name, as 1; everything else becomes 0.", name="class")
    ] = None
    simplify: Annotated[float, Meaning("Vectors only: how far an outline may move, in CRS units.")] = 0.0
    min_area: Annotated[float, Meaning("Vectors only: smallest polygon to write, in square meters.")] = 0.0
    image: Annotated[
        str | None,
        Meaning(
            "Image under a picture, or DICOM series of a segmentation (.dcm). Default: for a scene, the image that the "
            "mask was made from, if it lies beside the mask."
        ),
    ] = None
    volume: Annotated[int | None, Meaning("Number, from 0, of the volume in a 4-D --image.")] = None
    opacity: Annotated[
        float | None, Meaning("Pictures of scenes: opacity of the classes over the image, 0 to 1. Default: 0.6.")
    ] = None
    dpi: Annotated[
        int | None, Meaning("Pictures: dots per inch of a print of 180 mm. Default: a picture for a screen.")
    ] = None
    overwrite: Annotated[bool, Meaning("Overwrite an existing file.")] = False


@dataclass(frozen=True)
class PerClass:
    """Whether each class is exported by itself."""

    each: Annotated[
        bool,
        Meaning(
            "Export each class but background to a file of its own, named after it, in the folder --output.",
            name="per_class",
        ),
    ] = False


@verb
def export(
    mask: Annotated[str, typer.Argument(help="A mask: GeoTIFF, NIfTI, NRRD, MetaImage or Zarr.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write; its suffix is the format.", autocompletion=export_names),
    ],
    options: Annotated[ExportOptions, Panel("What is written")],
    per_class: Annotated[PerClass, Panel("What is written")],
    as_json: AsJson = False,
) -> None:
    """Convert a mask to another format, with its location, classes and history; or to polygons."""
    from pipeline.masks.export import export as export_mask
    from pipeline.masks.export import export_per_class

    if not per_class.each:
        export_mask(mask, output, **asdict(options))
        typer.echo(json.dumps({"input": mask, "output": str(output)}) if as_json else visible(output))
        return
    if options.structure or options.simplify or options.min_area or options.image:
        raise RequestError("--per-class cannot be used with --class, --simplify, --min-area or --image")
    passed = ("sieve", "largest", "min_volume", "opacity", "dpi", "overwrite")
    cleaning = {name: getattr(options, name) for name in passed}
    written = [str(file) for file in export_per_class(mask, output, **cleaning)]
    typer.echo(json.dumps({"input": mask, "output": written}) if as_json else "\n".join(map(visible, written)))
