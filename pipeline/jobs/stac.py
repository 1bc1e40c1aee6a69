"""Read STAC Items as inputs, from a file, an address or a search. Only this module imports pystac."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pystac
from pystac.errors import STACError, STACTypeError
from pystac_client import Client, ConformanceClasses
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from requests.exceptions import RequestException

from pipeline.errors import InputError, RequestError
from pipeline.io.address import redact_url, stack_of
from pipeline.io.catalog import catalog_values
from pipeline.io.formats import Input, look
from pipeline.io.places import Places, places_of
from pipeline.jobs.request import Search

_USUAL = ("visual", "image", "data")
"""Names of assets that are taken where none is asked for."""
_CLOUDS = "eo:cloud_cover"
_TRIES, _PATIENCE = 5, 30.0


class NamedInput(NamedTuple):
    """An input, and the name of its mask."""

    input: str | Input
    name: str


def read_items(place: str, asset: str | None, allow: Sequence[str] = ()) -> list[NamedInput]:
    """Return the inputs of an Item or an ItemCollection at a path or an address, in its order.

    They lie in the folder of a file, or have the scheme of an address, or are in `allow`, as in `pipeline.io.places`.

    Raises:
        InputError: If it cannot be read, or if an input lies elsewhere.
        RequestError: If an item does not have the asset.

    """
    try:
        said = pystac.StacIO.default().read_json(place)
        features = [said] if said.get("type") == "Feature" else said["features"]
        items = [pystac.Item.from_dict(_with_self_link(feature, place)) for feature in features]
        return [_named_input(item, asset, places_of(place, allow)) for item in items]
    except RequestError:
        raise
    except (STACError, STACTypeError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{redact_url(place)}: cannot be read as a STAC Item or ItemCollection ({reason})") from error


def search_items(search: Search, asset: str | None, allow: Sequence[str] = ()) -> list[NamedInput]:
    """Return the inputs that a STAC API finds, oldest first; they have the scheme of its address, or are in `allow`.

    Raises:
        InputError: If the search fails, or if an input lies elsewhere.
        RequestError: If an item does not have the asset.

    """
    try:
        client = Client.open(search.url, stac_io=StacApiIO(max_retries=_TRIES, timeout=_PATIENCE))
        asked: dict[str, Any] = {"collections": list(search.collections) or None, "bbox": search.bbox}
        if search.cloud_cover is not None and client.conforms_to(ConformanceClasses.QUERY):
            asked["query"] = {_CLOUDS: {"lte": search.cloud_cover}}
        pages = client.search(**asked, datetime=_time_of(search), max_items=search.limit)
        items = [item for item in pages.items() if _clear(item, search.cloud_cover)]
    except (APIError, RequestException, STACError, STACTypeError, OSError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{redact_url(search.url)}: the search failed ({error}); check its address and parameters"
        ) from error
    places = places_of(search.url, allow)
    in_order = sorted(items, key=lambda item: (str(item.datetime), item.id))
    return [_named_input(_placed(item, search.url), asset, places) for item in in_order]


def _with_self_link(item: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return an item with a link to itself, against which relative addresses in it are resolved."""
    links = item.get("links", [])
    known = any(link.get("rel") == "self" for link in links)
    return {**item, "links": links if known else [*links, {"rel": "self", "href": place}]}


def _placed(item: pystac.Item, address: str) -> pystac.Item:
    """Return an item whose relative addresses count from `address`, unless it says where it is."""
    if item.get_self_href() is None:
        item.set_self_href(address)
    return item


def _named_input(item: pystac.Item, asset: str | None, places: Places) -> NamedInput:
    """Return the input of an item: the requested asset, or several, separated by commas, as the bands of one scene."""
    if asset is not None:
        words = [word.strip() for word in asset.split(",")]
        names = [_find_asset(item, word) for word in words]
        parts = [(word, _href(item, name, places)) for word, name in zip(words, names, strict=True)]
        where = parts[0][1] if len(parts) == 1 else stack_of(parts)
        return _with_values(NamedInput(where, _file_name(item.id)), item, names)
    images = [name for name, about in item.assets.items() if _is_tiff(about)]
    usual = [name for name in _USUAL if name in item.assets]
    chosen = usual or (images if len(images) == 1 else [])
    if not chosen:
        raise RequestError(f"STAC item {item.id}: has the assets {_asset_list(item)}; choose one with --asset")
    return _with_values(NamedInput(_href(item, chosen[0], places), _file_name(item.id)), item, chosen[:1])


def _with_values(named: NamedInput, item: pystac.Item, assets: Sequence[str]) -> NamedInput:
    """Return an input with what its item says about the values of these assets."""
    try:
        values = catalog_values(item.properties, [item.assets[name].extra_fields for name in assets])
    except TypeError as error:
        raise RequestError(f"STAC item {item.id}: {error}; correct it, or give the files themselves") from error
    return named if values is None else named._replace(input=replace(look(named.input), catalog=values))


def _find_asset(item: pystac.Item, word: str) -> str:
    """Return the name of an asset by its name, or by the common name of its only band; GeoTIFFs come first."""
    if word in item.assets:
        return word
    named = [name for name, about in item.assets.items() if word.lower() in _common_names(about)]
    chosen = [name for name in named if _is_tiff(item.assets[name])] or named
    if len(chosen) > 1:
        raise RequestError(f"STAC item {item.id}: {word} matches several assets: {', '.join(chosen)}; name one of them")
    if not chosen:
        raise RequestError(
            f"STAC item {item.id}: has the assets {_asset_list(item)}; choose one with --asset, not {word}"
        )
    return chosen[0]


def _common_names(asset: pystac.Asset) -> set[str]:
    """Return the names of an asset's only band, by STAC 1.0 or 1.1; none for an asset of several bands."""
    bands = asset.extra_fields.get("eo:bands") or asset.extra_fields.get("bands") or []
    if len(bands) != 1:
        return set()
    return {str(bands[0][key]).lower() for key in ("name", "common_name", "eo:common_name") if bands[0].get(key)}


def _asset_list(item: pystac.Item) -> str:
    """List the assets, with the common names of those that have one."""
    names = {name: sorted(_common_names(about) - {name.lower()}) for name, about in item.assets.items()}
    return ", ".join(f"{name} ({', '.join(common)})" if common else name for name, common in names.items()) or "none"


def _is_tiff(asset: pystac.Asset) -> bool:
    return "tif" in (asset.media_type or "")


def _href(item: pystac.Item, name: str, places: Places) -> str:
    asset = item.assets[name]
    try:
        return places.locate(asset.get_absolute_href() or asset.href)
    except ValueError as error:
        raise InputError(f"STAC item {item.id}: the asset {name} {error}") from error


def _file_name(identity: str) -> str:
    """Return the name of an item as a file name that stays in its folder."""
    return re.sub(r"[^\w.+-]", "_", identity).lstrip(".") or "item"


def _clear(item: pystac.Item, most: float | None) -> bool:
    clouds = item.properties.get(_CLOUDS)
    return most is None or (clouds is not None and float(clouds) <= most)


def _time_of(search: Search) -> str | None:
    if search.days is None:
        return search.datetime
    now = datetime.now(UTC)
    return f"{now - timedelta(days=search.days):%Y-%m-%dT%H:%M:%SZ}/{now:%Y-%m-%dT%H:%M:%SZ}"
