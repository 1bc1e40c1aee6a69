"""The command line: verbs, options and exit codes. What a verb needs is imported when it runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from pipeline import __version__
from pipeline.errors import InputError, Interrupted, PipelineError, RequestError
from pipeline.options import numbers, pair, positive, size_in_bytes, whole_numbers, words

if TYPE_CHECKING:
    from pipeline.config import Request
    from pipeline.job import Job

app = typer.Typer(
    name="pipeline",
    help="Segment huge GeoTIFF scenes and CT or MRI volumes into masks with PSPNet.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SOME_FAILED, WRONG_REQUEST, STOPPED = 1, 2, 130

_debug = False

Input = Annotated[
    list[str] | None, typer.Option("--input", "-i", help="File, folder, pattern, table or URL; may be given again.")
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", help="File (.tif, .zarr, .nii, .nii.gz) or folder. Default: <stem>_mask beside the input."
    ),
]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Name or path of a model; see `pipeline models`.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Job file (TOML); options given here go first.")]
Bands = Annotated[str | None, typer.Option(help="Bands of a raster, from 1, as in 4,3,2. Default: all but alpha.")]
Patch = Annotated[
    str | None, typer.Option(help="Patch in input pixels: 512, or 512,768 (height, width). Default: the model's.")
]
Overlap = Annotated[
    str | None, typer.Option(help="Overlap of patches in input pixels, likewise. Default: the model's.")
]
Window = Annotated[
    str | None, typer.Option(help="Blend window: constant, linear, hann, gaussian. Default: the model's.")
]
View = Annotated[
    str | None,
    typer.Option(help="Slices of a volume: axial, coronal, sagittal, or several to average. Default: the model's."),
]
Tta = Annotated[
    str | None,
    typer.Option(help="Average over flips or turns, and scales, of each patch, as in flips,0.75,1.25. Default: none."),
]
Memory = Annotated[str | None, typer.Option(help="Most that the sweep may take, as in 500MiB or 2GiB.")]
Band = Annotated[int | None, typer.Option(help="Rows written at a time: a multiple of 1024 (volumes: 32).")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1. Default: a GPU where there is one.")]
Precision = Annotated[
    str | None, typer.Option(help="Numbers of the network: float32, bfloat16, int8. Default: what is fast here.")
]
Runtime = Annotated[
    str | None, typer.Option(help="What computes it: torch, compiled, openvino. Default: what suits the run.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Make the output anew, even if it is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    global _debug
    _debug = debug or bool(os.environ.get("PIPELINE_DEBUG"))
    if version:
        typer.echo(f"pipeline {__version__}")
        raise typer.Exit


@app.command()
def run(
    input_: Input = None,
    output: Output = None,
    model: Model = None,
    config: Config = None,
    bands: Bands = None,
    patch: Patch = None,
    overlap: Overlap = None,
    window: Window = None,
    view: View = None,
    tta: Tta = None,
    workers: Annotated[int | None, typer.Option(help="Processes of this machine. Default: this one alone.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, as in tcp://host:8786.")] = None,
    memory: Memory = None,
    band: Band = None,
    device: Device = None,
    precision: Precision = None,
    runtime: Runtime = None,
    overwrite: Overwrite = False,
    restart: Annotated[bool, typer.Option("--restart", help="Forget a run that was begun, and begin anew.")] = False,
    prefect: Annotated[
        bool | None,
        typer.Option("--prefect/--no-prefect", help="Run as a Prefect flow. Default: where a server is set up."),
    ] = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Segment scenes and volumes into masks of exactly their geometry.

    A stopped or crashed run goes on where it was when the same command is given again.
    """
    from pipeline.job import Means
    from pipeline.report import Screen, print_failure, print_reports

    with _errors():
        said = _request(
            config,
            input=input_,
            output=output,
            model=model,
            bands=bands,
            patch=patch,
            overlap=overlap,
            window=window,
            view=view,
            tta=tta,
        )
        jobs = _jobs(said)
        means = Means(
            workers=positive("--workers", workers),
            scheduler=scheduler,
            memory=size_in_bytes(memory),
            band=positive("--band", band),
            device=device,
            precision=precision,
            runtime=runtime,
            overwrite=overwrite,
            restart=restart,
        )
        if prefect or (prefect is None and _server_is_set_up()):
            reports = _run_as_flow(jobs, means)
            for report in reports:
                print_failure(report)
        else:
            from pipeline.archive import segment_all

            with Screen(quiet=quiet or as_json, stop_on_signals=True) as screen:
                reports = segment_all(jobs, means, screen, screen.stop)
        print_reports(reports, as_json=as_json)
        if any(report.status == "failed" for report in reports):
            raise typer.Exit(SOME_FAILED)


@app.command()
def plan(
    input_: Input = None,
    output: Output = None,
    model: Model = None,
    config: Config = None,
    bands: Bands = None,
    patch: Patch = None,
    overlap: Overlap = None,
    window: Window = None,
    view: View = None,
    tta: Tta = None,
    memory: Memory = None,
    band: Band = None,
    device: Device = None,
    precision: Precision = None,
    runtime: Runtime = None,
    probe: Annotated[bool, typer.Option(help="Try the network on two patches of noise to tell the time.")] = True,
    as_json: AsJson = False,
) -> None:
    """Tell patches, bands, memory, disk and time of a run without reading a pixel."""
    from pipeline.job import Means
    from pipeline.planning import plan as plan_job
    from pipeline.report import print_plans

    with _errors():
        said = _request(
            config,
            input=input_,
            output=output,
            model=model,
            bands=bands,
            patch=patch,
            overlap=overlap,
            window=window,
            view=view,
            tta=tta,
        )
        means = Means(
            memory=size_in_bytes(memory),
            band=positive("--band", band),
            device=device,
            precision=precision,
            runtime=runtime,
        )
        plans, failed = [], []
        for job in _jobs(said):
            try:
                plans.append(plan_job(job, means, probe=probe))
            except InputError as error:
                failed.append(str(error))
        print_plans(plans, as_json=as_json)
        if failed:
            raise PipelineError("\nerror: ".join(failed))


@app.command()
def info(
    files: Annotated[list[str], typer.Argument(help="Scenes, volumes, stores or masks.")],
    as_json: AsJson = False,
) -> None:
    """Tell what an input or a mask is: grid, place, channels, classes, and how it was made."""
    from pipeline.info import describe
    from pipeline.report import print_records

    with _errors():
        print_records([describe(file) for file in files], as_json=as_json)


@app.command()
def train(
    config: Annotated[Path, typer.Option("--config", "-c", help="The training (TOML).")],
    out: Annotated[Path, typer.Option("--out", help="Folder of checkpoints, logs and, in the end, the model.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder that paths in the training are relative to. Default: its own.")
    ] = None,
    device: Device = None,
    workers: Annotated[int, typer.Option(help="Processes that make samples; 0: the training makes its own.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a model from labelled scenes or volumes; the same command goes on after a stop."""
    with _errors():
        if find_spec("lightning") is None:
            raise RequestError("training needs Lightning, which is not installed; pip install 'pipeline[train]'")

    from pipeline.training.config import read_training
    from pipeline.training.run import Resources
    from pipeline.training.run import train as train_model

    with _errors():
        training = read_training(config)
        resources = Resources(device, positive("--workers", workers or None) or 0)
        trained = train_model(training, data or config.parent, out, resources, lambda line: typer.echo(line, err=True))
        record = {"model": str(trained.folder), "steps": trained.steps, "validation": trained.figures}
        typer.echo(json.dumps(record) if as_json else f"{trained.folder}")


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models that come with the package."""
    from pipeline.models.catalogue import load_card, names
    from pipeline.report import print_models

    with _errors():
        print_models([load_card(name) for name in names()], as_json=as_json)


@app.command()
def export(
    mask: Annotated[str, typer.Argument(help="A mask: GeoTIFF, NIfTI or Zarr.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; its suffix is the format.")],
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a mask in another format, with its place, classes and history."""
    from pipeline.conversion import export as export_mask

    with _errors():
        export_mask(mask, output, overwrite=overwrite)
        typer.echo(json.dumps({"input": mask, "output": str(output)}) if as_json else f"{output}")


@app.command()
def evaluate(
    predictions: Annotated[
        list[str] | None, typer.Option(help="Masks: file, folder or pattern; may be given again.")
    ] = None,
    truth: Annotated[
        str | None, typer.Option(help="Truth of each: a path with {stem} and {folder}, as in labels/{stem}.tif.")
    ] = None,
    input_: Input = None,
    table: Annotated[
        Path | None, typer.Option(help="Table with the columns truth, and prediction or image, instead of these.")
    ] = None,
    model: Model = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder that keeps the masks of --input. Default: none does.")
    ] = None,
    ignore: Annotated[str | None, typer.Option(help="Values of the truth that are not counted, as in 255,0.")] = None,
    tolerance: Annotated[float, typer.Option(help="Millimetres of the surface Dice (volumes).")] = 1.0,
    boundary: Annotated[float, typer.Option(help="Pixels of the boundary F1 (scenes).")] = 3.0,
    bootstrap: Annotated[int, typer.Option(help="Draws of the bootstrap over items; 0: no intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    csv: Annotated[Path | None, typer.Option(help="File for the figures of each item and class.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder for the confusion matrix and three items.")] = None,
    device: Device = None,
    precision: Precision = None,
    runtime: Runtime = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Compare masks, or what a model makes of inputs, with their truth."""
    from pipeline.evaluation.asked import Asked, evaluate_asked
    from pipeline.evaluation.compare import Measures
    from pipeline.job import Means
    from pipeline.report import Screen, print_evaluation

    with _errors():
        measures = Measures(whole_numbers(ignore) if ignore else (), tolerance, boundary, bootstrap, seed)
        asked = Asked(tuple(predictions or ()), tuple(input_ or ()), table, truth, model, output)
        means = Means(device=device, precision=precision, runtime=runtime)
        with Screen(quiet=quiet or as_json, stop_on_signals=True) as screen:
            found = evaluate_asked(asked, measures, means, screen, screen.stop, csv=csv, pictures=pictures)
        print_evaluation(found.evaluation, found.failed, as_json=as_json)
        if found.failed:
            raise typer.Exit(SOME_FAILED)


@app.command()
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
    from pipeline.models.checkpoint import Wishes
    from pipeline.models.checkpoint import import_weights as import_file
    from pipeline.report import print_records

    with _errors():
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


@app.command()
def quantise(
    model: Annotated[str, typer.Option("--model", "-m", help="Name or path of a model; see `pipeline models`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    input_: Input = None,
    bands: Bands = None,
    patches: Annotated[int, typer.Option(help="Patches to take; every other one is for checking.")] = 64,
    agreement: Annotated[float, typer.Option(help="Least share of labels that must be those of float32.")] = 0.999,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make a model that also computes in int8 on a CPU, and tell how well its labels agree with those of float32."""
    from pipeline.models.device import check_extra
    from pipeline.report import print_records

    with _errors():
        if patches < 2 or not 0 <= agreement <= 1:
            raise RequestError(
                f"--patches {patches} --agreement {agreement}: must be at least 2, and a share from 0 to 1, as in 0.999"
            )
        for library in ("openvino", "nncf"):
            check_extra(library, "run in bfloat16")
        from pipeline.quantising import quantise as quantise_model

        jobs = _jobs(_request(None, input=input_, model=model, bands=bands))
        made = quantise_model(
            jobs,
            out,
            patches=patches,
            agreement=agreement,
            overwrite=overwrite,
            tell=lambda line: typer.echo(line, err=True),
        )
        print_records([asdict(made)], as_json=as_json)


def main() -> None:
    """Run the command line."""
    app()


@contextmanager
def _errors() -> Iterator[None]:
    """One line and an exit code for what goes wrong; the traceback with --debug only."""
    try:
        yield
    except typer.Exit:
        raise
    except (Interrupted, KeyboardInterrupt) as error:
        _fail(f"{error}" or f"{Interrupted()}", STOPPED)
    except RequestError as error:
        _fail(f"{error}", WRONG_REQUEST)
    except PipelineError as error:
        _fail(f"{error}", SOME_FAILED)
    except Exception as error:
        _fail(f"{type(error).__name__}: {error}; --debug shows where", SOME_FAILED)


def _fail(message: str, code: int) -> NoReturn:
    if _debug:
        raise
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


def _request(config: Path | None, **options: Any) -> Request:  # noqa: ANN401  (options by name)
    """The job file, if there is one, with the options of the command line before its own."""
    from pipeline.config import Request, check, read_request

    said = Request() if config is None else read_request(config)
    listed = {"bands": whole_numbers, "view": words, "tta": words}
    readers: dict[str, Any] = {"input": tuple, "patch": pair, "overlap": pair, **listed}
    given = {
        name: readers[name](value) if name in readers else value for name, value in options.items() if value is not None
    }
    request = replace(said, **given)
    check(request)
    return request


def _jobs(request: Request) -> list[Job]:
    from pipeline.inputs import find_inputs, name_outputs
    from pipeline.job import Job
    from pipeline.models.catalogue import find_model

    if request.model is not None:
        find_model(request.model)
    items = find_inputs(request.input)
    said = {field.name: getattr(request, field.name) for field in fields(request)}
    return [
        Job(**{**said, "input": item, "output": output})
        for item, output in zip(items, name_outputs(items, request.output, request.input), strict=True)
    ]


def _run_as_flow(jobs: list[Job], means: Any) -> Any:  # noqa: ANN401  (typed where it is used)
    from flows.segment import run_flow

    return run_flow(jobs, means)


def _server_is_set_up() -> bool:
    """Whether Prefect is told of a server, by the environment or by its active profile."""
    if "PREFECT_API_URL" in os.environ:
        return bool(os.environ["PREFECT_API_URL"])
    import tomllib

    home = Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect"))
    try:
        profiles = tomllib.loads((home / "profiles.toml").read_text(encoding="utf-8"))
        active = os.environ.get("PREFECT_PROFILE", profiles.get("active", ""))
        return bool(profiles["profiles"][active].get("PREFECT_API_URL"))
    except (OSError, KeyError, AttributeError, TypeError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(app())
