from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.submit.action import ImageRoot
from tests.support.flyte_files import host_image


@pytest.fixture
def image(tmp_path: Path) -> ImageRoot:
    return host_image(tmp_path, f"sha256:{1:064x}")
