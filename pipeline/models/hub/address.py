"""Addresses of models on a hub. Knows nothing of the client, so that names are told apart without it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import ModelError

PREFIX = "hf:"
_WORD = r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?"
_ADDRESS = re.compile(rf"hf:(?P<repo>{_WORD}/{_WORD})(?:@(?P<revision>\w[\w./+-]*))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NO_REPOSITORY, _NO_REVISION = re.compile(r"\.\.|--"), re.compile(r"\.\.|//|/$|\.lock$")
"""What no name has: the cache makes folders of them."""


@dataclass(frozen=True)
class HubAddress:
    """A repository on a hub, and a branch, tag or commit of it."""

    repo: str
    """Owner and name, with a slash between them."""
    revision: str | None = None
    """None: the main branch."""

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}" + ("" if self.revision is None else f"@{self.revision}")

    @property
    def pinned(self) -> bool:
        """Whether it is a commit, which always has the same files."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    def at(self, commit: str) -> HubAddress:
        """Return the address of a commit."""
        return replace(self, revision=commit)


def is_on_hub(ref: str | Path) -> bool:
    """Return whether a model is named by its address on a hub."""
    return str(ref).startswith(PREFIX)


def parse_address(ref: str | Path) -> HubAddress:
    """Return the address that a text such as `hf:owner/name@revision` is.

    Raises:
        ModelError: if it is none.

    """
    found = _ADDRESS.fullmatch(str(ref))
    if found is None or _NO_REPOSITORY.search(found["repo"]) or _NO_REVISION.search(found["revision"] or ""):
        raise ModelError(
            f"{ref}: is not an address of a model on a hub; write hf:owner/name, or hf:owner/name@revision with a "
            "branch, a tag or a commit"
        )
    return HubAddress(found["repo"], found["revision"])


def cache_of(path: Path) -> Path | None:
    """Return the folder of a repository in the client's cache that a file is in; None for other files."""
    inside = (folder for folder in path.parents if folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name))
    found = next(inside, None)
    return None if found is None else found.parent.parent
