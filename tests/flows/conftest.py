from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one Prefect server for all tests of flows: it takes seconds to start."""
    from tests.support.servers import prefect_server

    with prefect_server(tmp_path_factory.mktemp("prefect")) as known:
        yield known
