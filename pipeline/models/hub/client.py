"""Fetch files of models with the hub's own client, into its cache; and what its errors mean to the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from pipeline.errors import ModelError, PipelineError, UnreachableError, first_of
from pipeline.models.hub.address import HubAddress

_PATIENCE = 10
"""Seconds that the hub has to answer."""
_BUSY, _BROKEN, _MOVED = 429, 500, (409, 412)
"""Statuses of answers: come again; from here on, the hub is at fault; another commit is there."""
_CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".onnx")
"""Ends of names of what `pipeline import-weights` may read."""


def api() -> HfApi:
    """Return the client, which finds its token, its hub and its cache by itself."""
    return HfApi(library_name="pipeline", library_version=version("pipeline"))


def fetch_card(address: HubAddress, name: str) -> Path:
    """Fetch the card of a model and return its path, which is in a folder with the name of its commit.

    A branch or a tag is looked up at each call; a commit is not, once it is in the cache. Where the hub cannot be
    reached, a branch stands for the commit that it was when it was last seen from here.

    Raises:
        UnreachableError: if the hub cannot be reached, and it is not in the cache.
        ModelError: if there is none, or it is not for this user.

    """
    known = _cached(address, name)
    if known is not None and address.pinned:
        return known
    with told(address, name):
        try:
            files = _files(address)
        except (HTTPError, OfflineModeIsEnabled) as error:
            if known is not None and is_passing(error):
                return known
            raise
        if name not in files:
            raise ModelError(f"{address}: {_without_card(address, name, files)}")
        return _download(address, name)


def fetch_file(address: HubAddress, name: str) -> Path:
    """Fetch a file of a commit, unless it is in the cache, and return its path.

    Raises:
        UnreachableError: if the hub cannot be reached, and it is not in the cache.
        ModelError: if there is no such file.

    """
    if (known := _cached(address, name)) is not None:
        return known
    with told(address, name):
        return _download(address, name)


def _cached(address: HubAddress, name: str) -> Path | None:
    with told(address, name):
        try:
            found = api().hf_hub_download(address.repo, name, revision=address.revision, local_files_only=True)
        except LocalEntryNotFoundError:
            return None
    return Path(found)


def _files(address: HubAddress) -> list[str]:
    info = api().model_info(address.repo, revision=address.revision, timeout=_PATIENCE)
    return [file.rfilename for file in info.siblings or ()]


def _download(address: HubAddress, name: str) -> Path:
    return Path(api().hf_hub_download(address.repo, name, revision=address.revision))


def _without_card(address: HubAddress, name: str, files: list[str]) -> str:
    weights = [file for file in files if file.endswith(_CHECKPOINTS)]
    if not weights:
        return f"has neither a {name} nor a file of weights, so it is no model of this program"
    return (
        f"has no {name}, so it is not known how to run it. Download its weights ({first_of(weights, 3)}), e.g. "
        f"`hf download {address.repo} {weights[0]} --local-dir FOLDER`, and make a model of them with "
        "`pipeline import-weights`"
    )


@contextmanager
def told(address: HubAddress | None, name: str = "") -> Iterator[None]:
    """Turn errors of the client into those of this program.

    Args:
        address: What the user named; None: a list of models.
        name: The file that is fetched; empty: none is.

    """
    try:
        yield
    except (HTTPError, OSError, ValueError) as error:
        if isinstance(error, PipelineError):
            raise
        kind = UnreachableError if is_passing(error) else ModelError
        raise kind(f"{address or '--hub'}: {_meaning(address, name, error)}") from error


def is_passing(error: Exception) -> bool:
    """Return whether an error of the client may pass: the hub cannot be reached, or is busy."""
    if isinstance(error, HfHubHTTPError):
        status = int(error.response.status_code)
        return status >= _BROKEN or status == _BUSY
    return isinstance(error, (HTTPError, OfflineModeIsEnabled, LocalEntryNotFoundError))


def _meaning(address: HubAddress | None, name: str, error: Exception) -> str:
    """Return what an error means and what to do; nothing of what was sent, which may hold a token."""
    hub = api().endpoint
    if is_passing(error):
        return _unreachable(hub, name, error)
    if isinstance(error, HfHubHTTPError) and not isinstance(error, EntryNotFoundError):
        return _refused(hub, address, error)
    if isinstance(error, EntryNotFoundError):
        return f"its card needs {name}, which is not in the repository; it is incomplete: choose another revision"
    if isinstance(error, OSError):
        return _unwritten(name, error)
    return f"{hub} did not answer as a hub does ({type(error).__name__}); check HF_ENDPOINT"


_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def _refused(hub: str, address: HubAddress | None, error: HfHubHTTPError) -> str:
    if address is not None:
        page = f"{hub}/{address.repo}"
        if isinstance(error, GatedRepoError):
            return f"is gated; ask for access at {page}, then {_LOG_IN}"
        if isinstance(error, RevisionNotFoundError):
            return f"there is no revision {address.revision!r}; {page}/tree/main shows those that there are"
        if isinstance(error, RepositoryNotFoundError):
            return f"there is no such repository on {hub}, or it is private and {_who()}"
    if error.response.status_code in _MOVED:
        return "somebody else has written to it meanwhile, or it is there and not yours; run the same command again"
    return f"{hub} refused it ({_status(error)}); {_who()}"


def _who() -> str:
    return f"you are not logged in: {_LOG_IN}" if get_token() is None else "your token has no access to it"


def _status(error: HfHubHTTPError) -> str:
    return f"{error.response.status_code} {error.response.reason_phrase}"


def _unwritten(name: str, error: OSError) -> str:
    if error.strerror is None:
        return f"{name} did not arrive whole; run the same command again"
    place = error.filename or constants.HF_HUB_CACHE
    return f"{place} cannot be written ({error.strerror}); HF_HOME is the folder of the cache"


def _unreachable(hub: str, name: str, error: Exception) -> str:
    cache = f", and it is not in the cache {constants.HF_HUB_CACHE}" if name else ""
    if constants.is_offline_mode():
        return f"HF_HUB_OFFLINE is set{cache}; unset it once"
    if isinstance(error, HfHubHTTPError):
        return f"{hub} answered {_status(error)}{cache}; try again later"
    why = type(error.__cause__ or error).__name__
    return f"{hub} cannot be reached ({why}){cache}; check the network, HF_ENDPOINT and proxies"
