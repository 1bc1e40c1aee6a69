"""The Prefect server that is configured, by the environment or by the active profile; Prefect is not imported."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path


def configured_server() -> tuple[str, str] | None:
    """Return the address of the Prefect server that is configured, and where; None: there is none."""
    if "PREFECT_API_URL" in os.environ:
        return (os.environ["PREFECT_API_URL"], "PREFECT_API_URL") if os.environ["PREFECT_API_URL"] else None
    home = Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect"))
    try:
        profiles = tomllib.loads((home / "profiles.toml").read_text(encoding="utf-8"))
        active = os.environ.get("PREFECT_PROFILE", profiles.get("active", ""))
        address = profiles["profiles"][active].get("PREFECT_API_URL")
    except (OSError, KeyError, AttributeError, TypeError, ValueError):
        return None
    return (str(address), f"profile {active}") if address else None
