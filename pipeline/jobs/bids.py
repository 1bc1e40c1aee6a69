"""Find images in BIDS datasets, and write masks as BIDS derivatives.

Brain Imaging Data Structure 1.10: a file name consists of entities, `sub-01_ses-2_`, and a suffix, `T1w` or `dseg`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any

from pipeline.classes import ClassTable, hex_color
from pipeline.errors import NothingFoundError, RequestError
from pipeline.files.atomic import atomic_write
from pipeline.files.walk import walk
from pipeline.io.tables import write_rows

DESCRIPTION = "dataset_description.json"
SEGMENTATION = "dseg"
_NAME = re.compile(r"(sub-[A-Za-z0-9+]+(?:_[a-z0-9]+-[A-Za-z0-9+]+)*)_([A-Za-z0-9]+)\.nii(?:\.gz)?")
_VERSION = "1.10.0"
_IGNORED = ("archive.json", "archive.sqlite*", "*.partial", "*.partial/", f"*_{SEGMENTATION}_*")
"""Layers beside masks, and files in an unfinished derivative that are not part of the standard."""
_LINK = "raw"
_COLUMNS = ("index", "name", "color")
"""Of a label table."""


@dataclass(frozen=True)
class Derivative:
    """A derivative dataset, and the image in another dataset that one of its masks belongs to."""

    root: Path
    raw: Path
    """The dataset of the image."""
    image: Path


def find_images(root: Path, suffix: str) -> list[Path]:
    """List the NIfTI images of a dataset with a suffix, sorted, without those of its derivatives and phase images.

    Raises:
        RequestError: If `root` is not a BIDS dataset.
        NothingFoundError: If it has no image with that suffix.

    """
    if not (root / DESCRIPTION).is_file():
        raise RequestError(f"{root}: is not a BIDS dataset: it has no {DESCRIPTION}; omit --bids for other folders")
    named = dict(_iter_images(root))
    found = sorted(path for path, its in named.items() if its == suffix and not is_part(path))
    if not found:
        there = ", ".join(sorted(set(named.values()))) or "no NIfTI images"
        raise NothingFoundError(f"{root}: has no image with the BIDS suffix {suffix}; it has {there}")
    return found


def find_phase_images(root: Path, suffix: str) -> list[Path]:
    """List the parts of complex images that `find_images` leaves out."""
    return sorted(path for path, its in _iter_images(root) if its == suffix and is_part(path))


def is_part(path: PurePath) -> bool:
    """Return whether a file is a part of a complex image other than its magnitude, by its entities."""
    return any(f"_part-{part}_" in f"{_parts(path.name)[0]}_" for part in ("phase", "real", "imag"))


def mask_path(image: Path, root: Path, folder: Path, owner: str | None = None) -> Path:
    """Return the path of the mask of an image of the dataset `root` in the derivative `folder`.

    The images of one suffix, `owner`, have masks without it in their names; None: there are no others. The masks of
    images with other suffixes have it, `sub-01_desc-T2w_dseg.nii.gz`.
    """
    entities, suffix = _parts(image.name)
    described = entities if owner in (None, suffix) else f"{entities}_desc-{suffix}"
    return folder / image.parent.relative_to(root) / f"{described}_{SEGMENTATION}.nii.gz"


def owner_of(folder: Path) -> str | None:
    """Return the suffix of the images whose masks in a derivative do not name it; None if there are no such masks."""
    named = (path for path in sorted(folder.glob(f"sub-*/**/*_{SEGMENTATION}.json")) if "_desc-" not in path.name)
    return next((suffix for path in named if (suffix := _source_suffix(path))), None)


def _source_suffix(sidecar: Path) -> str:
    try:
        described = json.loads(sidecar.read_text(encoding="utf-8"))["Description"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return _parts(str(described).rpartition(" ")[2])[1]


def find_derivative(image: str, mask: Path) -> Derivative | None:
    """Return the derivative that a mask belongs to, by the names and folders of both; None if there is none."""
    root, raw = _root_of(mask.absolute()), _root_of(Path(image).absolute())
    if root is None or raw is None or _parts(mask.name)[1] != SEGMENTATION or not (raw / DESCRIPTION).is_file():
        return None
    return Derivative(root, raw, Path(image).absolute())


def write_description(derivative: Derivative, mask: Path, classes: ClassTable) -> dict[str, Any]:
    """Write the label table of a mask, and the description of its dataset if there is none yet.

    Returns:
        Keys to add to the JSON file of the mask.

    """
    derivative.root.mkdir(parents=True, exist_ok=True)
    _write_once(derivative.root / ".bidsignore", "\n".join(_IGNORED) + "\n")
    _write_once(derivative.root / DESCRIPTION, json.dumps(_description(derivative), indent=1) + "\n")
    write_rows(_table_of(mask), _COLUMNS, [(c.value, c.name, hex_color(c.color)) for c in classes])
    link = _link(derivative)
    place = derivative.image.relative_to(derivative.raw).as_posix()
    said = {"Description": f"Classes of {derivative.image.name}", "SpatialReference": "orig", "Manual": False}
    return {**said, **({} if link is None else {"Sources": [f"bids:{link}:{place}"]})}


def foreign_table(derivative: Derivative | None, mask: Path) -> Path | None:
    """Return the label table that `write_description` would replace, if it is no such table."""
    table = _table_of(mask)
    if derivative is None or not table.exists():
        return None
    try:
        with table.open(encoding="utf-8") as file:
            return None if file.readline().split() == [*_COLUMNS] else table
    except (OSError, ValueError):
        return table


def _table_of(mask: Path) -> Path:
    return mask.with_name(f"{'_'.join(_parts(mask.name))}.tsv")


def _iter_images(root: Path) -> Iterator[tuple[Path, str]]:
    for subject in root.glob("sub-*"):
        for parent, _, files in walk(subject):
            for name in files:
                if suffix := _parts(name)[1]:
                    yield parent / name, suffix


def _parts(name: str) -> tuple[str, str]:
    """Split a name into entities and suffix; both are empty if it is not a BIDS name."""
    found = _NAME.fullmatch(name)
    return (found[1], found[2]) if found else ("", "")


def _root_of(path: Path) -> Path | None:
    """Return the folder that holds the subject's folder of a file."""
    subject = _parts(path.name)[0].split("_")[0]
    return next((parent.parent for parent in path.parents if parent.name == subject), None) if subject else None


def _description(derivative: Derivative) -> dict[str, Any]:
    return {
        "Name": "Segmentations",
        "BIDSVersion": _VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {"Name": "pipeline", "Version": version("pipeline"), "Description": "Semantic segmentation with PSPNet"}
        ],
        "DatasetLinks": {_LINK: Path(os.path.relpath(derivative.raw.resolve(), derivative.root.resolve())).as_posix()},
    }


def _link(derivative: Derivative) -> str | None:
    """Return the name of the image's dataset in the derivative's description; None if it is not there."""
    try:
        said = json.loads((derivative.root / DESCRIPTION).read_text(encoding="utf-8"))
        links: Mapping[str, str] = said.get("DatasetLinks", {})
        return next((name for name, place in links.items() if _is_raw_dataset(derivative, place)), None)
    except (ValueError, AttributeError, TypeError):
        return None


def _is_raw_dataset(derivative: Derivative, place: str) -> bool:
    return (derivative.root / place.removeprefix("file://")).resolve() == derivative.raw.resolve()


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        with atomic_write(path) as draft:
            draft.write_text(text, encoding="utf-8")
