"""Find models: the packaged ones by name, others by path. Reads cards; never loads weights or torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pipeline.decoding import did_you_mean
from pipeline.errors import ModelError
from pipeline.models.card import Card, read_card
from pipeline.models.spec import ONNXSpec

WEIGHTS = Path(__file__).parent / "weights"
CARD, MODEL, NETWORK = "card.json", "model.safetensors", "network.onnx"
"""Files of a model: its card, and the weights of a PSPNet or else a whole network."""
INT8_GRAPH, INT8_WEIGHTS = "int8.xml", "int8.bin"
"""Files of a model's int8 form, next to the others (see `pipeline.models.card.Int8`)."""
BACKBONE, BACKBONE_WEIGHTS = "backbone.json", "backbone.safetensors"
"""Files of a backbone alone, which is trained from and cannot be run (see `pipeline.models.pretrained`)."""


class Files(NamedTuple):
    """The two files of a model."""

    card: Path
    weights: Path
    """Weights in safetensors, or a network in ONNX."""


def names() -> tuple[str, ...]:
    """Return the names of the packaged models, sorted."""
    return tuple(sorted(card.parent.name for card in WEIGHTS.glob(f"*/{CARD}")))


def find_model(ref: str | Path) -> Files:
    """Find the files of a model: a packaged name, a folder with both files, or the path of either file.

    The other file of a `.json`, `.safetensors` or `.onnx` path has the same stem, or its usual name.

    Raises:
        ModelError: with the nearest name and the list, if there is no such model.

    """
    if ref in names():
        return _in_folder(WEIGHTS / ref)
    path = Path(ref)
    _check_no_backbone(path)
    if path.is_dir():
        return _checked(ref, _in_folder(path))
    if path.suffix == ".json":
        return _checked(ref, Files(path, _weights_beside(path)))
    if path.suffix in (".safetensors", ".onnx"):
        return _checked(ref, Files(_beside(path, ".json", CARD), path))
    raise ModelError(
        f'unknown model "{ref}"{did_you_mean(str(ref), names())}. Packaged models: {", ".join(names())}. '
        f"Otherwise give a folder with {CARD} and {MODEL} or {NETWORK}, or the path of one of them."
    )


def load_card(ref: str | Path) -> Card:
    """Read the card of the model `ref` (see `find_model`).

    Raises:
        ModelError: if there is no such model, or its card cannot be used.

    """
    return read_card(find_model(ref).card)


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
