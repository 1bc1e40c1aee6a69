"""Publish a model on a hub: its files, and its page as README."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pipeline.errors import ModelError, OutputError, RequestError, first_of
from pipeline.models.card import Card, read_card
from pipeline.models.catalogue import CARD, INT8_GRAPH, INT8_WEIGHTS, MODEL, NETWORK, Files, digests_of, find_model
from pipeline.models.hub.address import HubAddress, is_on_hub, parse_address
from pipeline.models.hub.readme import body_of, with_front_matter
from pipeline.models.hub.repository import Held, Published, commit_files, look_at
from pipeline.models.store import check_sha256
from pipeline.reports.model import model_page
from pipeline.reports.model_markdown import is_generated, markdown

README = "README.md"
_CHARTS, _PICTURES = "charts", "pictures"
_OF_MODELS = frozenset((CARD, MODEL, NETWORK, INT8_GRAPH, INT8_WEIGHTS))
_SHOWN = 12
"""Digits of the SHA-256 of weights that are shown."""


@dataclass(frozen=True)
class Publication:
    """What is to be published, and how."""

    model: str
    """Name or path of the model."""
    to: str
    """Address of the repository, `hf:owner/name`."""
    pictures: Path | None = None
    """Folder of `evaluate --pictures`; None: the page has none."""
    public: bool = False
    """Whether a new repository can be seen by everybody."""
    overwrite: bool = False
    """Whether files of another model may be replaced."""


def publish_on_hub(asked: Publication) -> Published:
    """Write the card, the weights, the int8 form and the page of a model in one commit, and return where they are.

    The files are compared with the card first. What else a repository has is left alone.

    Raises:
        RequestError: if it cannot be published there.
        ModelError: if there is no such model, its files are not those of its card, or the hub refuses it.
        OutputError: if the repository has files of another model, or a page of another hand, and may not lose them.

    """
    address = _target(asked)
    files = find_model(asked.model)
    card, digests = read_card(files.card), digests_of(files.card)
    stored = _stored(files, digests)
    for name, path in stored.items():
        if name in digests:
            check_sha256(path, digests[name], files.card)
    held = look_at(address)
    before = None
    if held is not None:
        _check_free(held, card, stored, asked)
        before = _page_of(held, overwrite=asked.overwrite)
    page = _page(card, files, address, asked.pictures, before)
    stale = _stale(held, {*stored, *page})
    return commit_files(address, {**stored, **page}, held, removed=stale, private=not asked.public)


def _target(asked: Publication) -> HubAddress:
    if not is_on_hub(asked.to):
        raise RequestError(f"{asked.to}: is not an address on a hub; write hf:owner/name")
    address = parse_address(asked.to)
    if address.revision is not None:
        raise RequestError(f"{address}: a model is published in the main branch; leave out @{address.revision}")
    if asked.pictures is not None and not asked.pictures.is_dir():
        raise RequestError(f"--pictures {asked.pictures}: no such folder; `pipeline evaluate --pictures` writes one")
    return address


def _stored(files: Files, digests: Collection[str]) -> dict[str, Path]:
    """Return the files of a model by their usual names, the weights first."""
    first, *others = digests
    beside = {name: files.weights.parent / name for name in others}
    return {first: files.weights, **beside, CARD: files.card}


def _check_free(held: Held, card: Card, stored: Collection[str], asked: Publication) -> None:
    """Raise unless a repository may take the model."""
    if asked.public and held.private:
        raise RequestError(f"--public: {asked.to} is there and private; its settings on the hub change that")
    there, other = held.path(CARD), [name for name in held.files if name in {*stored, *_OF_MODELS}]
    if asked.overwrite or not other:
        return
    what = f"files of something else ({first_of(other)})" if there is None else _other_model(there, card)
    if what:
        raise OutputError(
            f"{asked.to}: has {what}; use --overwrite to replace it (its earlier commits stay), or give another name"
        )


def _other_model(path: Path, card: Card) -> str:
    """Return which other model a card is of; empty if it is of the same weights."""
    try:
        there = read_card(path)
    except ModelError:
        return f"a {CARD} that this version does not read"
    if there.weights_sha256 == card.weights_sha256:
        return ""
    mine, its = card.weights_sha256[:_SHOWN], there.weights_sha256[:_SHOWN]
    return f"another model, {there.name} with the weights {its}...; this is {card.name} with {mine}..."


def _page_of(held: Held, *, overwrite: bool) -> str | None:
    """Return the page that is there, if its generated part is to be replaced; None: there is none to keep."""
    path = held.path(README)
    text = None if path is None else path.read_text(encoding="utf-8")
    if text is None or is_generated(text):
        return text
    if overwrite:
        return None
    raise OutputError(f"hf:{held.address.repo}: has a {README} that was not generated; use --overwrite to replace it")


def _page(
    card: Card, files: Files, address: HubAddress, pictures: Path | None, before: str | None
) -> dict[str, Path | bytes]:
    """Return the page of a model and its charts and pictures, by their names in the repository."""
    page = model_page(card.name, files, pictures)
    charts = {f"{_CHARTS}/{chart.name}.svg": chart.svg.encode() for one in page.evaluations for chart in one.charts}
    shown = {f"{_PICTURES}/{one.path.name}": one.path for one in (*page.pictures, *page.failures)}
    body = markdown(
        page,
        lambda name: quote(f"{_CHARTS}/{name}.svg"),
        lambda one: quote(f"{_PICTURES}/{one.path.name}"),
        None if before is None else body_of(before),
    )
    text = with_front_matter(body if before is not None else body + _use(card, address), card, before)
    return {README: text.encode(), **charts, **shown}


def _use(card: Card, address: HubAddress) -> str:
    item = "scene.tif" if card.kind == "scene" else "volume.nii.gz"
    return f"\n## Use it\n\n```\npipeline run --input {item} --model {address}\n```\n"


def _stale(held: Held | None, now: Collection[str]) -> list[str]:
    """Return the files of the model that was there before, which the new one does not have."""
    if held is None:
        return []
    card = held.path(CARD)
    try:
        its = {} if card is None else digests_of(card)
    except ModelError:
        its = {}
    return [name for name in held.files if name in {*its, *_OF_MODELS} and name not in now]
