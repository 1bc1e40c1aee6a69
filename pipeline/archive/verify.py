"""Verify that finished masks have the bytes that were written, by their ledger; others are read from end to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.archive.copied_ledger import fetched_ledger, has_ledger
from pipeline.archive.ledger import LEDGER_NAME, MASK_CHANGED, ArchiveLedger, Row, Written
from pipeline.archive.outputs import describe_fault, fault_of, path_in, relative_to
from pipeline.archive.place import DatabaseUrl, Place, default_place, is_ledger
from pipeline.archive.status import changing_ledger
from pipeline.engine import Source
from pipeline.errors import InputError, PipelineError
from pipeline.files.object_path import ObjectPath, OutputPath, output_path
from pipeline.io.mask_files import check_mask, mask_info
from pipeline.io.opening import open_source
from pipeline.runs.storage import copied, is_there, recorded_stamp
from pipeline.sources.passes import slabs


@dataclass(frozen=True)
class Verdict:
    """Whether a file of a mask is as it was written."""

    path: str
    input: str | None
    """What the mask was made from; None where no ledger says."""
    state: Literal["intact", "readable", "changed", "missing", "unreadable"]
    """Readable: nothing is recorded of its bytes, and all of it can be read as a mask."""
    reason: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to be done about it."""
        return self.state in ("intact", "readable")


def verify(places: Sequence[Place]) -> list[Verdict]:
    """Verify all finished masks of ledgers, and single masks.

    Items whose masks are not as they were written are entered in the ledger as stale: the next run makes them again.

    Args:
        places: Ledgers, folders with a ledger, and masks. The ledger of a mask is that of the environment, or is looked
            for in the folders above it.

    Raises:
        RequestError: If a folder has no ledger.

    """
    return [verdict for place in places for verdict in _verify(place)]


def _verify(place: Place) -> list[Verdict]:
    if not isinstance(place, DatabaseUrl) and not is_ledger(place):
        return _verify_recorded(place) or [_by_its_record(place) or _read_through(place, None)]
    with changing_ledger(place) as ledger:
        rows = [row for row in ledger.rows(("done", "stale")).values() if _is_finished(row)]
        outputs = ledger.outputs()
        return [verdict for row in rows for verdict in _judge(ledger, row, outputs.get(row.input, ()))]


def _verify_recorded(mask: OutputPath) -> list[Verdict]:
    """Verify a mask by the nearest ledger that knows it; an empty list if there is none."""
    for place in _ledgers_of(mask):
        with closing(ArchiveLedger(fetched_ledger(place), create=False)) as ledger:
            row, outputs = ledger.made(relative_to(mask, ledger.folder))
            if row is not None and _is_finished(row):
                judged = _judge(ledger, row, outputs)
                return [one for one in judged if output_path(one.path).absolute() == mask.absolute()]
    return []


def _ledgers_of(mask: OutputPath) -> list[Place]:
    """Return the ledgers that may know a mask: that of the environment, and those in the folders above it."""
    known, files = default_place(), [folder / LEDGER_NAME for folder in mask.absolute().parents]
    return [*([] if known is None else [known]), *(file for file in files if has_ledger(file))]


def _by_its_record(mask: OutputPath) -> Verdict | None:
    """Compare an object with the record that the run which wrote it put beside it; None if there is none."""
    known = recorded_stamp(mask) if isinstance(mask, ObjectPath) else None
    if known is None:
        return None
    return _compare(Written(f"{mask}", known, ""), None, None)


def _is_finished(row: Row) -> bool:
    return row.state == "done" or row.code == MASK_CHANGED


def _judge(ledger: ArchiveLedger, row: Row, outputs: Sequence[Written]) -> list[Verdict]:
    """Compare the files of an item's mask, and enter whether the item is to be made again."""
    folder = ledger.folder
    found = [_compare(one, folder, row.input) for one in outputs] or [
        _read_through(output_path(row.output or ""), row.input)
    ]
    reasons = "; ".join(one.reason or one.state for one in found if not one.is_good)
    ledger.judge(row, reasons or None)
    return found


def _compare(known: Written, folder: Path | None, item: str | None) -> Verdict:
    path, fault = path_in(folder, known.path), fault_of(known, folder, verify=True)
    return Verdict(str(path), item, fault or "intact", describe_fault(path, fault) if fault else None)


def _read_through(path: OutputPath, item: str | None) -> Verdict:
    """Read a mask of whose bytes nothing is recorded: what is packed and damaged cannot be unpacked."""
    if not is_there(path):
        return Verdict(str(path), item, "missing", describe_fault(path, "missing"))
    try:
        with copied(path) as file, closing(open_source(file, affine="sform")) as source:
            check_mask(file, source)
            _check_labels(file, source)
    except (PipelineError, OSError) as error:
        return Verdict(str(path), item, "unreadable", str(error))
    return Verdict(str(path), item, "readable", f"{path}: can be read; no ledger has a record of its bytes")


def _check_labels(path: Path, source: Source) -> None:
    """Read all labels; InputError if one is neither a class nor nodata."""
    info = mask_info(path)
    classes = {entry.value for entry in info.classes}
    for values in _labels(source):
        strange = values - classes - {info.nodata}
        if classes and strange:
            raise InputError(f"{path}: has the label {min(strange)}, which is none of its {len(classes)} classes")


def _labels(source: Source) -> Iterator[set[int]]:
    return (set(np.unique(pixels.values).tolist()) for _, pixels in slabs(source))
