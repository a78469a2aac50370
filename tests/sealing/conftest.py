"""Steps over a root of the host's own shell and tools, in a folder of the test."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from flyte_build.kernel.reporting import Recorder
from flyte_build.sealing import Below, Outcome, Secret, Step, seal

from ..support.bases import layer
from ..support.tiny_root import layer_blob, tiny_root
from ..support.tools import lacking, need

Sealed: TypeAlias = Callable[..., Outcome]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Below:
    if os.geteuid() != 0:
        need("newuidmap", "uidmap")
    if not Path("/proc/self/ns/user").exists():
        lacking("this kernel has no user namespaces")
    path = tmp_path_factory.mktemp("base") / "layer.tar.gz"
    return Below(path, layer_blob(path, tiny_root()))


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Mapping[str, Any]], Below]:
    """A layer of entries, as ``tests.support.bases`` writes them."""

    def made(entries: Mapping[str, Any]) -> Below:
        data = layer(entries)
        path = tmp_path / f"tree-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        return Below(path, f"sha256:{hashlib.sha256(data).hexdigest()}")

    return made


@pytest.fixture
def sealed(base: Below, tmp_path: Path) -> Sealed:
    """Seal commands over the base and ``files`` (further layers); ``log`` is in the test's folder. ``step``: more of
    the step's fields."""

    def run(
        *commands: str,
        files: Sequence[Mapping[str, bytes | str]] = (),
        secrets: Sequence[Secret] = (),
        lent: Mapping[str, str] | None = None,
        workdir: str = "/",
        environment: Mapping[str, str] | None = None,
        step: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Outcome:
        layers = [base]
        for number, held in enumerate(files):
            path = tmp_path / f"below-{number}.tar.gz"
            layers.append(Below(path, layer_blob(path, files=held)))
        variables = {"PATH": "/bin:/usr/bin", **(environment or {})}
        made = Step("run it", commands, variables, workdir, "none", tuple(secrets), lent or {}, **(step or {}))
        return seal(made, layers, tmp_path / "work", tmp_path / "log", Recorder(), **more)

    return run
