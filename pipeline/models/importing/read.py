"""Files of weights, read without running anything in them: pickles of tensors alone, and safetensors."""

from __future__ import annotations

import json
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import ModelError, first_of
from pipeline.files.signatures import CHECKPOINT, PICKLE, SAFETENSORS, FileKind, recognize, unlike
from pipeline.models.catalogue import BACKBONE, CARD, MODEL
from pipeline.models.importing.tables import has_averaged, network_in, unwrapped

MOST_NAMES = 10_000
"""More than any network here has, ten times over."""
_COUNTER = ".num_batches_tracked"
_WEIGHTS = (MODEL, "pytorch_model.bin")
_CURES = {
    "archive": "unpack it, and give the file of weights in it",
    "format": "save the state_dict() of the network with torch.save, or as safetensors",
}
_PICKLES = (CHECKPOINT, PICKLE)
_LONGEST_CONFIG = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by the names of the project that they come from, and what was stored with them."""

    path: Path
    tensors: Mapping[str, Tensor]
    """Dense tensors on the CPU, as they were stored; without the counters of batch norms."""
    beside: Mapping[str, Any] = field(default_factory=dict)
    """Other entries of a checkpoint, such as mmseg's `meta`."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The `config.json` beside the weights (segmentation-models-pytorch), if there is one."""
    dropped: tuple[str, ...] = ()
    """Names of tensors beside those of the network, such as a loss."""
    has_ema: bool = False
    """Whether there are averaged weights as well, which were not taken."""

    @property
    def name(self) -> str:
        """Name of the file without its suffix, or of the folder that makes up the model."""
        return self.path.parent.name if self.path.name in _WEIGHTS else self.path.stem


def read_checkpoint(path: Path, *, ema: bool = False) -> Checkpoint:
    """Read a file (.pth, .pt, .ckpt, .bin, .safetensors) or a folder that `save_pretrained` wrote.

    With `ema` the averaged weights in it are taken, else the others.

    Raises ModelError for what needs more than tensors and plain values, with the name of the global that it wanted,
    and for what is damaged, empty or no file of weights.
    """
    path = _weights_of(path)
    found = _safetensors(path) if _is_safetensors(path) else _unpickled(path)
    if not isinstance(found, Mapping):
        raise ModelError(f"{path}: holds a {type(found).__name__}, not a table of tensors by name (a state_dict)")
    averaged = has_averaged(found)
    if ema and not averaged:
        raise ModelError(f"{path}: holds no averaged (EMA) weights; leave out --ema")
    inner = unwrapped(found, ema=ema)
    table = network_in(_named(path, inner.table), ema=ema)
    return Checkpoint(path, table.tensors, inner.beside, _config(path), table.dropped, averaged and not ema)


def _weights_of(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder; give a file of weights, such as a .pth")
    for ours in (CARD, BACKBONE):
        if (path / ours).exists():
            raise ModelError(f"{path}: holds {ours}, so it needs no import: it is of this project already")
    for name in _WEIGHTS:
        if (path / name).is_file():
            return path / name
    raise ModelError(f"{path}: a folder of weights holds config.json and {MODEL}, and this one has no {MODEL}")


def _is_safetensors(path: Path) -> bool:
    return path.suffix == ".safetensors" or recognize(path) == SAFETENSORS


def _safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        said = _said(path, SAFETENSORS) or "it is damaged or cut off; fetch it again"
        raise ModelError(f"{path}: not a whole safetensors file: {said}") from error


def _said(path: Path, *own: FileKind) -> str:
    """What a file that is none of `own` is, and the way out; empty where its first bytes do not tell."""
    kind = unlike(path, *own)
    if kind is None:
        return ""
    cure = "give it the suffix .pth" if kind in _PICKLES else _CURES.get(kind.sort, kind.cure)
    return f"it is {kind.name}; {cure}"


def _unpickled(path: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            zipped = zipfile.is_zipfile(path)
            if zipped:
                _check_archive(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        except ModelError:
            raise
        except Exception as error:  # damaged bytes make an unpickler raise anything
            raise ModelError(_refusal(path, error)) from error


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise ModelError(
            f"{path}: a TorchScript archive holds a program, not weights alone; save the state_dict() of the network "
            f"that it was made from"
        )
    inside = sum(entry.file_size for entry in entries)
    if inside > path.stat().st_size:
        raise ModelError(
            f"{path}: claims {inside} bytes inside a file of {path.stat().st_size}; torch.save never compresses, so "
            f"this is not a checkpoint"
        )
    if damaged := _damaged(path, entries):
        raise ModelError(f"{path}: is damaged: {damaged} in it is not what its checksum says; fetch it again")


def _damaged(path: Path, entries: Sequence[zipfile.ZipInfo]) -> str | None:
    """The first entry whose CRC-32 is wrong; torch can be told to write none, which are 0."""
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() if any(entry.CRC for entry in entries) else None


def _refusal(path: Path, error: Exception) -> str:
    if wanted := _wanted(path, error):
        return (
            f"{path}: needs the global {wanted}, which can run code, so nothing was loaded. If you trust its source, "
            f"save the weights again by themselves, on the machine that made it:\n  {_resave(path, wanted)}"
        )
    said = _said(path, *_PICKLES) or "it is damaged, cut off, or of a format that is not read; fetch it again"
    return f"{path}: cannot be read as weights: {said}"


def _wanted(path: Path, error: Exception) -> str | None:
    """Name of the global that a pickle asked for, from torch's words or else from the pickle's own, unexecuted."""
    said = re.search(r"GLOBAL (\S+)|(?:class|function) (\S+)", str(error))
    if said:
        return said[1] or said[2]
    return _first_global(path) if "Unsupported operand" in str(error) else None


def _first_global(path: Path) -> str | None:
    words: list[str] = []
    try:
        with path.open("rb") as file:
            for code, argument, _ in pickletools.genops(file):
                if code.name == "GLOBAL":
                    return str(argument).replace(" ", ".")
                if code.name == "STACK_GLOBAL":
                    return ".".join(words[-2:])
                if isinstance(argument, str):
                    words.append(argument)
    except (ValueError, OSError):
        return None
    return None


def _resave(path: Path, wanted: str) -> str:
    kept = "{'state_dict': getattr(c, 'state_dict', lambda: c['state_dict'])()"
    if wanted.startswith(("mmengine", "mmseg", "numpy")):
        kept = "{'state_dict': c['state_dict'], 'meta': {'cfg': c.get('meta', {}).get('cfg', '')}"
    return (
        f"python -c \"import torch; c = torch.load({str(path.name)!r}, map_location='cpu', weights_only=False); "
        f"torch.save({kept}}}, 'weights.pth')\""
    )


def _named(path: Path, table: Mapping[Any, Any]) -> dict[str, Tensor]:
    if len(table) > MOST_NAMES:
        raise ModelError(f"{path}: holds {len(table)} entries; no network here has more than {MOST_NAMES}")
    if others := [f"{name} ({type(x).__name__})" for name, x in table.items() if not isinstance(x, Tensor)]:
        raise ModelError(f"{path}: {len(others)} entries are not tensors: {first_of(others)}; save a state_dict alone")
    tensors = {str(name): tensor for name, tensor in table.items() if not str(name).endswith(_COUNTER)}
    if not tensors:
        raise ModelError(f"{path}: holds no weights")
    if unsound := [name for name, tensor in tensors.items() if not _is_sound(tensor)]:
        raise ModelError(f"{path}: {len(unsound)} tensors are not stored in full: {first_of(unsound)}")
    return tensors


def _is_sound(tensor: Tensor) -> bool:
    """Whether all numbers are there: neither sparse, nor on the meta device, nor one number that claims to be many."""
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_nested:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _config(path: Path) -> Mapping[str, Any]:
    beside = path.parent / "config.json"
    if path.name not in _WEIGHTS or not beside.is_file():
        return {}
    try:
        if beside.stat().st_size > _LONGEST_CONFIG:
            raise ValueError(f"{beside.stat().st_size} bytes long")  # noqa: TRY301
        config = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{beside}: not the configuration of a model ({error})") from error
    return config if isinstance(config, dict) else {}
