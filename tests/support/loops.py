"""Cases that only `make test-loops` takes: each repeats, with other values, what the cases beside it hold."""

from __future__ import annotations

from typing import Any

import pytest


def loop(*values: Any) -> Any:
    """A case for `parametrize` with these values."""
    return pytest.param(*values, marks=pytest.mark.loop)
