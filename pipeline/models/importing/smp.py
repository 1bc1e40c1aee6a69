"""Read what segmentation-models-pytorch writes next to its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.errors import ModelError
from pipeline.models.importing.defaults import Defaults, Findings
from pipeline.models.spec import OutputStride

_STRIDES: dict[int, OutputStride] = {3: 8, 4: 16, 5: 32}


def config_defaults(config: Mapping[str, Any], place: str) -> Defaults:
    """What `config.json` says; ModelError if it is of another network than PSPNet."""
    kind = config.get("_model_class", "PSPNet")
    if kind != "PSPNet":
        raise ModelError(f"{place}: config.json names the model {kind}; only PSPNet is supported")
    stride, dropout = config.get("output_stride"), config.get("psp_dropout")
    if stride not in (None, 8, 16, 32):
        raise ModelError(f"{place}: config.json has output_stride {stride!r}; supported are 8, 16 and 32")
    of_timm = stride is not None and str(config.get("encoder_name")).startswith("tu-")
    return Defaults(
        "config.json",
        output_stride=stride,
        dilation="contracted" if of_timm else None,
        basic_dilation="timm" if of_timm else None,
        dropout=float(dropout) if isinstance(dropout, (int, float)) else None,
    )


def encoder_stride(
    findings: Findings, config: Mapping[str, Any], fits: tuple[OutputStride, ...], place: str
) -> OutputStride:
    """The stride at which an encoder ends: by `encoder_depth`, which has to be among those that `fits` the weights."""
    depth = config.get("encoder_depth")
    if depth is None:
        findings.conclude("encoder's end", f"stride {(*fits, 8)[0]}", "features that the pyramid reads")
        return (*fits, 8)[0]
    stride = _STRIDES.get(depth) if isinstance(depth, int) else None
    if stride is None or (fits and stride not in fits):
        raise ModelError(
            f"{place}: config.json has encoder_depth {depth!r}, but by its pyramid the encoder ends at stride "
            f"{' or '.join(map(str, fits)) or 'unknown'}; supported are depths 3, 4 and 5, strides 8, 16 and 32"
        )
    findings.conclude("encoder's end", f"stride {stride}", "encoder_depth in config.json")
    if config.get("upsampling") not in (None, stride):
        findings.note(
            f"it puts out masks {config['upsampling']}/{stride} of the image's size; here they are of that size"
        )
    if config.get("activation") == "sigmoid" and config.get("classes", 1) != 1:
        findings.note("its classes can overlap (sigmoid); here a pixel gets the likeliest one alone")
    return stride
