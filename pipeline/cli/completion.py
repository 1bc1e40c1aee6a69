"""What a shell offers for the word that is being written; where it is nothing, the shell offers files.

It is asked anew at each press of the key, so nothing is imported that takes long.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.decoding import Key

MASKS = (".tif", ".tiff", ".nii", ".nii.gz", ".zarr", ".nrrd", ".seg.nrrd", ".mha")
"""Suffixes of masks, as `pipeline.io.formats` has them: it takes longer than a press of the key may."""
Completer = Callable[[str], list[str]]
"""Returns the words that begin with what is written."""


def completer_of(key: Key) -> Completer | None:
    """Return what is offered for an option; None: files, or nothing."""
    if key.choices:
        return choices(key.choices, several=key.reader is not None and key.reader.metavar.endswith(",..."))
    return _BY_ROLE.get(key.meaning.role or "")


def choices(words: tuple[str, ...], *, several: bool = False) -> Completer:
    """Return a completer of these words; of `several`, after the last comma, each once."""

    def offered(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
        taken = before.split(",")
        return [f"{before}{comma}{word}" for word in words if word not in taken and word.startswith(last)]

    return offered


def model_names(incomplete: str) -> list[str]:
    """Return the packaged models that begin with what is written."""
    from pipeline.models.catalogue import names

    return [name for name in names() if name.startswith(incomplete)]


def mask_names(incomplete: str) -> list[str]:
    """Return names of masks: what is written, with each suffix that fits."""
    return _with_suffixes(incomplete, MASKS)


def export_names(incomplete: str) -> list[str]:
    """Return names of what a mask is exported to: what is written, with each suffix that fits."""
    from pipeline.io.suffixes import SIDECARS, VECTORS

    return _with_suffixes(incomplete, (*MASKS, *VECTORS, *SIDECARS, ".dcm"))


def _with_suffixes(incomplete: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return what is written with each suffix of which at least the dot is written."""
    folder, slash, name = incomplete.rpartition("/")
    stem, dot, _ = name.partition(".")
    if not stem or not dot:
        return []
    found = (f"{folder}{slash}{stem}{suffix}" for suffix in dict.fromkeys(suffixes))
    return [each for each in found if each.startswith(incomplete)]


_BY_ROLE: dict[str, Completer] = {"model": model_names, "output": mask_names}
