"""What a network takes: channels by name, how they are scaled, and the filters for them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from pipeline.errors import RequestError
from pipeline.models.card import Normalization
from pipeline.models.importing.defaults import Findings, fixed
from pipeline.models.importing.first_conv import InputLayer, adapt_channels


def scene_input_layer(findings: Findings, filters: Tensor) -> InputLayer:
    """Channels, scaling and filters of a network for scenes, or of a backbone, from `filters` as they are in the file.

    Raises:
        RequestError: if it is unknown what the channels are or how they are scaled.

    """
    options = findings.options
    before = InputLayer(*_scene_input(findings, filters.shape[1]), filters)
    after = adapt_channels(before, options)
    if after.channels != before.channels:
        way = options.extend or "taken by name"
        findings.tell("channels of the result", after.channels, f"--for-channels, --drop-channels; filters: {way}")
    told = _told_normalization(findings, len(after.channels))
    return after if told is None else replace(after, normalization=told)


def scene_input(findings: Findings, count: int) -> tuple[tuple[str, ...], Normalization]:
    """Channels and scaling of a network for scenes, which takes `count` channels.

    Raises:
        RequestError: if it is unknown what the channels are or how they are scaled.

    """
    channels, normalization = _scene_input(findings, count)
    return channels, _told_normalization(findings, count) or normalization


def _scene_input(findings: Findings, count: int) -> tuple[tuple[str, ...], Normalization]:
    return _channels(findings, count), _normalization(findings, count)


def volume_input_layer(findings: Findings, filters: Tensor) -> tuple[InputLayer, int]:
    """Channel, scaling and filters of a network for volumes, and the margin of slices that it sees on each side."""
    channels, normalization, margin = volume_input(findings, filters.shape[1])
    return InputLayer(channels, normalization, filters), margin


def volume_input(findings: Findings, count: int) -> tuple[tuple[str, ...], Normalization, int]:
    """Channel, scaling and margin of slices of a network for volumes, which takes `count` slices."""
    options = findings.options
    if options.orientation is None or options.view is None:
        raise RequestError("--kind volume: needs --orientation, e.g. RAS, and --view: axial, coronal or sagittal")
    if options.for_channels or options.drop_channels or options.extend:
        raise RequestError("--for-channels, --drop-channels and --extend are for scenes; a volume has one channel")
    if count % 2 == 0 or len(options.channels or ("",)) != 1:
        raise RequestError(
            f"--kind volume: a network sees one channel of 1, 3, 5, ... slices; the file's takes {count} channels, "
            f"and --channels names {', '.join(options.channels or ('none',))}"
        )
    findings.tell("slices seen", count, "--kind volume")
    told = _told_normalization(findings, 1)
    if told is None:
        findings.tell("normalization", "zscore", "usual for volumes; --mean and --std change it")
    return options.channels or ("value",), told or Normalization("zscore", (), ()), count // 2


def _channels(findings: Findings, count: int) -> tuple[str, ...]:
    channels: tuple[str, ...] | None = findings.pick("channels")
    if channels is None or len(channels) != count or len(set(channels)) != count:
        known = "their names are unknown" if channels is None else f"the names given are {', '.join(channels)}"
        raise RequestError(
            f"the first convolution takes {count} channels, and {known}; give --channels with {count} different names, "
            f"in the order of training"
        )
    return channels


def _normalization(findings: Findings, count: int) -> Normalization:
    if findings.options.mean is not None or findings.options.std is not None:
        known = findings.said_of("normalization") or findings.usual
        if known.normalization is not None and len(known.normalization.mean) == count:
            return known.normalization
        return fixed((0.0,) * count, (1.0,) * count)
    rule: Normalization | None = findings.pick("normalization")
    if rule is None or len(rule.mean) != count:
        raise RequestError(
            f"how the {count} channels are scaled is not in the file; give --mean and --std, {count} numbers each, in "
            f"units of the input (0 and 255 make 8-bit values 0 to 1)"
        )
    return rule


def _told_normalization(findings: Findings, count: int) -> Normalization | None:
    mean, std = findings.options.mean, findings.options.std
    if mean is None and std is None:
        return None
    if mean is None or std is None or len(mean) != count or len(std) != count or min(std) <= 0:
        raise RequestError(f"--mean and --std: expected {count} numbers each, std above 0; got {mean} and {std}")
    told = fixed(mean, std)
    findings.tell("normalization", told, "--mean, --std")
    return told
