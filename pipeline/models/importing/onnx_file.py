"""From an ONNX file to a model: what it says, what noise shows, and what the user says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import ModelError, RequestError, size_text
from pipeline.files.atomic import write_together
from pipeline.files.digest import sha256_of
from pipeline.models.card import FORMAT, Card, ClassEntry, Normalization, Pair
from pipeline.models.catalogue import CARD, NETWORK
from pipeline.models.exchange.deepness import SEGMENTOR, Deepness, read_deepness
from pipeline.models.exchange.graph import Graph, Port, read_graph
from pipeline.models.exchange.metadata import embedded_card
from pipeline.models.exchange.trial import Trial, Trials, choose_ports
from pipeline.models.importing.defaults import Defaults, Findings, palette
from pipeline.models.importing.heads import name_classes
from pipeline.models.importing.input_layer import scene_input, volume_input
from pipeline.models.importing.options import ImportOptions
from pipeline.models.spec import DataFile, ONNXSpec

_UNFIT = (
    "preset",
    "output_stride",
    "dilation",
    "basic_dilation",
    "padding",
    "drop_channels",
    "for_channels",
    "extend",
    "ema",
    "half",
)
"""Options that change a network, which an ONNX file is not."""
_USUAL = Defaults(
    "usual",
    patch=(512, 512),
    averaging="softmax",
    threshold=0.5,
    align_corners=False,
    channels=("red", "green", "blue"),
)
_HOLDS = "the file"


class ImportedFile(NamedTuple):
    """What became of an ONNX file."""

    card: Card
    concluded: tuple[str, ...]
    told: tuple[str, ...]


@dataclass(frozen=True)
class _Network:
    """A network that was tried."""

    graph: Graph
    source: Port
    output: Port
    trial: Trial


def import_onnx(file: Path, out: Path, options: ImportOptions) -> ImportedFile:
    """Write the network of `file`, as it is, with its card to the folder `out`.

    Raises:
        ModelError: if it is damaged, cannot be computed, or gives no scores of cells.
        RequestError: if what it does not say was not given either, or does not fit.

    """
    if given := [name for name in _UNFIT if getattr(options, name) != getattr(ImportOptions(), name)]:
        raise RequestError(f"--{given[0].replace('_', '-')}: {file} is a whole network, taken as it is; leave it out")
    graph = read_graph(file)
    source, output = choose_ports(graph, options.output_name)
    trials = Trials(graph, source, output, None if options.channels is None else len(options.channels))
    own = embedded_card(graph)
    deepness = read_deepness(graph.metadata, trials.channels)
    _check_kind(file, deepness)
    findings = Findings(options, (*_own_defaults(own), *_deepness_defaults(deepness)), _usual(trials.channels))
    patch, overlap = _patch(findings, trials)
    network = _Network(graph, source, output, trials.at(patch))
    _conclude(findings, network)
    card = _card(findings, network, (patch, overlap), own, deepness)
    data = {name: file.parent / name for name in graph.data}
    write_together(out, {**data, NETWORK: file, CARD: card.to_json().encode()})
    return ImportedFile(card, tuple(findings.concluded), tuple(findings.told))


def _check_kind(file: Path, deepness: Deepness | None) -> None:
    if deepness is not None and deepness.kind not in (None, SEGMENTOR):
        raise ModelError(
            f"{file}: is a {deepness.kind} by its metadata; only networks that give scores of classes for each pixel "
            f"({SEGMENTOR}) can be run"
        )


def _usual(channels: int) -> Defaults:
    return _USUAL if channels == 3 else replace(_USUAL, channels=None)


def _own_defaults(card: Card | None) -> tuple[Defaults, ...]:
    if card is None:
        return ()
    known = {"classes", "channels", "normalization", "averaging", "patch", "overlap", "license", "credits"}
    return (Defaults(f"{_HOLDS}'s own card", **{name: getattr(card, name) for name in known}),)


def _deepness_defaults(found: Deepness | None) -> tuple[Defaults, ...]:
    if found is None:
        return ()
    colors = palette(len(found.classes or ()))
    entries = [ClassEntry(name, color) for name, color in zip(found.classes or (), colors, strict=True)]
    return (
        Defaults(
            f"{_HOLDS}'s metadata for Deepness",
            patch=found.patch,
            overlap=found.overlap,
            classes=tuple(entries) or None,
            normalization=found.normalization,
            threshold=found.threshold,
        ),
    )


def _patch(findings: Findings, trials: Trials) -> tuple[Pair, Pair]:
    """Return patch and overlap: the only size that the network takes, else what is said, else what is usual."""
    said = findings.options.patch or (findings.said_of("patch") or findings.usual).patch
    if said is not None and (size := trials.size(said)) is not None:
        if findings.options.patch not in (None, size):
            raise RequestError(
                f"--patch {_sides(said)}: the network takes patches of {_sides(size)} alone; leave it out"
            )
        findings.conclude("patch", size, "the shape of its input, which is fixed")
        patch = size
    else:
        patch = findings.pick("patch")
    of_file = findings.said_of("overlap")
    if findings.options.overlap is None and of_file is not None and of_file.patch == patch:
        return patch, findings.pick("overlap")
    overlap = findings.options.overlap or (patch[0] // 3, patch[1] // 3)
    findings.tell("overlap", overlap, "--overlap" if findings.options.overlap else "a third; --overlap changes it")
    return patch, overlap


def _conclude(findings: Findings, network: _Network) -> None:
    graph, trial = network.graph, network.trial
    made = f", {graph.producer}" if graph.producer else ""
    findings.conclude("network", f"ONNX, opset {graph.opset}{made}, {size_text(graph.size)}", _HOLDS)
    findings.conclude("input", f"{network.source}, {trial.layout.replace('_', ' ')}", _HOLDS)
    findings.conclude("output", network.output, "the only one" if len(graph.outputs) == 1 else "--output-name")
    findings.conclude(
        "output stride", trial.output_stride, "noise" + (", resized bilinearly" * (trial.output_stride > 1))
    )
    if trial.size is None:
        findings.conclude("patches", f"multiples of {trial.multiple}", "noise of other sizes")
    if trial.batch is not None:
        findings.conclude("batch", trial.batch, "the shape of its input, which is fixed")
    if any("Quantize" in name or "Integer" in name or name.startswith("QLinear") for name in graph.operators):
        findings.note("it was quantized: labels may differ from those of the network in float32")


def _card(
    findings: Findings, network: _Network, sizes: tuple[Pair, Pair], own: Card | None, deepness: Deepness | None
) -> Card:
    options = findings.options
    channels, normalization, margin = _input(findings, network.trial.in_channels, own)
    spec, classes = _spec(findings, network)
    kind = own.kind if own is not None else options.kind
    fields: dict[str, Any] = {
        "format": FORMAT,
        "name": options.name or (own.name if own is not None else network.graph.path.stem),
        "kind": kind,
        "classes": classes,
        "network": spec,
        "patch": sizes[0],
        "overlap": sizes[1],
        "channels": channels,
        "margin": margin,
        "normalization": normalization,
        "spacing": _spacing(findings, own, deepness),
        "orientation": options.orientation,
        "views": () if options.view is None else (options.view,),
        "averaging": "softmax" if spec.scores == "labels" else findings.pick("averaging"),
        "window": "gaussian",
        "weights_sha256": sha256_of(network.graph.path),
        "license": _license(findings),
        "credits": findings.pick("credits") or f"imported from {network.graph.path.name}",
        "evaluation": {},
    }
    return _built(network.graph.path, fields, own)


def _built(path: Path, fields: Mapping[str, Any], own: Card | None) -> Card:
    try:
        if own is None:
            return Card(**fields)
        kept = {key: value for key, value in fields.items() if key not in ("margin", "orientation", "views", "window")}
        return replace(own, **{**kept, "evaluation": own.evaluation, "int8": None, "features": None})
    except ValueError as error:
        raise RequestError(f"{path}: the options do not make a model: {error}") from error


def _input(findings: Findings, count: int, own: Card | None) -> tuple[tuple[str, ...], Normalization, int]:
    options = findings.options
    if own is not None and own.kind == "volume":
        return own.channels, findings.pick("normalization"), own.margin
    if options.kind == "volume":
        return volume_input(findings, count)
    if options.orientation is not None or options.view is not None:
        raise RequestError("--orientation and --view are for volumes; give them with --kind volume")
    return *scene_input(findings, count), 0


def _spec(findings: Findings, network: _Network) -> tuple[ONNXSpec, tuple[ClassEntry, ...]]:
    trial, graph = network.trial, network.graph
    scores = findings.options.scores or trial.scores
    if scores == trial.scores:
        findings.conclude("scores", scores + (", each plane by itself" * trial.each_alone), "values for noise")
    else:
        findings.tell("scores", scores, "--scores")
    if (scores == "labels") != (trial.scores == "labels"):
        numbers = "whole" if trial.scores == "labels" else "real"
        raise RequestError(f"--scores {scores}: the output has {numbers} numbers")
    one_plane = trial.planes == 1 and scores != "labels"
    classes = _classes(findings, trial, scores)
    spec = ONNXSpec(
        family="onnx",
        in_channels=trial.in_channels,
        classes=len(classes),
        input=network.source.name,
        output=network.output.name,
        layout=trial.layout,
        output_layout=trial.output_layout,
        scores=scores,
        threshold=_threshold(findings, one_plane=one_plane, planes=trial.planes),
        output_stride=trial.output_stride,
        align_corners=trial.output_stride > 1 and scores != "labels" and findings.pick("align_corners"),
        size=trial.size,
        multiple=trial.multiple,
        batch=trial.batch,
        data=tuple(DataFile(name, sha256_of(graph.path.parent / name)) for name in graph.data),
    )
    return spec, classes


def _classes(findings: Findings, trial: Trial, scores: str) -> tuple[ClassEntry, ...]:
    if scores != "labels":
        return name_classes(findings, 2 if trial.planes == 1 else trial.planes, one_plane=trial.planes == 1)
    said = findings.said_of("classes")
    known = findings.options.classes or (said.classes if said is not None else None)
    if known is None:
        raise RequestError(
            "the network gives labels, and how many there are is not in the file; name them with --classes, from 0"
        )
    return name_classes(findings, len(known), one_plane=False)


def _threshold(findings: Findings, *, one_plane: bool, planes: int) -> float | None:
    told = findings.options.threshold
    if one_plane:
        threshold: float = findings.pick("threshold")
        if not 0 < threshold < 1:
            raise RequestError(f"--threshold {threshold}: must be a probability above 0 and below 1")
        return threshold
    if told is not None:
        raise RequestError(f"--threshold {told}: is for a head of one plane, but this one has {planes}")
    return None


def _spacing(findings: Findings, own: Card | None, deepness: Deepness | None) -> tuple[float, float] | None:
    if findings.options.spacing is not None:
        findings.tell("spacing", findings.options.spacing, "--spacing")
        return findings.options.spacing
    if own is not None and own.spacing is not None:
        findings.conclude("spacing", own.spacing, f"{_HOLDS}'s own card")
        return own.spacing
    if deepness is not None and deepness.resolution is not None:
        spacing = (deepness.resolution, deepness.resolution)
        findings.conclude("spacing", spacing, f"{_HOLDS}'s metadata for Deepness, in meters")
        return spacing
    return None


def _license(findings: Findings) -> str:
    known: str | None = findings.pick("license")
    if known is None:
        findings.tell("license", "unknown", "not in the file; --license names it")
    return known or "unknown"


def _sides(pair: Pair) -> str:
    return f"{pair[0]},{pair[1]}"
