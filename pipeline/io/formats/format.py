"""The record of a format, and an input whose format is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pipeline.engine import Source
from pipeline.files.signatures import FileKind
from pipeline.geometry import Grid
from pipeline.io.address import redact_url
from pipeline.io.catalog import CatalogValues
from pipeline.io.mask import Mask, MaskInfo, MaskLayer
from pipeline.io.remote_files import File, RemoteFile

Kind = Literal["scene", "volume"]
Option = Literal["bands", "onto", "volume", "series"]


@dataclass(frozen=True)
class OpenOptions:
    """How an input is opened; `open_source` explains each."""

    bands: Sequence[int | str] | None = None
    onto: Grid | None = None
    affine: str = "strict"
    volume: int | None = None
    keep_text: bool = False
    series: str | None = None
    allow: Sequence[str] = ()


@dataclass(frozen=True)
class Input:
    """An input whose format is known: `pipeline.io.formats.look` makes one from a path."""

    text: str
    """A path, an address, or a mosaic or stack with its prefix."""
    format: Format = field(compare=False)
    remote: bool = field(default=False, compare=False)
    """Whether it is an address rather than a local file."""
    parts: tuple[tuple[str, Input], ...] = field(default=(), compare=False)
    """Name and file of each raster of a stack."""
    catalog: CatalogValues | None = field(default=None, compare=False)
    """What the catalog that it was found in says about its values."""

    @property
    def path(self) -> Path:
        """The file or folder, of an input that is one."""
        return Path(self.text)

    @cached_property
    def file(self) -> File:
        """The file here, or at the address, of an input that is one: it is read in the version that is met first."""
        return RemoteFile(self.text) if self.remote else self.path

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files here whose bytes are those of the input; none at an address."""
        return tuple(file for file in self.format.files(self) if isinstance(file, Path))

    @property
    def is_path(self) -> bool:
        """Whether it is one file or folder here."""
        return self.format.checked and not self.remote

    @property
    def name(self) -> str:
        """The input as it may be shown: an address without what gives access to it."""
        return redact_url(self.text)

    @property
    def first_volume(self) -> int | None:
        """The first of several volumes, where its format may hold several in one file."""
        return 0 if "volume" in self.format.takes else None

    @cached_property
    def header(self) -> Any:  # noqa: ANN401  (each format knows its own)
        """The part of its header that opening and versioning share, read once."""
        return self.format.header(self)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class MaskFormat:
    """How masks are written in a format."""

    write: Callable[[Mask, Path], None]
    """Writes a mask; the file appears under its name when it is whole."""
    info: Callable[[Path], MaskInfo]
    """Returns the metadata of a mask; KeyError, ValueError, InputError or OSError if it is not one."""
    write_layer: Callable[[MaskLayer, Path], None] | None = None
    """Writes a layer of a mask; the file appears under its name when it is whole."""
    sidecar: Callable[[Path], Path] | None = None
    """The file that is written beside a mask, and beside a layer."""
    suffixes: tuple[str, ...] = ()
    """Suffixes of masks, where they are not those of the format's files."""
    tiled: bool = False
    """Whether a mask takes over the chunks of a work store that are tiles."""


def _no_header(item: Input) -> None:
    """For formats of which nothing needs to be kept."""


def _itself(item: Input) -> tuple[File, ...]:
    return (item.file,)


def _alone(item: Input) -> Sequence[str | Input]:
    return (item,)


def _nothing(text: object) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Format:
    """A format of inputs, and of masks: all that differs between formats is in its record."""

    name: str
    matches: Callable[[str], bool]
    """Whether an input is of this format, by its name, or by a first look at the file."""
    open: Callable[[Input, OpenOptions], Source]
    kind: Kind | None = None
    """What is in it; None: either, as a look into the file says."""
    suffixes: tuple[str, ...] = ()
    """Suffixes of the files of this format in a folder."""
    read_only: tuple[str, ...] = ()
    """Further suffixes of its files in a folder, with which no mask is written."""
    unsure: tuple[str, ...] = ()
    """Suffixes that other formats have too: of files that have one, `matches` decides."""
    gathers: bool = False
    """Whether a folder, or a zip, of files is one input."""
    takes: tuple[Option, ...] = ()
    """Options of `open_source` that it has a use for."""
    checked: bool = True
    """Whether it is one file, folder or address that is checked before it is opened."""
    kinds: tuple[FileKind, ...] | None = None
    """What its files are by their first bytes; None: their first bytes are no help."""
    header: Callable[[Input], Any] = _no_header
    """Reads what `Input.header` keeps."""
    parts: Callable[[str], Sequence[tuple[str, str]]] = _nothing
    """Name and file of each input that this one is made of."""
    scenes: Callable[[Input], Sequence[str | Input]] = _alone
    """The scenes that it is put together of, each with a place of its own."""
    files: Callable[[Input], tuple[File, ...]] = _itself
    """The files whose bytes are those of the input."""
    also_read: Callable[[Input], Iterable[Path]] = _nothing
    """Further files that are read with it, such as the sources of a VRT, or the chunks of a store."""
    members: Callable[[Input], Sequence[str]] = _nothing
    """Names of the files in a folder or zip that is one input."""
    series: Callable[[Input], Sequence[str]] = _nothing
    """UIDs of the series that it holds."""
    version: Callable[[Input, str | None], dict[str, Any]] | None = None
    """Identifies the version of an input, or of a series in it; None: by name, size and date of its files."""
    digest: Callable[[Input], str] | None = None
    """The same as one string; None: from the files."""
    mask: MaskFormat | None = None
    """How masks are written; None: not in this format."""

    @property
    def mask_suffixes(self) -> tuple[str, ...]:
        """Suffixes of masks in this format."""
        return () if self.mask is None else self.mask.suffixes or self.suffixes
