"""The core that these tests are about: a missing one is a skip on a person's machine and a failure in CI."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from flyte_build.native import blob, library
from flyte_build.native.__main__ import MACHINES, build
from flyte_build.native.library import Core


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> ctypes.CDLL:
    """The core's functions; Python's assembler must not be fallen back on in silence."""
    monkeypatch.delenv(library.VARIABLE, raising=False)
    found = library.core()
    if found.library is None:
        if os.environ.get("CI") and os.uname().machine in MACHINES:
            pytest.fail(f"expected the native core, found {found}: run ./dev setup")
        pytest.skip(f"{found}: run ./dev setup")
    return found.library


@pytest.fixture
def only_native(native: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> ctypes.CDLL:
    """The same, and what it leaves to Python's assembler fails."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the core gave up")

    monkeypatch.setattr(blob, "write_purely", never)
    return native


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Core:
    """A core as on a processor without AVX-512."""
    path: Path = tmp_path_factory.mktemp("core") / "core.so"
    build(path, os.uname().machine, "-DNARROW")
    return library.load(path)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Core:
    """A core whose every limit is small, without a processor's own instructions, that stops at undefined behaviour."""
    path: Path = tmp_path_factory.mktemp("core") / "core.so"
    build(path, os.uname().machine, "-DSMALL", "-DPORTABLE", "-fsanitize=undefined", "-fsanitize-trap=undefined")
    return library.load(path)
