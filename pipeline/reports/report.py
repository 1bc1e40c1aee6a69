"""Write the report of a mask or of an archive."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pipeline.errors import RequestError
from pipeline.io.opening import open_source
from pipeline.io.suffixes import stem_of
from pipeline.reports.options import ReportOptions
from pipeline.reports.page import Page, write_page
from pipeline.reports.scene import scene_page
from pipeline.reports.volume import volume_page

DEFAULTS = ReportOptions()


def write_report(subject: str | Path, output: Path | None = None, options: ReportOptions = DEFAULTS) -> Path:
    """Write the report of a mask, and return its file.

    Args:
        subject: A mask of a scene or a volume.
        output: File to write; None: `<stem>_report.html` beside the mask.
        options: What it holds.

    Raises:
        PipelineError: If the mask, the image or the truth cannot be used, or the file cannot be written.

    """
    path = Path(subject)
    _check(output)
    target = output or path.with_name(f"{stem_of(path)}_report.html")
    write_page(target, _page(path, options), overwrite=options.overwrite)
    return target


def _check(output: Path | None) -> None:
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise RequestError(f"{output}: a report is a page; give --output a name that ends in .html")


def _page(path: Path, options: ReportOptions) -> Page:
    with closing(open_source(path, affine="sform")) as source:
        is_scene = source.grid.is_scene
    return scene_page(path, options) if is_scene else volume_page(path, options)
