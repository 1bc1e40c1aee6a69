"""Object stores of each scheme, for tests that hold for all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support import azure, google, objects
from tests.support.loops import loop
from tests.support.objects import Proxy, Store

SCHEMES = ("s3", "gs", "az")
on_each = pytest.mark.parametrize("store", SCHEMES, indirect=True)
"""Of a test that holds for the stores of all schemes."""
on_first = pytest.mark.parametrize("store", [SCHEMES[0], *map(loop, SCHEMES[1:])], indirect=True)
"""Of one that asks others for nothing that tests beside it do not ask them for as well."""
on_others = pytest.mark.parametrize("store", SCHEMES[1:], indirect=True)
_SERVERS = {"s3": "s3", "gs": "google", "az": "azurite"}
_ENVIRONMENTS = {"s3": objects.environment, "gs": google.environment, "az": azure.environment}


def server_of(scheme: str) -> str:
    """The fixture that is the server of a scheme."""
    return _SERVERS[scheme]


def environment_of(scheme: str, address: str) -> dict[str, str]:
    """What a user of a server sets."""
    return _ENVIRONMENTS[scheme](address)


def words_for(scheme: str, address: str) -> tuple[dict[str, str], ...]:
    """The same in the words of several programs, for Google and Azure."""
    return google.environments(address) if scheme == "gs" else azure.environments(address)


def store_on(scheme: str, server: str, s3: str, proxy: Proxy) -> Store:
    """A bucket of its own for a test; Google's objects lie on the S3 server."""
    if scheme == "az":
        return azure.Container(azure.make_container(server), server, proxy)
    place = replace(objects.make_bucket(s3), scheme=scheme)
    return google.Bucket(place, s3, proxy, server) if scheme == "gs" else Store(place, s3, proxy)
