"""From a file of another project to a model or a backbone of this one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from pipeline.errors import OutputError, RequestError
from pipeline.files.signatures import ONNX, recognize
from pipeline.models.card import FORMAT, Card
from pipeline.models.catalogue import BACKBONE, BACKBONE_WEIGHTS, CARD, MODEL, NETWORK
from pipeline.models.importing.defaults import Findings
from pipeline.models.importing.efficientnet_lite import said_of_padding, with_padding
from pipeline.models.importing.families import project_defaults
from pipeline.models.importing.first_conv import InputLayer
from pipeline.models.importing.heads import as_two_planes, name_classes
from pipeline.models.importing.input_layer import scene_input_layer, volume_input_layer
from pipeline.models.importing.matching import MatchedCheckpoint, match_checkpoint
from pipeline.models.importing.options import ImportOptions, Preset
from pipeline.models.importing.read import Checkpoint, read_checkpoint
from pipeline.models.importing.satellite import SatelliteSource, advice_for, find_source
from pipeline.models.importing.shapes import Trunk, read_trunk, shapes_of
from pipeline.models.importing.spec import defaults_from, spec_of
from pipeline.models.pretrained import FORMAT as BACKBONE_FORMAT
from pipeline.models.pretrained import BackboneCard, backbone_shapes, save_backbone
from pipeline.models.store import assemble, save_model
from pipeline.optional import need


@dataclass(frozen=True)
class ImportResult:
    """Result of an import."""

    path: Path
    """Folder that was written."""
    preset: Preset | Literal["onnx"]
    """Family that the file is of."""
    card: Card | BackboneCard
    """A backbone's card for weights without a head."""
    concluded: tuple[str, ...]
    """What the file said, and where."""
    told: tuple[str, ...]
    """What it could not say: from the options, else from the defaults of its home project."""


def import_weights(file: Path, out: Path, options: ImportOptions = ImportOptions()) -> ImportResult:  # noqa: B008  (frozen)
    """Write the network of `file` with its card to the folder `out`.

    `file` is a checkpoint (.pth, .pt, .ckpt, .bin, .safetensors), a folder of `save_pretrained`, or any network in an
    ONNX file. Weights without a head become a backbone (`pipeline.models.pretrained`), all others a model. Raises
    ModelError for weights that cannot be used, RequestError for options that do not fit them, OutputError if something
    is in the way.
    """
    _check_out(out, options)
    if file.suffix.lower() == ".onnx" or recognize(file) == ONNX:
        _check_other_kind(out, (BACKBONE, BACKBONE_WEIGHTS, MODEL))
        need("onnx", str(file))
        from pipeline.models.importing.onnx_file import import_onnx

        imported = import_onnx(file, out, options)
        return ImportResult(out, "onnx", *imported)
    _check_other_kind(out, (NETWORK,))
    if given := [name for name in ("output_name", "scores", "spacing") if getattr(options, name) is not None]:
        raise RequestError(f"--{given[0].replace('_', '-')}: is for ONNX files, and {file} is none; leave it out")
    matched = match_checkpoint(read_checkpoint(file, ema=options.ema), options.preset)
    trunk = read_trunk(matched.shapes)
    if matched.family.kind == "backbone":
        return _import_backbone(matched, trunk, out, options)
    return _import_model(matched, trunk, out, options)


def _import_model(matched: MatchedCheckpoint, trunk: Trunk, out: Path, options: ImportOptions) -> ImportResult:
    _check_other_kind(out, (BACKBONE, BACKBONE_WEIGHTS))
    checkpoint, preset = matched.checkpoint, matched.preset
    findings = Findings(
        options, defaults_from(checkpoint, preset, options), project_defaults(preset, trunk.in_channels)
    )
    findings.conclude("family", preset, "names")
    _conclude_left_out(findings, matched)
    trunk = with_padding(findings, trunk, preset)
    spec = spec_of(findings, matched, trunk)
    state = matched.state(shapes_of(spec), truncated=spec.truncated)
    layer, margin = _input_layer(findings, state[trunk.first])
    state[trunk.first] = layer.filters
    state, one_plane = as_two_planes(findings, state)
    classes = name_classes(findings, 2 if one_plane else spec.classes, one_plane=one_plane)
    spec = replace(spec, in_channels=layer.filters.shape[1], classes=len(classes))
    patch, overlap = _patch(findings)
    try:
        card = Card(
            format=FORMAT,
            name=options.name or checkpoint.name,
            kind=options.kind,
            classes=classes,
            network=spec,
            patch=patch,
            overlap=overlap,
            channels=layer.channels,
            margin=margin,
            normalization=layer.normalization,
            spacing=None,
            orientation=options.orientation,
            views=() if options.view is None else (options.view,),
            averaging=findings.pick("averaging"),
            window="gaussian",
            weights_sha256="",
            license=_license(findings),
            credits=_credits(findings, checkpoint),
            evaluation={},
        )
    except ValueError as error:
        raise RequestError(f"{checkpoint.path}: the options do not make a model: {error}") from error
    written = save_model(out, card, assemble(spec, state), half=options.half)
    return ImportResult(out, preset, written, tuple(findings.concluded), tuple(findings.told))


def _import_backbone(matched: MatchedCheckpoint, trunk: Trunk, out: Path, options: ImportOptions) -> ImportResult:
    _check_other_kind(out, (CARD, MODEL))
    checkpoint = matched.checkpoint
    state = matched.state(backbone_shapes(trunk.backbone, trunk.stem, trunk.in_channels))
    source = _source(matched, trunk, options)
    preset = matched.preset if source is None or options.preset is not None else source.preset
    usual = project_defaults(preset, trunk.in_channels) if source is None else source.defaults
    findings = Findings(options, said_of_padding(checkpoint, preset), usual)
    findings.conclude("family", preset, "names" if source is None else "names, channels, the file's name")
    _conclude_left_out(findings, matched)
    trunk = with_padding(findings, trunk, preset)
    findings.conclude("backbone", f"{trunk.backbone}, stem {trunk.stem}", "names and shapes")
    layer = scene_input_layer(findings, state[trunk.first])
    try:
        card = BackboneCard(
            format=BACKBONE_FORMAT,
            name=options.name or checkpoint.name,
            backbone=trunk.backbone,
            stem=trunk.stem,
            channels=layer.channels,
            normalization=layer.normalization,
            source=preset,
            license=_license(findings),
            credits=_credits(findings, checkpoint),
            weights_sha256="",
        )
    except ValueError as error:
        raise RequestError(f"{checkpoint.path}: the options do not make a backbone: {error}") from error
    for advice in () if source is None else advice_for(source, layer.channels):
        findings.note(advice)
    written = save_backbone(out, card, {**state, trunk.first: layer.filters}, half=options.half)
    return ImportResult(out, preset, written, tuple(findings.concluded), tuple(findings.told))


def _input_layer(findings: Findings, filters: Tensor) -> tuple[InputLayer, int]:
    options = findings.options
    if options.kind == "volume":
        return volume_input_layer(findings, filters)
    if options.orientation is not None or options.view is not None:
        raise RequestError("--orientation and --view are for volumes; give them with --kind volume")
    return scene_input_layer(findings, filters), 0


def _source(matched: MatchedCheckpoint, trunk: Trunk, options: ImportOptions) -> SatelliteSource | None:
    """The satellite images that a ResNet was trained on, if its name, its channels or the preset show it."""
    if not trunk.backbone.startswith("resnet") or options.preset == "torchvision":
        return None
    of_its_own = matched.family.presets[0] in ("ssl4eo", "satlas")
    return find_source(matched.checkpoint.name, trunk.in_channels, matched.preset if of_its_own else options.preset)


def _patch(findings: Findings) -> tuple[tuple[int, int], tuple[int, int]]:
    """Patch and overlap: by default, or with another patch than the file's, a third of the patch."""
    patch = findings.pick("patch")
    if findings.options.overlap is None and findings.options.patch is None and findings.said_of("overlap") is not None:
        return patch, findings.pick("overlap")
    overlap = findings.options.overlap or (patch[0] // 3, patch[1] // 3)
    findings.tell("overlap", overlap, "--overlap" if findings.options.overlap else "a third; --overlap changes it")
    return patch, overlap


def _license(findings: Findings) -> str:
    known: str | None = findings.pick("license")
    if known is None:
        findings.tell("license", "unknown", "not in the file; --license names it")
    return known or "unknown"


def _credits(findings: Findings, checkpoint: Checkpoint) -> str:
    return findings.pick("credits") or f"imported from {checkpoint.path.name}"


def _conclude_left_out(findings: Findings, matched: MatchedCheckpoint) -> None:
    left = [*matched.checkpoint.dropped, *matched.left_out]
    if matched.checkpoint.has_ema:
        findings.note("the file holds averaged (EMA) weights as well; --ema takes them")
    if left:
        findings.conclude("left out", f"{len(left)} tensors, such as {left[0]}", "no use for them here")


def _check_out(out: Path, options: ImportOptions) -> None:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; give a folder as --out")
    there = [name for name in (CARD, MODEL, NETWORK, BACKBONE, BACKBONE_WEIGHTS) if (out / name).exists()]
    if there and not options.overwrite:
        raise OutputError(f"{out}: holds {' and '.join(there)} already; --overwrite replaces it, or give another --out")


def _check_other_kind(out: Path, others: tuple[str, ...]) -> None:
    if there := [name for name in others if (out / name).exists()]:
        raise OutputError(f"{out}: holds {' and '.join(there)}, of something else; give another --out")
