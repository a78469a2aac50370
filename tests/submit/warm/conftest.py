from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.submit.action import ImageRoot
from flyte_build.submit.warm.company import Company
from tests.support.flyte_files import host_image


@pytest.fixture(autouse=True)
def known_for_company(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every action may be a fork, a run's first one, too: what is tried here are forks."""
    if "company" not in request.path.name:
        monkeypatch.setattr(Company, "joins", lambda *_: True)


@pytest.fixture
def image(tmp_path: Path) -> ImageRoot:
    return host_image(tmp_path, f"sha256:{1:064x}")
