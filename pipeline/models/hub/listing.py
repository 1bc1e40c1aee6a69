"""The models of this program that a hub has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.models.hub.address import PREFIX
from pipeline.models.hub.client import api, told

TAG = "pipeline-model-card"
"""Tag of each repository that `pipeline publish` writes: it has a card that this program reads."""
MOST = 100
"""Models that are listed, the most used ones first."""
_FIELDS = ["sha", "tags", "private", "downloads", "lastModified"]
_KINDS = ("scene", "volume")
_LICENSE = "license:"


@dataclass(frozen=True)
class HubModel:
    """A model on a hub, as the hub lists it."""

    model: str
    """Its address, for `--model`."""
    commit: str
    kind: str
    """What it segments, "scene" or "volume"; empty: its page does not say."""
    license: str
    private: bool
    downloads: int
    """In the last month."""
    changed: str
    """Day of the last commit, as `2026-11-30`."""


def find_hub_models(query: str) -> list[HubModel]:
    """Return the models whose name or page has the words of a query, the most used ones first; with "", all of them.

    Raises:
        UnreachableError: if the hub cannot be reached.

    """
    with told(None):
        found = api().list_models(search=query or None, filter=TAG, sort="downloads", limit=MOST, expand=_FIELDS)
        return [_listed(info) for info in found]


def _listed(info: Any) -> HubModel:  # noqa: ANN401  (of the client)
    tags = info.tags or []
    return HubModel(
        model=f"{PREFIX}{info.id}",
        commit=info.sha or "",
        kind=next((kind for kind in _KINDS if kind in tags), ""),
        license=next((tag.removeprefix(_LICENSE) for tag in tags if tag.startswith(_LICENSE)), ""),
        private=bool(info.private),
        downloads=info.downloads or 0,
        changed="" if info.last_modified is None else f"{info.last_modified:%Y-%m-%d}",
    )
