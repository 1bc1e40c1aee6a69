"""The Prefect server that runs would be tracked on, if one is configured; Prefect itself is not imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version

import httpx

from pipeline.doctor.finding import Finding, broken, ok, remark
from pipeline.doctor.profile import configured_server
from pipeline.io.address import redact, redact_url

_PATIENCE = 3.0
"""Seconds that a server may take to answer."""


def check_server() -> Iterator[Finding]:
    """Ask the server that is configured whether it is well, and which version it has."""
    own, found = version("prefect"), configured_server()
    if found is None:
        yield ok("Prefect", f"{own}; no server is configured, so runs are not tracked", prefect=own, server=None)
        return
    address, where = found
    shown = f"{redact_url(address)} ({where})"
    facts: dict[str, str | None] = {"prefect": own, "server": redact_url(address)}
    try:
        theirs = _ask(address)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        text = f"{own}; the server {shown} does not answer: {redact(str(error), address) or type(error).__name__}"
        yield broken("Prefect", text, "start it with `prefect server start`, or run with --no-prefect", **facts)
        return
    facts["version"] = theirs
    if theirs is not None and _release(theirs) < _release(own):
        text = f"{own}, and the server {shown} is {theirs}, which is older"
        yield remark("Prefect", text, f"pip install 'prefect=={theirs}', or a newer server", **facts)
    else:
        yield ok("Prefect", f"{own}; the server {shown} answers, version {theirs or 'unknown'}", **facts)


def _ask(address: str) -> str | None:
    """Return the version of a server; None where it does not tell it without an account."""
    with httpx.Client(timeout=_PATIENCE, headers=_account()) as client:
        client.get(f"{address}/health").raise_for_status()
        told = client.get(f"{address}/admin/version")
        return str(told.json()) if told.is_success else None


def _account() -> dict[str, str]:
    key = os.environ.get("PREFECT_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2] if part.isdigit())
