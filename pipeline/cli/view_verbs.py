"""The verb that shows files in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import verb


@verb
def view(
    files: Annotated[list[str], typer.Argument(help="Images, masks and layers of one scene or one volume.")],
    basemap: Annotated[
        str | None,
        typer.Option(help="Address of a map to show under a scene, with {z}, {x} and {y}. Default: no map."),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(
            help="Bands of an image to show, one or three, e.g. 4,3,2 or red,green,blue. Default: those named red, "
            "green and blue, or the first three."
        ),
    ] = None,
    volume: Annotated[int | None, typer.Option(help="Number, from 0, of the volume in a 4-D image.")] = None,
    port: Annotated[int, typer.Option(help="Port of this machine to use. Default: a free one.")] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the address, and do not open a browser.")] = False,
) -> None:
    """Show images and masks in a browser, from disk, at any size; Ctrl-C ends it."""
    from pipeline.io.band_names import band_names
    from pipeline.viewer.view import view as show

    chosen = None if bands is None else band_names(bands.split(","))
    show(files, typer.echo, port=port, browser=not no_open, basemap=basemap, bands=chosen, volume=volume)
