"""Verbs about what is there: inputs and masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.app import SOME_FAILED, errors
from pipeline.cli.options import AsJson, Overwrite
from pipeline.errors import RequestError


def info(
    files: Annotated[list[str], typer.Argument(help="Scenes, volumes, stores or masks.")],
    as_json: AsJson = False,
) -> None:
    """Tell what an input or a mask is: grid, place, channels, classes, and how it was made."""
    from pipeline.cli.tables import print_records
    from pipeline.masks.info import describe

    with errors():
        print_records([describe(file) for file in files], as_json=as_json)


def check(
    mask: Annotated[str, typer.Argument(help="A mask: GeoTIFF, NIfTI or Zarr.")],
    like: Annotated[str, typer.Option(help="The input that it is the mask of.")],
    as_json: AsJson = False,
) -> None:
    """Prove that a mask lies on exactly the grid of its input; name each difference."""
    from pipeline.cli.tables import print_differences
    from pipeline.masks.check import check as differences_of

    with errors():
        found = differences_of(mask, like)
        print_differences(mask, like, found, as_json=as_json)
        if found:
            raise typer.Exit(SOME_FAILED)


def areas(
    mask: Annotated[str, typer.Argument(help="A mask of a scene: GeoTIFF or Zarr.")],
    zones: Annotated[Path | None, typer.Option(help="File of polygons, in any system. Default: all of it.")] = None,
    name: Annotated[str | None, typer.Option(help="Column that names the zones. Default: their number.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table to write (.csv).")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell the area of each class on the ground, by zone."""
    from pipeline.cli.tables import print_areas
    from pipeline.masks.areas import areas as areas_of
    from pipeline.masks.areas import write_csv

    with errors():
        found = areas_of(mask, zones, name)
        if output is not None:
            write_csv(output, found)
        print_areas(found, as_json=as_json)


def measure(
    mask: Annotated[str, typer.Argument(help="A mask of a volume: NIfTI or Zarr.")],
    image: Annotated[str | None, typer.Option(help="The volume it was made of, for intensities.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table to write (.csv).")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell volume and intensities of each structure, and whether the end of the scan cuts it off."""
    from pipeline.cli.tables import print_structures
    from pipeline.masks.structures import measure as measured
    from pipeline.masks.structures import write_csv

    with errors():
        found = measured(mask, image)
        if output is not None:
            write_csv(output, found)
        print_structures(found, as_json=as_json)


def export(
    mask: Annotated[str, typer.Argument(help="A mask: GeoTIFF, NIfTI or Zarr.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; its suffix is the format.")],
    sieve: Annotated[int, typer.Option(help="Cells below which a patch goes to what surrounds it.")] = 0,
    largest: Annotated[
        bool, typer.Option("--largest", help="Of volumes: each structure's largest piece alone.")
    ] = False,
    min_volume: Annotated[
        float, typer.Option(help="Of volumes: millilitres below which a piece becomes background.")
    ] = 0.0,
    structure: Annotated[str | None, typer.Option(help="One class alone, by name: 1 where it is, else 0.")] = None,
    each: Annotated[
        bool, typer.Option("--each", help="Each class but background alone, in files named for them in a folder.")
    ] = False,
    simplify: Annotated[float, typer.Option(help="Of vectors: world units by which an outline may move.")] = 0.0,
    min_area: Annotated[float, typer.Option(help="Of vectors: smallest area, in square metres.")] = 0.0,
    image: Annotated[
        str | None,
        typer.Option(help="Of a sheet of slices (.png): the volume under the outlines; of .dcm: its DICOM series."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a mask in another format, with its place, classes and history; or as polygons."""
    from pipeline.masks.export import export as export_mask
    from pipeline.masks.export import export_each

    cleaning: dict[str, Any] = {"sieve": sieve, "largest": largest, "min_volume": min_volume, "overwrite": overwrite}
    with errors():
        if each:
            if structure or simplify or min_area or image:
                raise RequestError("--each writes a mask of each class; --structure, vectors and images go without it")
            told = [str(file) for file in export_each(mask, output, **cleaning)]
        else:
            more: dict[str, Any] = {"structure": structure, "simplify": simplify, "min_area": min_area, "image": image}
            export_mask(mask, output, **cleaning, **more)
            told = [str(output)]
        typer.echo(json.dumps({"input": mask, "output": told if each else told[0]}) if as_json else "\n".join(told))
