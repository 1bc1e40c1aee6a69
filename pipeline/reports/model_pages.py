"""Write the page of a model, as Markdown with pictures beside it or as one HTML file."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from pipeline.errors import OutputError, RequestError
from pipeline.files.atomic import atomic_write
from pipeline.models.catalogue import find_model
from pipeline.reports.model import ModelPage, model_page
from pipeline.reports.model_markdown import is_generated, markdown
from pipeline.reports.page import Page, write_page

_HTML = (".html", ".htm")


def write_model_page(ref: str | Path, target: Path, pictures: Path | None = None) -> Path:
    """Write the page of a model from its card, and return its file.

    Markdown (.md) has its charts in files: in the folder `pictures` if there is one, else beside the page. Of a page
    that is there, the part between the marks of the generator is replaced. HTML (.html) has everything inside.

    Args:
        ref: The model: a packaged name or a path.
        target: File to write.
        pictures: Folder with what `evaluate --pictures` drew.

    Raises:
        RequestError: For a file of another kind, or a folder that does not exist.
        ModelError: If there is no such model.
        OutputError: If there is a file that was not generated, or the page cannot be written.

    """
    files = find_model(ref)
    if pictures is not None and not pictures.is_dir():
        raise RequestError(f"--pictures {pictures}: no such folder; `pipeline evaluate --pictures` writes one")
    page = model_page(str(ref), files, pictures)
    if target.suffix.lower() in _HTML:
        write_page(target, Page("model", page, None))
    elif target.suffix.lower() == ".md":
        _write_markdown(page, target, pictures or target.parent)
    else:
        raise RequestError(f"--page {target}: a page of a model is Markdown (.md) or HTML (.html)")
    return target


def _write_markdown(page: ModelPage, target: Path, folder: Path) -> None:
    before = target.read_text(encoding="utf-8") if target.exists() else None
    if before is not None and not is_generated(before):
        raise OutputError(f"{target}: already exists and was not generated; give another --page")
    charts = [chart for one in page.evaluations for chart in one.charts]
    names = {chart.name: folder / f"{target.stem}-{chart.name}.svg" for chart in charts}
    for chart in charts:
        _write(names[chart.name], chart.svg)
    text = markdown(
        page,
        lambda name: _relative(names[name], target),
        lambda shown: _relative(shown.path, target),
        before,
    )
    _write(target, text)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _relative(path: Path, page: Path) -> str:
    """Return the address of a file from a page."""
    return quote(Path(os.path.relpath(path, page.parent)).as_posix())
