"""The spec of a whole network: from names and shapes, and from whoever knows the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pipeline.errors import RequestError
from pipeline.models.importing.defaults import Defaults, Findings
from pipeline.models.importing.efficientnet_lite import said_of_padding
from pipeline.models.importing.matching import MatchedCheckpoint
from pipeline.models.importing.mmseg import meta_defaults, name_defaults
from pipeline.models.importing.options import ImportOptions, Preset
from pipeline.models.importing.read import Checkpoint
from pipeline.models.importing.shapes import Trunk, read_top, truncation_strides
from pipeline.models.importing.smp import config_defaults, encoder_stride
from pipeline.models.networks.resnet import BASIC
from pipeline.models.spec import OutputStride, PSPNetSpec


def defaults_from(checkpoint: Checkpoint, preset: Preset, options: ImportOptions) -> tuple[Defaults, ...]:
    """What configurations in or beside the file, its name and the patch asked for say, the most trusted first."""
    place = str(checkpoint.path)
    if preset == "smp":
        return (config_defaults(checkpoint.config, place), *said_of_padding(checkpoint, preset))
    if not preset.startswith("mmseg"):
        return ()
    meta = checkpoint.beside.get("meta")
    said = [meta_defaults(meta, place)] if isinstance(meta, Mapping) else []
    if options.patch is not None and all(side % 8 == 1 for side in options.patch):
        said.append(Defaults("a patch of 8k + 1 pixels", align_corners=True))
    return (*said, name_defaults(checkpoint.name))


def spec_of(findings: Findings, matched: MatchedCheckpoint, trunk: Trunk) -> PSPNetSpec:
    """The network of the file, as far as its shapes show it; RequestError for choices that no network here has."""
    try:
        spec = _undilated(findings, matched, trunk)
        if spec.head == "smp":
            return _dilated(findings, _cut(findings, spec, matched))
        return _dilated(findings, replace(spec, output_stride=findings.pick("output_stride")))
    except RequestError:
        raise
    except ValueError as error:
        raise RequestError(f"{matched.checkpoint.path}: {error}") from error


def _undilated(findings: Findings, matched: MatchedCheckpoint, trunk: Trunk) -> PSPNetSpec:
    top = read_top(matched.shapes)
    findings.conclude("backbone", f"{trunk.backbone}, stem {trunk.stem}", "names and shapes")
    findings.conclude("channels and score planes", (trunk.in_channels, top.classes), "shapes")
    return PSPNetSpec(
        trunk.backbone,
        trunk.in_channels,
        top.classes,
        stem=trunk.stem,
        ppm_channels=top.ppm_channels,
        head_channels=top.head_channels,
        head="smp" if top.is_smp or matched.preset == "smp" else "pspnet",
        align_corners=findings.pick("align_corners"),
        bins=findings.pick("bins"),
        dropout=findings.pick("dropout"),
    )


def _cut(findings: Findings, spec: PSPNetSpec, matched: MatchedCheckpoint) -> PSPNetSpec:
    """Its encoder ends where it does; only one that goes to the end can be dilated instead."""
    config, place = matched.checkpoint.config, str(matched.checkpoint.path)
    end = encoder_stride(findings, config, truncation_strides(spec, matched.shapes), place)
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
