"""GDAL's sidecar of a GeoTIFF, `<name>.aux.xml`: class names, and georeferences that TIFF cannot hold."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from pipeline.classes import ClassTable
from pipeline.files.atomic import atomic_write


def sidecar_of(path: Path) -> Path:
    """Return the path of the sidecar of the file at `path`."""
    return path.with_name(path.name + ".aux.xml")


def publish_sidecar(draft: Path, path: Path, classes: ClassTable) -> None:
    """Write the sidecar of `path`: what GDAL put beside `draft`, with class names as GDAL's categories of band 1.

    Without content, the sidecar of an earlier file is removed.
    """
    made = sidecar_of(draft)
    root = ElementTree.parse(made).getroot() if made.exists() else ElementTree.Element("PAMDataset")
    if classes:
        _add_categories(root, classes)
    if not len(root):
        sidecar_of(path).unlink(missing_ok=True)
        return
    with atomic_write(sidecar_of(path)) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="utf-8")


def _add_categories(root: ElementTree.Element, classes: ClassTable) -> None:
    """Add class names by position: those of values that no class has are empty."""
    band = root.find("PAMRasterBand[@band='1']")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1") if band is None else band
    categories = ElementTree.SubElement(band, "CategoryNames")
    names = {c.value: c.name for c in classes}
    for value in range(max(names) + 1):
        ElementTree.SubElement(categories, "Category").text = names.get(value, "")
