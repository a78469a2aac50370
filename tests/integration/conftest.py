"""One store and one set of images for the whole session: the example's, from the locks that are committed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from flyte_build.workspace import host_platform
from tests.support.cli import Cli
from tests.support.daemons import shell
from tests.support.tools import need

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "af2" / "main.py"
LOCKFILES = ROOT / "lockfiles"
ENVIRONMENTS = ("fold_env", "msa_env", "multi_env")


def reference(environment: str) -> str:
    """The name that an image has in a layout."""
    return f"{environment}-{host_platform().replace('/', '-')}"


@dataclass(frozen=True)
class Layout:
    """An OCI image layout with the example's images: environment → manifest digest."""

    path: Path
    digests: Mapping[str, str]

    def image(self, environment: str) -> str:
        """As skopeo, podman and buildah name it."""
        return f"oci:{self.path}:{reference(environment)}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A machine is set up from nothing last: it takes longest."""
    items.sort(key=lambda item: "integration/test_newcomer" in item.nodeid)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The session's own folder; gigabytes, and so removed at the end."""
    folder = tmp_path_factory.mktemp("it", numbered=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cli(home: Path) -> Cli:
    return Cli(home)


@pytest.fixture(scope="session")
def layout(cli: Cli, home: Path) -> Layout:
    """The example's images, built here and written to a layout of their own."""
    out = home / "layout"
    built = cli.ok("build", EXAMPLE, "--json", "--output", f"oci:{out}").json()["images"]
    assert not any(image["reused"] for image in built)
    return Layout(out, {image["environment"]: image["digest"] for image in built})


@pytest.fixture(scope="session")
def rootfs(layout: Layout, home: Path) -> Path:
    """The tree of multi_env's image, unpacked by umoci."""
    bundle = home / "umoci"
    shell(need("umoci"), "raw", "unpack", *rootless(), "--image", f"{layout.path}:{reference('multi_env')}", bundle)
    return bundle


def rootless() -> list[str]:
    """What umoci needs to be told where it may not set owners."""
    return [] if os.geteuid() == 0 else ["--rootless"]
