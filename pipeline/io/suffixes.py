"""File names: which suffix says the format, and what stands before it. Standard library only."""

from __future__ import annotations

from pathlib import Path

from pipeline.io.address import name_of

STORES = (".zarr",)

SIDECARS = (".qml", ".png", ".json", ".ctbl", ".label")

VECTORS = (".gpkg", ".parquet", ".geojson")

_PACKED = (".nii.gz", ".hdr.gz", ".img.gz")


def suffix_of(path: str | Path) -> str:
    """The suffix that tells the format, in lower case: `.nii.gz`, `.hdr.gz` and `.img.gz` each count as one."""
    name = name_of(path).lower()
    return next((suffix for suffix in _PACKED if name.endswith(suffix)), Path(name).suffix)


def stem_of(path: str | Path) -> str:
    """The name without folder and suffix. A folder that is not a store has no suffix: all of its name is the stem."""
    name = name_of(path)
    if Path(path).is_dir() and suffix_of(path) not in STORES:
        return name
    return name[: len(name) - len(suffix_of(path))]


def with_stem(path: Path, stem: str) -> Path:
    """The path with another stem, in the same folder and with the same suffix."""
    return path.with_name(stem + suffix_of(path))


def names_folder(name: str | Path) -> bool:
    """Whether a name can be that of a folder for masks: it is one, or nothing is there and it has no suffix."""
    path = Path(name)
    return path.is_dir() or not (path.is_file() or (suffix_of(name) and not str(name).endswith("/")))


def is_store(path: Path) -> bool:
    """Whether a folder is a Zarr store: by its suffix, or by the metadata of version 3 in it."""
    return path.is_dir() and (path.suffix in STORES or (path / "zarr.json").exists())
