"""Find models: the packaged ones by name, others by path or by their address on a hub. Never loads weights or torch."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pipeline.decoding import did_you_mean
from pipeline.errors import ModelError
from pipeline.models.card import Card, read_card
from pipeline.models.hub.address import is_on_hub, parse_address
from pipeline.models.spec import ONNXSpec
from pipeline.optional import need

WEIGHTS = Path(__file__).parent / "weights"
CARD, MODEL, NETWORK = "card.json", "model.safetensors", "network.onnx"
"""Files of a model: its card, and the weights of a PSPNet or else a whole network."""
INT8_GRAPH, INT8_WEIGHTS = "int8.xml", "int8.bin"
"""Files of a model's int8 form, next to the others (see `pipeline.models.card.Int8`)."""
BACKBONE, BACKBONE_WEIGHTS = "backbone.json", "backbone.safetensors"
"""Files of a backbone alone, which is trained from and cannot be run (see `pipeline.models.pretrained`)."""
_RUNS = frozenset((".py", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".sh", ".so", ".dll", ".exe"))
"""Ends of names of files that hold code, or may: none of a model."""


class Files(NamedTuple):
    """The two files of a model."""

    card: Path
    weights: Path
    """Weights in safetensors, or a network in ONNX."""


def names() -> tuple[str, ...]:
    """Return the names of the packaged models, sorted."""
    return tuple(sorted(card.parent.name for card in WEIGHTS.glob(f"*/{CARD}")))


def backbones() -> tuple[str, ...]:
    """Return the names of the packaged backbones, which training starts from, sorted."""
    return tuple(sorted(card.parent.name for card in WEIGHTS.glob(f"*/{BACKBONE}")))


def find_model(ref: str | Path) -> Files:
    """Find the files of a model: a packaged name, a folder with both files, the path of one, or `hf:owner/name`.

    The other file of a `.json`, `.safetensors` or `.onnx` path has the same stem, or its usual name. The files of a
    model on a hub are fetched into the cache of the hub's client.

    Raises:
        ModelError: with the nearest name and the list, if there is no such model.
        RequestError: if the client of the hub is not installed.

    """
    if ref in names():
        return _in_folder(WEIGHTS / ref)
    if is_on_hub(ref):
        return _checked(ref, _in_folder(_fetched(ref)))
    path = WEIGHTS / ref if ref in backbones() else Path(ref)
    _check_no_backbone(path)
    if path.is_dir():
        return _checked(ref, _in_folder(path))
    if path.suffix == ".json":
        return _checked(ref, Files(path, _weights_beside(path)))
    if path.suffix in (".safetensors", ".onnx"):
        return _checked(ref, Files(_beside(path, ".json", CARD), path))
    raise ModelError(
        f'unknown model "{ref}"{did_you_mean(str(ref), names())}. Packaged models: {", ".join(names())}. '
        f"Otherwise give a folder with {CARD} and {MODEL} or {NETWORK}, the path of one of them, or the address of a "
        "model on a hub, hf:owner/name."
    )


def load_card(ref: str | Path) -> Card:
    """Read the card of the model `ref` (see `find_model`).

    Raises:
        ModelError: if there is no such model, or its card cannot be used.

    """
    return read_card(find_card(ref))


def find_card(ref: str | Path) -> Path:
    """Find the card of a model; of one on a hub, nothing else is fetched."""
    return _fetched_card(ref) if is_on_hub(ref) else find_model(ref).card


def pin_model(ref: str) -> str:
    """Return a name that always stands for the same files: on a hub, a commit instead of a branch or a tag.

    Raises:
        ModelError: if there is no such model on the hub.

    """
    if not is_on_hub(ref):
        return ref
    return str(parse_address(ref).at(_fetched_card(ref).parent.name))


def check_writable(ref: str | Path) -> None:
    """Raise ModelError if the card of a model is not to be changed, because it is in the cache of a hub."""
    if is_on_hub(ref):
        repo = parse_address(ref).repo
        raise ModelError(
            f"{ref}: its card is in the cache of the hub's client, which is not to be changed; copy the model first, "
            f"`hf download {repo} --local-dir FOLDER`, and name the folder"
        )


def digests_of(card: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a card names, by its usual name beside the card.

    Raises:
        ModelError: if it is no card, or names a file that is none of a model.

    """
    try:
        words = json.loads(card.read_text(encoding="utf-8"))
        found = {_weights_of(words["network"]): words["weights_sha256"], **_data_of(words), **_int8_of(words)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{card}: is not the card of a model ({type(error).__name__}: {error})") from error
    for name in found:
        _check_name(card, name)
    return found


def _weights_of(network: dict[str, Any]) -> str:
    return NETWORK if network.get("family") == "onnx" else MODEL


def _data_of(words: dict[str, Any]) -> dict[str, str]:
    """Return the files in which the network in an ONNX file has its weights."""
    return {str(file["name"]): file["sha256"] for file in words["network"].get("data", ())}


def _int8_of(words: dict[str, Any]) -> dict[str, str]:
    form = words.get("int8")
    return {} if form is None else {INT8_GRAPH: form["xml_sha256"], INT8_WEIGHTS: form["bin_sha256"]}


def _check_name(card: Path, name: str) -> None:
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or not path.parts or set(name) & set("\\:")
    if outside or name == CARD or path.suffix.lower() in _RUNS:
        raise ModelError(f"{card}: names the file {name!r}, which is none of a model: it is outside, or may hold code")


def _fetched_card(ref: str | Path) -> Path:
    address = parse_address(ref)
    need("hub", str(ref))
    from pipeline.models.hub.client import fetch_card

    return fetch_card(address, CARD)


def _fetched(ref: str | Path) -> Path:
    """Return the folder of a model on a hub in the client's cache: its card, and what that names."""
    card = _fetched_card(ref)
    from pipeline.models.hub.client import fetch_file

    address = parse_address(ref).at(card.parent.name)
    for name in digests_of(card):
        fetch_file(address, name)
    return card.parent


def files_of(ref: str | Path) -> dict[str, Path]:
    """Return all files of the model `ref` by their names in its folder: the card comes last.

    Raises:
        ModelError: if there is no such model, or its card cannot be used.

    """
    files = find_model(ref)
    card, folder = read_card(files.card), files.weights.parent
    data = [file.name for file in card.network.data] if isinstance(card.network, ONNXSpec) else []
    int8 = [] if card.int8 is None else [INT8_GRAPH, INT8_WEIGHTS]
    beside = {name: folder / name for name in (*data, *int8)}
    return {**beside, files.weights.name: files.weights, files.card.name: files.card}


def _check_no_backbone(path: Path) -> None:
    alone = (path / BACKBONE).is_file() and not (path / CARD).exists()
    if alone or (path.name in (BACKBONE, BACKBONE_WEIGHTS) and path.is_file()):
        raise ModelError(
            f"{path}: is a backbone to train from; it has no head and no classes, so it cannot be run. "
            f"Packaged models: {', '.join(names())}"
        )


def _in_folder(folder: Path) -> Files:
    foreign = (folder / NETWORK).exists() and not (folder / MODEL).exists()
    return Files(folder / CARD, folder / (NETWORK if foreign else MODEL))


def _weights_beside(card: Path) -> Path:
    onnx = _beside(card, ".onnx", NETWORK)
    weights = _beside(card, ".safetensors", MODEL)
    return onnx if onnx.exists() and not weights.exists() else weights


def _beside(path: Path, suffix: str, usual: str) -> Path:
    same = path.with_suffix(suffix)
    return same if same.exists() else path.parent / usual


def _checked(ref: str | Path, files: Files) -> Files:
    for path in files:
        if not path.is_file():
            raise ModelError(
                f"model {ref}: {path} does not exist; a model is a card (.json) and its .safetensors or .onnx file"
                + _import_first(path, files.weights)
            )
    return files


def _import_first(missing: Path, weights: Path) -> str:
    """What makes a model of an ONNX file without a card."""
    alone = weights.suffix == ".onnx" and missing != weights and weights.is_file()
    return f"; `pipeline import-weights {weights} --out FOLDER` makes one of this file" if alone else ""
