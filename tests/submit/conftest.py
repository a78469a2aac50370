"""Shared pieces of the launcher's tests: both ways into a sandbox, and runs of the workflows next door."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.action import ImageRoot, RootAction
from flyte_build.submit.observer import Collector
from flyte_build.submit.run import RunRequest, RunResult, execute
from flyte_build.submit.sandbox.bubblewrap import Bubblewrap
from flyte_build.submit.sandbox.engines import available
from flyte_build.submit.sandbox.entrance import Entrance, choose
from flyte_build.submit.sandbox.namespaces import Unshare
from flyte_build.submit.sandbox.spec import Engine
from tests.support.flyte_files import dry_run, host_image
from tests.support.sandboxes import Forking
from tests.support.tools import need

WORKFLOWS = Path(__file__).with_name("workflows")


@functools.cache
def _entrance(kind: type[Engine]) -> Entrance:
    return choose(network="host", engines=[e for e in available() if isinstance(e, kind)])


@pytest.fixture(params=[Bubblewrap, Unshare], ids=["bubblewrap", "unshare"])
def engine(request: pytest.FixtureRequest) -> Entrance:
    """Each engine in turn, with the owner of processes that runs have."""
    if request.param is Bubblewrap:
        need("bwrap", "bubblewrap")
    else:
        need("unshare", "util-linux")
    return _entrance(request.param)


@pytest.fixture(params=[False, True], ids=["cold", "forked"])
def entered(request: pytest.FixtureRequest, engine: Entrance) -> Entrance:
    """Each engine in turn, for sandboxes of its own and for those of a worker's forks in one of its own."""
    return Forking.of(engine) if request.param else engine


class Runs:
    """Runs of ``workflows/`` in one folder, on images that borrow the host's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs_dir = folder / "runs"
        self.cache = folder / "cache"
        self.images: dict[str, ImageRoot] = {}
        self.observer = Collector()
        self._count = itertools.count(1)
        for number, name in enumerate(("leaf", "middle", "top", "trouble", "trouble-private"), 1):
            self.images[name] = host_image(folder / "images", f"sha256:{number:064x}", {"IMAGE_NAME": name})

    def action(self, module: str, task: str, **inputs: object) -> RootAction:
        return dry_run(WORKFLOWS, module, task, self.folder / f"bundle-{next(self._count)}", **inputs)

    def request(self, root: RootAction, name: str, **options: Any) -> RunRequest:
        by_digest = {image.digest: image for image in self.images.values()}
        images = {environment: image.digest for environment, image in self.images.items()}
        return RunRequest(name, self.runs_dir, root, images, by_digest.__getitem__, self.cache, **options)

    def run(self, root: RootAction, name: str, **options: Any) -> RunResult:
        return execute(self.request(root, name, **options), self.observer)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.fixture
def outputs() -> Callable[[RunResult], Any]:
    """The root's only output as Python values."""
    from flyteidl2.task import common_pb2

    def value(literal: Any) -> Any:
        if literal.HasField("collection"):
            return [value(item) for item in literal.collection.literals]
        primitive = literal.scalar.primitive
        return getattr(primitive, primitive.WhichOneof("value"))

    def read(result: RunResult) -> Any:
        assert result.outputs is not None, result.error
        (named,) = common_pb2.Outputs.FromString(result.outputs).literals
        return value(named.value)

    return read
