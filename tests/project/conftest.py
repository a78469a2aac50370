"""Users' files are imported in these tests: each finds none of what another left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support.imports import forgotten


@pytest.fixture(autouse=True)
def fresh_imports() -> Iterator[None]:
    with forgotten():
        yield
