"""Items of STAC catalogues as inputs: from a file or an address, or by a search. Only this module knows pystac."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pystac
from pystac.errors import STACError, STACTypeError
from pystac_client import Client, ConformanceClasses
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from requests.exceptions import RequestException

from pipeline.config import Search
from pipeline.errors import InputError, RequestError
from pipeline.io.address import shown

_USUAL = ("visual", "image", "data")
"""Names of assets that are taken where none is asked for."""
_CLOUDS = "eo:cloud_cover"
_TRIES, _PATIENCE = 5, 30.0


class Found(NamedTuple):
    """An input, and the name that its mask is to have."""

    input: str
    name: str


def read_items(place: str, asset: str | None) -> list[Found]:
    """The inputs of an Item or an ItemCollection in a file or at an address, in its order.

    Raises InputError where it cannot be read, RequestError where an item has no such asset.
    """
    try:
        said = pystac.StacIO.default().read_json(place)
        features = [said] if said.get("type") == "Feature" else said["features"]
        items = [pystac.Item.from_dict(_placed(feature, place)) for feature in features]
        return [_found(item, asset) for item in items]
    except RequestError:
        raise
    except (STACError, STACTypeError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{shown(place)}: cannot be read as STAC Item or ItemCollection ({reason})") from error


def search_items(search: Search, asset: str | None) -> list[Found]:
    """The inputs that a STAC API finds, oldest first. Raises InputError where it does not answer."""
    try:
        client = Client.open(search.url, stac_io=StacApiIO(max_retries=_TRIES, timeout=_PATIENCE))
        asked: dict[str, Any] = {"collections": list(search.collections) or None, "bbox": search.bbox}
        if search.cloud_cover is not None and client.conforms_to(ConformanceClasses.QUERY):
            asked["query"] = {_CLOUDS: {"lte": search.cloud_cover}}
        pages = client.search(**asked, datetime=_time_of(search), max_items=search.limit)
        items = [item for item in pages.items() if _clear(item, search.cloud_cover)]
    except (APIError, RequestException, STACError, STACTypeError, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{shown(search.url)}: the search fails ({error}); see to its address and words") from error
    return [_found(item, asset) for item in sorted(items, key=lambda item: (str(item.datetime), item.id))]


def _placed(item: Mapping[str, Any], place: str) -> dict[str, Any]:
    """An item that says where it lies, so that relative addresses in it can be found."""
    links = item.get("links", [])
    known = any(link.get("rel") == "self" for link in links)
    return {**item, "links": links if known else [*links, {"rel": "self", "href": place}]}


def _found(item: pystac.Item, asset: str | None) -> Found:
    named = [name for name in ((asset,) if asset else _USUAL) if name in item.assets]
    images = [name for name, about in item.assets.items() if "tif" in (about.media_type or "")]
    chosen = named or ([] if asset or len(images) != 1 else images)
    if not chosen:
        there = ", ".join(item.assets) or "none"
        raise RequestError(f"STAC item {item.id}: has the assets {there}; choose one with --asset")
    address = item.assets[chosen[0]].get_absolute_href()
    return Found(address or item.assets[chosen[0]].href, _file_name(item.id))


def _file_name(identity: str) -> str:
    """The name of an item as that of a file, which stays in its folder."""
    return re.sub(r"[^\w.+-]", "_", identity).lstrip(".") or "item"


def _clear(item: pystac.Item, most: float | None) -> bool:
    clouds = item.properties.get(_CLOUDS)
    return most is None or (clouds is not None and float(clouds) <= most)


def _time_of(search: Search) -> str | None:
    if search.days is None:
        return search.datetime
    now = datetime.now(UTC)
    return f"{now - timedelta(days=search.days):%Y-%m-%dT%H:%M:%SZ}/{now:%Y-%m-%dT%H:%M:%SZ}"
