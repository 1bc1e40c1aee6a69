"""From a file of another project to a model or a backbone of this one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from pipeline.errors import OutputError, RequestError
from pipeline.models.card import FORMAT, Card
from pipeline.models.catalogue import BACKBONE, BACKBONE_WEIGHTS, CARD, MODEL
from pipeline.models.importing.defaults import Findings
from pipeline.models.importing.families import home
from pipeline.models.importing.first_conv import Taken
from pipeline.models.importing.heads import as_two_planes, name_classes
from pipeline.models.importing.input_layer import intake_of_scenes, intake_of_slices
from pipeline.models.importing.matching import Fitting, fit
from pipeline.models.importing.options import Preset, Wishes
from pipeline.models.importing.read import Checkpoint, read_checkpoint
from pipeline.models.importing.satellite import Source, advice_on, source_of
from pipeline.models.importing.shapes import Trunk, read_trunk, shapes_of
from pipeline.models.importing.spec import said_by, spec_of
from pipeline.models.pretrained import FORMAT as BACKBONE_FORMAT
from pipeline.models.pretrained import BackboneCard, backbone_shapes, save_backbone
from pipeline.models.store import assemble, save_model


@dataclass(frozen=True)
class Imported:
    """What became of a file."""

    path: Path
    """Folder that was written."""
    preset: Preset
    """Family that the file is of."""
    card: Card | BackboneCard
    """A backbone's card for weights without a head."""
    concluded: tuple[str, ...]
    """What the file said, and where."""
    told: tuple[str, ...]
    """What it could not say: from the options, else from the habits of its home project."""


def import_weights(file: Path, out: Path, wishes: Wishes = Wishes()) -> Imported:  # noqa: B008  (frozen)
    """Write the network of `file` with its card to the folder `out`.

    `file` is a checkpoint (.pth, .pt, .ckpt, .bin, .safetensors) or a folder of `save_pretrained`. Weights without a
    head become a backbone (`pipeline.models.pretrained`), all others a model. Raises ModelError for weights that
    cannot be used, RequestError for options that do not fit them, OutputError where something stands in the way.
    """
    _check_out(out, wishes)
    fitting = fit(read_checkpoint(file), wishes.preset)
    trunk = read_trunk(fitting.shapes)
    if fitting.family.kind == "backbone":
        return _import_backbone(fitting, trunk, out, wishes)
    return _import_model(fitting, trunk, out, wishes)


def _import_model(fitting: Fitting, trunk: Trunk, out: Path, wishes: Wishes) -> Imported:
    _check_other_kind(out, (BACKBONE, BACKBONE_WEIGHTS))
    checkpoint, preset = fitting.checkpoint, fitting.preset
    findings = Findings(wishes, said_by(checkpoint, preset, wishes), home(preset, trunk.in_channels))
    findings.conclude("family", preset, "names")
    _conclude_left_out(findings, fitting)
    spec = spec_of(findings, fitting, trunk)
    state = fitting.state(shapes_of(spec), truncated=spec.truncated)
    taken, margin = _intake(findings, state[trunk.first])
    state[trunk.first] = taken.filters
    state, one_plane = as_two_planes(findings, state)
    classes = name_classes(findings, 2 if one_plane else spec.classes, one_plane=one_plane)
    spec = replace(spec, in_channels=taken.filters.shape[1], classes=len(classes))
    patch, overlap = _patch(findings)
    try:
        card = Card(
            format=FORMAT,
            name=wishes.name or checkpoint.name,
            kind=wishes.kind,
            classes=classes,
            network=spec,
            patch=patch,
            overlap=overlap,
            channels=taken.channels,
            margin=margin,
            normalisation=taken.normalisation,
            spacing=None,
            orientation=wishes.orientation,
            views=() if wishes.view is None else (wishes.view,),
            averaging=findings.pick("averaging"),
            window="gaussian",
            weights_sha256="",
            licence=_licence(findings),
            credits=_credits(findings, checkpoint),
            evaluation={},
        )
    except ValueError as error:
        raise RequestError(f"{checkpoint.path}: the options make no model: {error}") from error
    written = save_model(out, card, assemble(spec, state), half=wishes.half)
    return Imported(out, preset, written, tuple(findings.concluded), tuple(findings.told))


def _import_backbone(fitting: Fitting, trunk: Trunk, out: Path, wishes: Wishes) -> Imported:
    _check_other_kind(out, (CARD, MODEL))
    checkpoint = fitting.checkpoint
    state = fitting.state(backbone_shapes(trunk.backbone, trunk.stem, trunk.in_channels))
    source = _source(fitting, trunk, wishes)
    preset = fitting.preset if source is None or wishes.preset is not None else source.preset
    findings = Findings(wishes, (), home(preset, trunk.in_channels) if source is None else source.habits)
    findings.conclude("family", preset, "names" if source is None else "names, channels, the file's name")
    _conclude_left_out(findings, fitting)
    findings.conclude("backbone", f"{trunk.backbone}, stem {trunk.stem}", "names and shapes")
    taken = intake_of_scenes(findings, state[trunk.first])
    try:
        card = BackboneCard(
            format=BACKBONE_FORMAT,
            name=wishes.name or checkpoint.name,
            backbone=trunk.backbone,
            stem=trunk.stem,
            channels=taken.channels,
            normalisation=taken.normalisation,
            source=preset,
            licence=_licence(findings),
            credits=_credits(findings, checkpoint),
            weights_sha256="",
        )
    except ValueError as error:
        raise RequestError(f"{checkpoint.path}: the options make no backbone: {error}") from error
    for advice in () if source is None else advice_on(source, taken.channels):
        findings.note(advice)
    written = save_backbone(out, card, {**state, trunk.first: taken.filters}, half=wishes.half)
    return Imported(out, preset, written, tuple(findings.concluded), tuple(findings.told))


def _intake(findings: Findings, filters: Tensor) -> tuple[Taken, int]:
    wishes = findings.wishes
    if wishes.kind == "volume":
        return intake_of_slices(findings, filters)
    if wishes.orientation is not None or wishes.view is not None:
        raise RequestError("--orientation and --view are those of volumes; give them with --kind volume")
    return intake_of_scenes(findings, filters), 0


def _source(fitting: Fitting, trunk: Trunk, wishes: Wishes) -> Source | None:
    """The satellite images that a ResNet was trained on, if its name, its channels or the preset tell."""
    if not trunk.backbone.startswith("resnet") or wishes.preset == "torchvision":
        return None
    of_its_own = fitting.family.presets[0] in ("ssl4eo", "satlas")
    return source_of(fitting.checkpoint.name, trunk.in_channels, fitting.preset if of_its_own else wishes.preset)


def _patch(findings: Findings) -> tuple[tuple[int, int], tuple[int, int]]:
    """Patch and overlap: a third of the patch where nobody says, or where the patch is another than the file's."""
    patch = findings.pick("patch")
    if findings.wishes.overlap is None and findings.wishes.patch is None and findings.said_of("overlap") is not None:
        return patch, findings.pick("overlap")
    overlap = findings.wishes.overlap or (patch[0] // 3, patch[1] // 3)
    findings.tell("overlap", overlap, "--overlap" if findings.wishes.overlap else "a third; --overlap changes it")
    return patch, overlap


def _licence(findings: Findings) -> str:
    licence = findings.pick("licence")
    if licence is None:
        findings.tell("licence", "unknown", "not in the file; --licence names it")
    return licence or "unknown"


def _credits(findings: Findings, checkpoint: Checkpoint) -> str:
    return findings.pick("credits") or f"imported from {checkpoint.path.name}"


def _conclude_left_out(findings: Findings, fitting: Fitting) -> None:
    left = fitting.left_out
    if left:
        findings.conclude("left out", f"{len(left)} tensors, such as {left[0]}", "no use for them here")


def _check_out(out: Path, wishes: Wishes) -> None:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; give a folder as --out")
    there = [name for name in (CARD, MODEL, BACKBONE, BACKBONE_WEIGHTS) if (out / name).exists()]
    if there and not wishes.overwrite:
        raise OutputError(f"{out}: holds {' and '.join(there)} already; --overwrite replaces it, or give another --out")


def _check_other_kind(out: Path, others: tuple[str, ...]) -> None:
    if there := [name for name in others if (out / name).exists()]:
        raise OutputError(f"{out}: holds {' and '.join(there)}, of something else; give another --out")
