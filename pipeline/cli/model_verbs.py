"""Verbs about models."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.app import errors
from pipeline.cli.options import AsJson, Bands, Input, Offset, Overwrite, Scale
from pipeline.cli.parsing import numbers, pair, words
from pipeline.cli.requests import request_of
from pipeline.errors import RequestError


def models(
    asked: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="Names or paths of models.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the models that come with the package, or tell all about those that are named."""
    from pipeline.cli.tables import print_cards, print_models
    from pipeline.models.catalogue import load_card, names

    with errors():
        show = print_cards if asked else print_models
        show([load_card(name) for name in asked or names()], as_json=as_json)


def import_weights(
    file: Annotated[Path, typer.Argument(help="A checkpoint, or a folder of `save_pretrained`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write: a model, or a backbone to train from.")],
    preset: Annotated[
        str | None,
        typer.Option(
            help="Family: semseg, mmseg, mmseg-b, mmseg-mnv2, smp, torchvision, timm, ssl4eo, satlas, own. "
            "Default: told by its names."
        ),
    ] = None,
    output_stride: Annotated[int | None, typer.Option(help="Input pixels per feature pixel: 8, 16 or 32.")] = None,
    dilation: Annotated[str | None, typer.Option(help="First block of a dilated layer: contracted or full.")] = None,
    basic_dilation: Annotated[str | None, typer.Option(help="In basic blocks: conv1, both or timm.")] = None,
    align_corners: Annotated[
        bool | None, typer.Option("--align-corners/--no-align-corners", help="Grid of the resizes.")
    ] = None,
    patch: Annotated[str | None, typer.Option(help="Patch in pixels: 473, or 512,1024 (height, width).")] = None,
    overlap: Annotated[str | None, typer.Option(help="Overlap of patches, likewise. Default: a third.")] = None,
    classes: Annotated[str | None, typer.Option(help="Names of the classes, from class 0: a,b,c.")] = None,
    channels: Annotated[
        str | None, typer.Option(help="Names of the file's channels, in order: red,green,blue.")
    ] = None,
    mean: Annotated[str | None, typer.Option(help="Mean of each channel, in units of the input.")] = None,
    std: Annotated[str | None, typer.Option(help="Standard deviation of each channel, likewise.")] = None,
    drop_channels: Annotated[str | None, typer.Option(help="Channels to leave out, as in B10.")] = None,
    for_channels: Annotated[str | None, typer.Option(help="Channels of the result, taken by name.")] = None,
    extend: Annotated[str | None, typer.Option(help="Filters of channels that are new: zero or tile.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Probability from which a head of one plane says 1.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model. Default: the file's.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights.")] = None,
    credits_: Annotated[str | None, typer.Option("--credits", help="Whose data they were trained on.")] = None,
    kind: Annotated[str, typer.Option(help="What it segments: scene or volume.")] = "scene",
    orientation: Annotated[str | None, typer.Option(help="Axes of the volumes in training, as in RAS.")] = None,
    view: Annotated[str | None, typer.Option(help="Slices of the volumes: axial, coronal or sagittal.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Store float16 instead of float32.")] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make a model of weights from semseg, mmseg, smp, torchvision, timm and others; nothing in the file is run."""
    from pipeline.cli.tables import print_records
    from pipeline.models.importing import Wishes
    from pipeline.models.importing import import_weights as import_file

    with errors():
        said: dict[str, Any] = {
            "preset": preset,
            "output_stride": output_stride,
            "dilation": dilation,
            "basic_dilation": basic_dilation,
            "align_corners": align_corners,
            "patch": None if patch is None else pair(patch),
            "overlap": None if overlap is None else pair(overlap),
            "classes": words(classes),
            "channels": words(channels),
            "mean": numbers(mean),
            "std": numbers(std),
            "drop_channels": words(drop_channels) or (),
            "for_channels": words(for_channels),
            "extend": extend,
            "threshold": threshold,
            "name": name,
            "licence": licence,
            "credits": credits_,
            "kind": kind,
            "orientation": orientation,
            "view": view,
            "half": half,
            "overwrite": overwrite,
        }
        made = import_file(file, out, Wishes(**said))
        record = {"input": str(file), "output": str(out), "preset": made.preset}
        print_records([{**record, "concluded": list(made.concluded), "told": list(made.told)}], as_json=as_json)


def quantise(
    model: Annotated[str, typer.Option("--model", "-m", help="Name or path of a model; see `pipeline models`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    input_: Input = None,
    bands: Bands = None,
    scale: Scale = None,
    offset: Offset = None,
    patches: Annotated[int, typer.Option(help="Patches to take; every other one is for checking.")] = 64,
    agreement: Annotated[float, typer.Option(help="Least share of labels that must be those of float32.")] = 0.999,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make a model that also computes in int8 on a CPU, and tell how well its labels agree with those of float32."""
    options = locals()
    from pipeline.cli.screen import Notes
    from pipeline.cli.tables import print_records
    from pipeline.models.inference.device import check_extra

    with errors():
        if patches < 2 or not 0 <= agreement <= 1:
            raise RequestError(
                f"--patches {patches} --agreement {agreement}: must be at least 2, and a share from 0 to 1, as in 0.999"
            )
        for library in ("openvino", "nncf"):
            check_extra(library, "run in bfloat16")
        from pipeline.jobs.inputs import jobs_of
        from pipeline.runs.quantize import quantise as quantise_model

        jobs = jobs_of(request_of(None, options))
        made = quantise_model(
            jobs,
            out,
            patches=patches,
            agreement=agreement,
            overwrite=overwrite,
            observer=Notes(),
        )
        print_records([asdict(made)], as_json=as_json)
