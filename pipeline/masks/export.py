"""Convert a mask to another format, with its georeference, classes and provenance."""

from __future__ import annotations

import re
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import InputError, OutputError, RequestError
from pipeline.files.atomic import remove_stale_temporaries
from pipeline.io.formats import look
from pipeline.io.mask import model_names
from pipeline.io.mask_files import Mask, check_mask, foreign_sidecar, mask_info, publish
from pipeline.io.opening import open_source
from pipeline.io.suffixes import PICTURES, SIDECARS, VECTORS, names_folder, suffix_of
from pipeline.masks.postprocess import CleaningOptions, clean_mask
from pipeline.optional import need

LEAST_DPI, MOST_DPI = 50, 1200
"""Dots per inch of a print."""
SEGMENTS = ".dcm"
"""Suffix of a mask as DICOM Segmentation."""


def export(
    path: str | Path,
    output: Path,
    *,
    sieve: int = 0,
    largest: bool = False,
    min_volume: float = 0.0,
    structure: str | None = None,
    simplify: float = 0.0,
    min_area: float = 0.0,
    image: str | Path | None = None,
    volume: int | None = None,
    opacity: float | None = None,
    dpi: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write a mask in the format of the suffix of `output`, cell by cell the same, in bounded memory.

    Class names, colors, nodata and provenance are kept. As vectors (`.gpkg`, `.parquet`, `.geojson`) the mask becomes
    polygons. `.png`, `.svg` and `.pdf` (a GeoPDF) are a map of a scene, over its image; `.qml` is a style for QGIS,
    `.json` a STAC Item. Of a volume, all three are a contact sheet, `.ctbl` and `.label` are names and colors for 3D
    Slicer and ITK-SNAP. `.dcm` is a DICOM Segmentation.

    Args:
        path: The mask.
        output: File to write.
        sieve: Regions of fewer cells take the class around them.
        largest: For volumes: keep the largest component of each structure.
        min_volume: For volumes: milliliters below which a component becomes background.
        structure: Name of the one class to write, as 1; other observed cells are 0.
        simplify: For vectors: how far an outline may move, in CRS units.
        min_area: For vectors: smallest polygon to write, in square meters.
        image: Image under a picture, or series of a DICOM Segmentation. A map of a scene is drawn over the image that
            the mask was made from, if that lies beside it.
        volume: Number, from 0, of the volume in a 4-D image under a contact sheet.
        opacity: For maps: opacity of the classes over the image, 0 to 1; None: 0.6.
        dpi: For pictures: dots per inch of a print of 180 mm; None: for a screen.
        overwrite: Whether an existing file may be replaced.

    Raises:
        PipelineError: If the mask cannot be read, or the output cannot be written.

    """
    for name, number in (("min-volume", min_volume), ("simplify", simplify), ("min-area", min_area)):
        if not 0 <= number < inf:
            raise RequestError(f"--{name} {number}: must be 0 or more, and finite")
    target = _Output(output, suffix_of(output), (simplify, min_area), image, volume, opacity, dpi)
    _check_fit(target)
    _check_free(Path(path), output, overwrite=overwrite)
    labels: Any = open_source(path, affine="sform")
    try:
        check_mask(path, labels)
        info = mask_info(path)
        if output.parent.is_dir():
            remove_stale_temporaries(output.parent)
        nodata = int(np.iinfo(labels.dtype).max) if info.nodata is None else info.nodata
        mask = Mask(labels, labels.grid, nodata, info.classes, dict(info.provenance or {}))
        how = CleaningOptions(sieve, largest, min_volume, structure)
        _write(clean_mask(mask, path, how), Path(path), target)
    finally:
        labels.close()


def export_per_class(path: str | Path, folder: Path, **how: Any) -> list[Path]:  # noqa: ANN401  (as of `export`)
    """Write each class of a mask but background to a file of its own, as `structure` of `export` does.

    Files are named `<class>.nii.gz` for a volume and `<class>.tif` for a scene; characters other than letters and
    digits become `_`. Nothing is written if one of the files exists and may not be replaced.

    Args:
        path: The mask.
        folder: Folder to write to.
        how: Options of `export`.

    Returns:
        The files, in the order of the classes.

    Raises:
        PipelineError: If the mask cannot be read, or a file cannot be written.

    """
    if not names_folder(folder):
        raise RequestError(f"{folder}: classes are exported to a folder; give one as --output")
    labels: Any = open_source(path, affine="sform")
    labels.close()
    kind = ".tif" if labels.grid.is_scene else ".nii.gz"
    chosen = [entry.name for entry in mask_info(path).classes if not entry.is_background]
    if not chosen:
        raise RequestError(f"{path}: has no class names, so there is nothing to export per class")
    files = [folder / (re.sub(r"\W", "_", name) + kind) for name in chosen]
    if len(set(files)) < len(files):
        raise RequestError(
            f"{path}: two of {', '.join(chosen)} would have the same file name; export them one by one with --class"
        )
    for file in files:
        _check_free(Path(path), file, overwrite=how.get("overwrite", False))
    for name, file in zip(chosen, files, strict=True):
        export(path, file, structure=name, **how)
    return files


def _check_free(path: Path, output: Path, *, overwrite: bool) -> None:
    """Raise if the output is the input, or exists and may not be replaced."""
    if path.resolve() == output.resolve():
        raise RequestError(f"{output}: is the input itself; give another --output")
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: already exists; use --overwrite to replace it, or give another --output")
    if not overwrite and (other := foreign_sidecar(output)):
        raise OutputError(
            f"{other}: already exists and would be overwritten; use --overwrite to allow it, or give another --output"
        )


class _Output(NamedTuple):
    """What is written."""

    path: Path
    suffix: str
    """Suffix of the path: the format."""
    finish: tuple[float, float]
    """`simplify` and `min_area` of polygons."""
    image: str | Path | None
    """Image that was segmented."""
    volume: int | None
    """Which volume of it, from 0."""
    opacity: float | None
    """Of classes over it."""
    dpi: int | None
    """Of a print."""


def _check_fit(target: _Output) -> None:
    """Raise RequestError for options that the format has no use for."""
    if target.image is not None and target.suffix not in (*PICTURES, SEGMENTS):
        raise RequestError(f"{target.path}: --image is only for pictures ({', '.join(PICTURES)}) and for {SEGMENTS}")
    if target.volume is not None and (target.image is None or target.suffix not in PICTURES):
        raise RequestError(
            f"{target.path}: --volume is only for a 4-D --image under the contact sheet of a volume "
            f"({', '.join(PICTURES)})"
        )
    if any(target.finish) and target.suffix not in VECTORS:
        raise RequestError(f"{target.path}: --simplify and --min-area are only for vectors: {', '.join(VECTORS)}")
    _check_picture(target)


def _check_picture(target: _Output) -> None:
    asked = target.opacity is not None or target.dpi is not None
    if asked and target.suffix not in PICTURES:
        raise RequestError(f"{target.path}: --opacity and --dpi are only for pictures: {', '.join(PICTURES)}")
    if target.opacity is not None and not 0 <= target.opacity <= 1:
        raise RequestError(f"--opacity {target.opacity:g}: must be from 0 to 1")
    if target.dpi is not None and not LEAST_DPI <= target.dpi <= MOST_DPI:
        raise RequestError(f"--dpi {target.dpi}: must be from {LEAST_DPI} to {MOST_DPI}")


def _write(mask: Mask, at: Path, target: _Output) -> None:
    """Write the mask at the path `at` in the format of the output's suffix."""
    output, suffix, finish, image, volume, opacity, dpi = target
    if suffix in VECTORS:
        need("vectors", f"{output}")
        from pipeline.masks.polygons import PolygonOptions, write_vectors

        write_vectors(mask.labels, output, mask.nodata, mask.classes, PolygonOptions(*finish))
    elif suffix == SEGMENTS:
        _write_segments(mask, output, image)
    elif suffix in PICTURES and not mask.grid.is_scene:
        from pipeline.masks.contact_sheet import write_sheet

        write_sheet(mask, output, image, volume, dpi)
    elif suffix in PICTURES:
        from pipeline.masks.map_picture import MapOptions, write_map

        write_map(mask, at, output, MapOptions(image, opacity, dpi))
    elif suffix in SIDECARS:
        from pipeline.masks.sidecars import write_sidecar

        write_sidecar(mask, at, output)
    else:
        publish(mask, output)


def _write_segments(mask: Mask, output: Path, image: str | Path | None) -> None:
    need("dicom", f"{output}")
    series = None if image is None else look(image)
    if series is None or not series.format.gathers:
        raise RequestError(
            f"{output}: a DICOM Segmentation refers to the images of a series; give their folder as --image"
        )
    from pipeline.io.dicom.segmentation import write_segmentation
    from pipeline.io.dicom.source import DicomSource

    source = DicomSource(series.path)
    try:
        made_by = " + ".join(model_names(mask.provenance))
        write_segmentation(output, mask.labels, mask.nodata, mask.classes, source, made_by)
    except InputError as error:
        raise InputError(f"{image}: {error}", error.code) from None
    finally:
        source.close()
