"""Replace file names by pseudonyms, since file names are often names of patients."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from pipeline.io.address import name_of
from pipeline.io.formats import look
from pipeline.io.suffixes import stem_of
from pipeline.runs.report import Report

_DIGITS = 12


def pseudonym(path: str | Path) -> str:
    """Return digits of a SHA-256 that stand for a file, with its suffix: the same in every run."""
    suffix = name_of(path)[len(stem_of(path)) :].lower()  # a folder has none, for after its points a name may go on
    return sha256(str(Path(path).absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS] + suffix


def without_names(report: Report) -> Report:
    """Return a report with pseudonyms instead of names."""
    instead: dict[str, str] = {}
    for path in _files(report):
        instead |= _replacements(path)
    longest_first = sorted(instead, key=len, reverse=True)
    any_name = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in longest_first))
    reason = report.reason and any_name.sub(lambda found: instead[found[0]], report.reason)
    output = report.output and pseudonym(report.output)
    return replace(report, input=pseudonym(report.input), output=output, reason=reason)


def _files(report: Report) -> Iterable[Path]:
    """Return the input and its mask, under any name that it may have by default."""
    path = Path(report.input)
    output = path.with_name(stem_of(path) + "_mask") if report.output is None else Path(report.output)
    parts = [part.path for _, part in look(report.input).parts]
    return path, *parts, output, *(output.with_name(stem_of(output) + suffix) for suffix in ("", ".tif", ".nii.gz"))


def _replacements(path: Path) -> dict[str, str]:
    """Return a pseudonym for each text by which a file and its folder may appear."""
    digits = pseudonym(path)
    names = dict.fromkeys((str(path), str(path.absolute()), path.name), digits)
    folders = {str(folder): "..." for folder in (path.parent, path.absolute().parent) if len(folder.parts) > 1}
    item = look(path)
    inside = dict.fromkeys(item.format.members(item), "...")
    return folders | inside | {stem_of(path): digits.partition(".")[0]} | names
