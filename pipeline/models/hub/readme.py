"""The front matter of a page on a hub: what the hub finds and sorts models by."""

from __future__ import annotations

from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from pipeline.models.card import Card
from pipeline.models.hub.listing import TAG

_LICENSES = frozenset(
    {
        *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "unlicense", "odbl", "pddl", "odc-by"),
        *("gpl-3.0", "lgpl-3.0", "agpl-3.0", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
        *("cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0"),
    }
)
"""SPDX names, in small letters, that the hub knows; others are told by name."""
_OTHER = "other"


def body_of(page: str) -> str:
    """Return a page without its front matter.

    Raises:
        ValueError: if that is none.

    """
    return str(ModelCard(page).text).lstrip("\n") if page.startswith("---") else page


def with_front_matter(body: str, card: Card, before: str | None = None) -> str:
    """Return a page with the front matter of a model; keys that it had `before`, and we do not write, are kept."""
    known: dict[str, Any] = {} if before is None or not before.startswith("---") else ModelCard(before).data.to_dict()
    tags = list(dict.fromkeys([*_tags(card), *known.pop("tags", ())]))
    for key in ("license", "license_name"):
        known.pop(key, None)
    data = ModelCardData(**{**known, **_license(card.license), **_facts(card)}, tags=tags)
    return f"---\n{data.to_yaml()}\n---\n\n{body}"


def _tags(card: Card) -> list[str]:
    return [TAG, card.kind, "semantic-segmentation"]


def _facts(card: Card) -> dict[str, Any]:
    return {"pipeline_tag": "image-segmentation", "library_name": "pipeline", "training_data": card.credits}


def _license(license_: str) -> dict[str, str]:
    word = license_.lower()
    return {"license": word} if word in _LICENSES else {"license": _OTHER, "license_name": license_}
