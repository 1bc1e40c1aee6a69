"""Write the report of a mask or of an archive."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from pipeline.archive.place import LEDGER_NAME, DatabaseUrl, Opened, Place, is_ledger, subject_of
from pipeline.errors import RequestError
from pipeline.files.object_path import ObjectPath
from pipeline.io.opening import open_source
from pipeline.io.suffixes import is_store, stem_of
from pipeline.jobs.job import Job
from pipeline.jobs.outputs import expected_output
from pipeline.reports.archive import archive_page, folder_of_thumbnails
from pipeline.reports.options import ReportOptions
from pipeline.reports.page import Page, check_free, write_page
from pipeline.reports.scene import ScenePage, scene_page
from pipeline.reports.thumbnails import check_shards
from pipeline.reports.volume import VolumePage, volume_page
from pipeline.runs.report import Report

DEFAULTS = ReportOptions()


def write_report(subject: str | Place, output: Path | None = None, options: ReportOptions = DEFAULTS) -> Path:
    """Write the report of a mask or of an archive, and return its file.

    Args:
        subject: A mask of a scene or a volume; or a ledger, or the folder that holds it, or the address of its
            database.
        output: File to write; None: `<stem>_report.html` beside the mask, or `archive_report.html` with the ledger.
        options: What it holds.

    Raises:
        PipelineError: If the mask, the image, the truth or the ledger cannot be used, or the file cannot be written.

    """
    place = subject_of(subject) if isinstance(subject, str | Path) else subject
    if isinstance(place, ObjectPath):
        raise RequestError(f"{place}: is an object; copy the mask or the ledger, and give the copy")
    many = is_ledger(place)
    _check(output, options, many=many)
    target = output or default_output(place)
    page = archive_page(place, target, options) if many else _page(Path(str(place)), options)
    write_page(target, page, overwrite=options.overwrite)
    return target


def check_report_of_run(job: Job, ledger: Opened | None, *, overwrite: bool) -> None:
    """Check, before a run begins, that its report will replace nothing that is no report.

    Raises:
        OutputError: If it would.

    """
    place = ledger or expected_output(job)
    if isinstance(place, ObjectPath):
        raise RequestError(
            f"--report: is written beside a mask on a disk, and {place} is an object; copy it and use `pipeline report`"
        )
    page = default_output(place)
    check_free(page, overwrite=overwrite)
    if ledger is not None:
        check_shards(folder_of_thumbnails(page))


def report_run(
    job: Job, made: Report, ledger: Opened | None, *, hash_names: bool = False, overwrite: bool = False
) -> Path | None:
    """Write the report of a run: of the archive if it has a ledger, else of the mask of its one job, if there is one.

    Raises:
        PipelineError: As `write_report`.

    """
    if ledger is not None:
        return write_report(ledger, options=ReportOptions(hash_names=hash_names, overwrite=overwrite))
    if made.output is None or made.missing:
        return None
    target = default_output(Path(made.output))
    page = _page(Path(made.output), ReportOptions(image=job.input, volume=job.volume))
    write_page(target, replace(page, values=_with_domain(page.values, made)), overwrite=overwrite)
    return target


def _with_domain(page: ScenePage | VolumePage, made: Report) -> ScenePage | VolumePage:
    """Return what a page says, and in what its input is far from what the model was trained on."""
    notes = tuple(f"{remark.message[:1].upper()}{remark.message[1:]} ({remark.rule})." for remark in made.warnings)
    distance = () if made.distance is None else (("distance from the training data", f"{made.distance:.2f}"),)
    return replace(page, notes=(*notes, *page.notes), facts=(*page.facts, *distance))


def default_output(path: Opened) -> Path:
    """Return the file of a report, beside what it is about.

    Raises:
        RequestError: If that is in a database.

    """
    if isinstance(path, DatabaseUrl):
        raise RequestError(f"{path}: is in no folder; `pipeline report {path} --output PAGE.html` says where to write")
    if path.is_dir() and not is_store(path):
        return path / f"{Path(LEDGER_NAME).stem}_report.html"
    return path.with_name(f"{stem_of(path)}_report.html")


def _check(output: Path | None, options: ReportOptions, *, many: bool) -> None:
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise RequestError(f"{output}: a report is a page; give --output a name that ends in .html")
    given = {"--image": options.image, "--truth": options.truth, "--volume": options.volume, "--detail": options.detail}
    if many and (wrong := [flag for flag, value in given.items() if value is not None]):
        raise RequestError(f"{wrong[0]}: is for the report of one mask, not for that of an archive")
    for flag, value in {"--hash-names": options.hash_names, "--reviews": options.reviews}.items():
        if value and not many:
            raise RequestError(f"{flag}: is for the report of an archive, not for that of one mask")


def _page(path: Path, options: ReportOptions) -> Page:
    with closing(open_source(path, affine="sform")) as source:
        is_scene = source.grid.is_scene
    return scene_page(path, options) if is_scene else volume_page(path, options)
