from __future__ import annotations

from pathlib import Path

import pytest

from .layers import layer


@pytest.fixture(scope="session")
def blob(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer of all kinds of entries, made once; no test changes it."""
    return layer(tmp_path_factory.mktemp("layers") / "layer")
