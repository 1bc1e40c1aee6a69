"""Expand a 4-D file into one job for each of its volumes."""

from __future__ import annotations

from dataclasses import replace

from pipeline.errors import PipelineError
from pipeline.files.object_path import OutputPath
from pipeline.io.address import output_folder
from pipeline.io.formats import Input
from pipeline.io.opening import open_source
from pipeline.io.suffixes import stem_of, with_stem
from pipeline.jobs.job import Job

_SUFFIX = "_mask"


def expand_4d(job: Job, item: Input | None = None) -> list[Job]:
    """Return a job for each volume of the input, with masks named `<stem>_t0000_mask`, `<stem>_t0001_mask` and so on.

    Returns the job itself if there is only one volume, or if the input cannot be read: it reports that when its turn
    comes.
    """
    try:
        source = open_source(item or job.input, affine="sform", volume=0)
    except PipelineError:
        return [job]
    source.close()
    count = source.info.volumes
    if count == 1:
        return [job]
    mask = job.output or output_folder(job.input) / f"{stem_of(job.input)}{_SUFFIX}.nii.gz"
    return [replace(job, volume=number, output=_numbered_path(mask, number)) for number in range(count)]


def _numbered_path(mask: OutputPath, number: int) -> OutputPath:
    return with_stem(mask, f"{stem_of(mask).removesuffix(_SUFFIX)}_t{number:04}{_SUFFIX}")
