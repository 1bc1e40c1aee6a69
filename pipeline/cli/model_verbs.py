"""Verbs for models."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.completion import model_names
from pipeline.cli.options import WHAT, AsJson, Panel, verb
from pipeline.errors import RequestError
from pipeline.files.visible import visible
from pipeline.jobs.request import Request
from pipeline.models.importing.options import ImportOptions


@verb
def models(
    asked: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Names or paths of models.", autocompletion=model_names),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Page of one model to write, Markdown (.md) or HTML (.html).")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of `evaluate --pictures`: its pictures are on the page, and charts of a .md are put there.",
        ),
    ] = None,
    hub: Annotated[
        str | None,
        typer.Option(metavar="QUERY", help="Words of models on a hub to list instead: '' lists all of this program."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the packaged models or those on a hub, show all that cards of models say, or write the page of one."""
    from pipeline.cli.model_tables import print_cards, print_models
    from pipeline.models.catalogue import load_card, names

    if hub is not None:
        _list_hub(hub, [name for name, given in (("MODEL", asked), ("--page", page)) if given], as_json=as_json)
        return
    if page is not None:
        _write_page(asked, page, pictures, as_json=as_json)
        return
    if pictures is not None:
        raise RequestError("--pictures: are shown on a page; give --page FILE")
    show = print_cards if asked else print_models
    show([load_card(name) for name in asked or names()], as_json=as_json)


def _list_hub(query: str, others: list[str], *, as_json: bool) -> None:
    from pipeline.cli.model_tables import print_hub_models
    from pipeline.optional import need

    if others:
        raise RequestError(f"--hub {query}: lists models by words; leave out {', '.join(others)}")
    need("hub", "--hub")
    from pipeline.models.hub.listing import find_hub_models

    print_hub_models(find_hub_models(query), as_json=as_json)


def _write_page(asked: list[str] | None, page: Path, pictures: Path | None, *, as_json: bool) -> None:
    from pipeline.reports.model_pages import write_model_page

    if asked is None or len(asked) != 1:
        raise RequestError("--page: is the page of one model; name it, e.g. `pipeline models landcover --page FILE.md`")
    written = write_model_page(asked[0], page, pictures)
    typer.echo(json.dumps({"model": asked[0], "page": str(written)}) if as_json else visible(written))


@verb
def publish(
    model: Annotated[str, typer.Argument(help="Name or path of a model; see `pipeline models`.")],
    to: Annotated[str, typer.Argument(metavar="ADDRESS", help="Repository on a hub, hf:owner/name.")],
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of `evaluate --pictures`: its pictures are on the page."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see a new repository; it is private otherwise.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another model, or a page that was not generated.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Publish a model on a hub: card, weights and int8 form, with the page of the model as README."""
    from pipeline.cli.tables import print_records
    from pipeline.optional import need

    need("hub", "publish")
    from pipeline.reports.hub_page import Publication, publish_on_hub

    made = publish_on_hub(Publication(model, to, pictures, public=public, overwrite=overwrite))
    print_records([asdict(made)], as_json=as_json)


@verb
def import_weights(
    file: Annotated[
        Path, typer.Argument(help="Checkpoint, folder written by `save_pretrained`, or any network in an ONNX file.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write: a model, or a backbone to start training from.")
    ],
    options: Annotated[ImportOptions, Panel("What the file does not say")],
    as_json: AsJson = False,
) -> None:
    """Make a model of weights of semseg, mmseg, smp, timm and others, or of an ONNX file; no code in it is run."""
    from pipeline.cli.tables import print_records
    from pipeline.models.importing.importer import import_weights as import_file

    made = import_file(file, out, options)
    record = {"input": str(file), "output": str(out), "preset": made.preset}
    print_records([{**record, "concluded": list(made.concluded), "told": list(made.told)}], as_json=as_json)


@verb
def export_model(
    model: Annotated[str, typer.Argument(help="Name or path of a PSPNet; see `pipeline models`.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="ONNX file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a PSPNet as an ONNX file, for ONNX Runtime and the QGIS plugin Deepness, and compare both with torch."""
    from pipeline.cli.tables import print_records
    from pipeline.optional import need

    need("onnx", "export-model")
    from pipeline.models.exchange.export import export_model as export

    print_records([asdict(export(model, file, overwrite=overwrite))], as_json=as_json)


@verb
def quantize(
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Name or path of a model; see `pipeline models`.", autocompletion=model_names
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    request: Annotated[Request, Panel(WHAT, "input", "bands", "scale", "offset")],
    patches: Annotated[int, typer.Option(help="Patches to use; every other one checks the result.")] = 64,
    agreement: Annotated[float, typer.Option(help="Least share of labels that must equal those of float32.")] = 0.999,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing model.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a model that also runs in int8 on a CPU, and report how well its labels agree with float32."""
    from pipeline.cli.screen import Notes
    from pipeline.cli.tables import print_records
    from pipeline.models.inference.device import check_extra

    if patches < 2 or not 0 <= agreement <= 1:
        raise RequestError(
            f"--patches {patches} --agreement {agreement}: must be at least 2, and a share from 0 to 1, e.g. 0.999"
        )
    for library in ("openvino", "nncf"):
        check_extra(library, "run in bfloat16")
    from pipeline.jobs.inputs import jobs_of
    from pipeline.jobs.job_file import load_request
    from pipeline.runs.quantize import quantize as quantize_model

    made = quantize_model(
        jobs_of(load_request(None, replace(request, model=model))),
        out,
        patches=patches,
        agreement=agreement,
        overwrite=overwrite,
        observer=Notes(),
    )
    print_records([asdict(made)], as_json=as_json)
