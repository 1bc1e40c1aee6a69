"""What a repository on a hub has, and a commit of all files of a model to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from pipeline.models.hub.address import HubAddress
from pipeline.models.hub.client import api, fetch_file, told


@dataclass(frozen=True)
class Held:
    """What a repository has in its main branch."""

    address: HubAddress
    """Of its last commit."""
    private: bool
    files: tuple[str, ...]

    def path(self, name: str) -> Path | None:
        """Return a copy of a file; None if there is none of this name."""
        return fetch_file(self.address, name) if name in self.files else None


@dataclass(frozen=True)
class Published:
    """A model on a hub, after it was published."""

    model: str
    """Address of the commit, for `--model`."""
    page: str
    """Address of its page."""
    commit: str
    private: bool
    status: str
    """"published", or "unchanged" if all was there already."""


def look_at(address: HubAddress) -> Held | None:
    """Return what a repository has; None if there is none, or none that this user may see."""
    with told(address):
        try:
            info = api().model_info(address.repo)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None
    return Held(address.at(info.sha), bool(info.private), tuple(file.rfilename for file in info.siblings or ()))


def commit_files(
    address: HubAddress,
    files: Mapping[str, Path | bytes],
    held: Held | None,
    *,
    removed: Collection[str] = (),
    private: bool = True,
) -> Published:
    """Write files in one commit, in a new repository unless there is one, and return where they are.

    Args:
        address: The repository.
        files: By their names in it.
        held: What it has; None: it is made. It is refused if there is another commit since.
        removed: Names of files to take away.
        private: Whether a new one is private.

    Raises:
        UnreachableError: if the hub cannot be reached.
        ModelError: if this user may not write there.

    """
    writes = [CommitOperationAdd(name, content) for name, content in files.items()]
    removes = [CommitOperationDelete(name) for name in sorted(removed)]
    hub = api()
    with told(address):
        if held is None:
            hub.create_repo(address.repo, private=private)
        done = hub.create_commit(
            address.repo,
            [*writes, *removes],
            commit_message="Publish a model",
            parent_commit=None if held is None else held.address.revision,
        )
    return Published(
        model=str(address.at(done.oid)),
        page=f"{hub.endpoint}/{address.repo}",
        commit=done.oid,
        private=private if held is None else held.private,
        status="unchanged" if held is not None and done.oid == held.address.revision else "published",
    )
