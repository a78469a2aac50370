"""One store and one set of images for the whole session: the example's, from the locks that are committed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flyte_build.kernel.platforms import host_platform
from tests.support.bazel import Bazel, bazel_machine
from tests.support.cli import Cli
from tests.support.daemons import shell
from tests.support.nix import Nix, clean_clone
from tests.support.tools import need, need_root

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "af2" / "main.py"
LOCKFILES = ROOT / "lockfiles"
ENVIRONMENTS = ("fold_env", "msa_env", "multi_env")
# What was made, and which builders gave it the same digest: the last lines of a CI log.
RAN = pytest.StashKey[dict[str, list[str]]]()


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ran = config.stash.get(RAN, {})
    if ran:
        terminalreporter.section("one digest from each of these builders")
        for what, builders in ran.items():
            terminalreporter.line(f"{what}: {', '.join(builders)}")


@pytest.fixture(scope="session")
def ran(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """Notes for the end of the log that a builder gave images the digest that they have elsewhere."""
    noted = pytestconfig.stash.setdefault(RAN, {})

    def note(what: str, builder: str) -> None:
        noted.setdefault(what, []).append(builder)

    return note


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
    built = cli.ok("build", EXAMPLE, "--locked", "--json", "--output", f"oci:{out}").json()["images"]
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


@pytest.fixture(scope="session")
def nix(home: Path) -> Iterator[Nix]:
    """A store of its own, empty at first."""
    need("nix-store", "nix-bin")
    folder = home / "nix"
    folder.mkdir()
    yield Nix(folder)
    # What is in a store may not be written to, not even to remove it.
    subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def flake(home: Path) -> Path:
    return clean_clone(home / "flake")


@pytest.fixture(scope="session")
def filled(cli: Cli, nix: Nix, layout: Layout) -> Cli:
    """The command line, on ``nix``'s store, which it has filled."""
    on_nix = replace(cli, variables={k: v for k, v in nix.environment.items() if k.startswith("NIX_")})
    said = on_nix.ok("nix", "prefetch", EXAMPLE).out
    assert "added to the Nix store: 0" not in said
    assert "added to the Nix store: 0 (0 B)" in on_nix.ok("nix", "prefetch", LOCKFILES / "msa_env.json").out
    return on_nix


@pytest.fixture(scope="session")
def bazel(home: Path, cli: Cli, layout: Layout) -> Bazel:
    """A machine with Bazel, this repository in ``/root/flyte-build`` and the artifacts in ``/store``; no index."""
    need_root("a machine with Bazel")
    found = bazel_machine(home / "bazel")
    found.machine.clone(ROOT, "root")
    shutil.copytree(cli.cache / "artifacts", found.machine.root / "store" / "artifacts", copy_function=os.link)
    return found
