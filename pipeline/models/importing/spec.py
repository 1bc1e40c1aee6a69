"""The spec of a whole network: from names and shapes, and from whoever knows the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pipeline.errors import RequestError
from pipeline.models.importing.defaults import Findings, Habits
from pipeline.models.importing.matching import Fitting
from pipeline.models.importing.mmseg import habits_of_meta, habits_of_name
from pipeline.models.importing.options import Preset, Wishes
from pipeline.models.importing.read import Checkpoint
from pipeline.models.importing.shapes import Trunk, cuts, read_top
from pipeline.models.importing.smp import habits_of_config, stride_of_encoder
from pipeline.models.networks.resnet import BASIC
from pipeline.models.spec import OutputStride, PSPNetSpec


def said_by(checkpoint: Checkpoint, preset: Preset, wishes: Wishes) -> tuple[Habits, ...]:
    """What configurations in or beside the file, its name and the patch asked for say, the most trusted first."""
    place = str(checkpoint.path)
    if preset == "smp":
        return (habits_of_config(checkpoint.config, place),)
    if not preset.startswith("mmseg"):
        return ()
    meta = checkpoint.beside.get("meta")
    said = [habits_of_meta(meta, place)] if isinstance(meta, Mapping) else []
    if wishes.patch is not None and all(side % 8 == 1 for side in wishes.patch):
        said.append(Habits("a patch of 8k + 1 pixels", align_corners=True))
    return (*said, habits_of_name(checkpoint.name))


def spec_of(findings: Findings, fitting: Fitting, trunk: Trunk) -> PSPNetSpec:
    """The network of the file, as far as its shapes show it; RequestError for choices that no network here has."""
    try:
        spec = _undilated(findings, fitting, trunk)
        if spec.head == "smp":
            return _dilated(findings, _cut(findings, spec, fitting))
        return _dilated(findings, replace(spec, output_stride=findings.pick("output_stride")))
    except RequestError:
        raise
    except ValueError as error:
        raise RequestError(f"{fitting.checkpoint.path}: {error}") from error


def _undilated(findings: Findings, fitting: Fitting, trunk: Trunk) -> PSPNetSpec:
    top = read_top(fitting.shapes)
    findings.conclude("backbone", f"{trunk.backbone}, stem {trunk.stem}", "names and shapes")
    findings.conclude("channels and score planes", (trunk.in_channels, top.classes), "shapes")
    return PSPNetSpec(
        trunk.backbone,
        trunk.in_channels,
        top.classes,
        stem=trunk.stem,
        ppm_channels=top.ppm_channels,
        head_channels=top.head_channels,
        head="smp" if top.is_smp or fitting.preset == "smp" else "pspnet",
        align_corners=findings.pick("align_corners"),
        bins=findings.pick("bins"),
        dropout=findings.pick("dropout"),
    )


def _cut(findings: Findings, spec: PSPNetSpec, fitting: Fitting) -> PSPNetSpec:
    """Its encoder ends where it does; only one that goes to the end can be dilated instead."""
    config, place = fitting.checkpoint.config, str(fitting.checkpoint.path)
    end = stride_of_encoder(findings, config, cuts(spec, fitting.shapes), place)
    stride: OutputStride = findings.pick("output_stride") or end
    if stride > end or stride < end < 32:
        raise RequestError(
            f"--output-stride {stride}: its encoder ends at stride {end}; only one that ends at 32 can be dilated, to "
            f"8 or 16"
        )
    return replace(spec, output_stride=stride, truncated=stride == end)


def _dilated(findings: Findings, spec: PSPNetSpec) -> PSPNetSpec:
    if spec.truncated or spec.output_stride == 32 or spec.backbone == "vgg16_bn":
        return spec
    spec = replace(spec, dilation=findings.pick("dilation"))
    return replace(spec, basic_dilation=findings.pick("basic_dilation")) if spec.backbone in BASIC else spec
