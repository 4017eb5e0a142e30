"""What the tests with a browser share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browsers import Browser, chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Yield a Chromium."""
    with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running
