"""What a report holds, as a user asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.decoding import Meaning


@dataclass(frozen=True)
class ReportOptions:
    """What a report holds."""

    image: Annotated[
        str | None,
        Meaning("The image that the mask was made from.", unset="the one beside the mask with the name in its record"),
    ] = None
    truth: Annotated[
        str | None, Meaning("Labels to compare the mask with: confusion matrix, IoU, and a layer of errors.")
    ] = None
    volume: Annotated[int | None, Meaning("Number, from 0, of the volume in a 4-D --image.", unset="as recorded")] = (
        None
    )
    detail: Annotated[
        int | None,
        Meaning(
            "Most pixels along a side of a scene at the finest zoom, or most voxels along one of a volume.",
            unset="2048 and 256",
        ),
    ] = None
    reviews: Annotated[
        Path | None,
        Meaning("Archives: table of reviews that a page exported (.csv, .tsv), for the next reader to go on from."),
    ] = None
    thumbnails: Annotated[bool, Meaning("Archives: write thumbnails of all finished masks, beside the page.")] = True
    hash_names: Annotated[
        bool, Meaning("Archives: show SHA-256 prefixes instead of file names, and no reasons, which may quote headers.")
    ] = False
    overwrite: Annotated[bool, Meaning("Replace a file that is not a report.")] = False
