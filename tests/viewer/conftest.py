from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.viewer import put_image_and_mask, served


@pytest.fixture(scope="package")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A scene and its mask."""
    return put_image_and_mask(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="package")
def address(files: tuple[Path, Path]) -> Iterator[str]:
    """The address of a viewer of both."""
    with served(files) as known:
        yield known
