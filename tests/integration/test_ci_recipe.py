"""The recipe for CI on the example, with docker-registry: a developer, and runners that start from a clone."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flyte_build.kernel.platforms import host_platform
from tests.support.ci import Runner, commit, git
from tests.support.cli import Cli
from tests.support.daemons import registry, shell
from tests.support.relay import Relay
from tests.support.tools import need

from .conftest import ENVIRONMENTS, LOCKFILES, ROOT

pytestmark = pytest.mark.integration

FILE = "examples/af2/main.py"
MEGABYTE = 1_000_000


@dataclass
class Team:
    """``origin``: the example with pins, on ``main``; ``changed`` has another ruff. All goes through ``relay``."""

    home: Path
    origin: Path
    relay: Relay
    machines: int = 0

    def runner(self, branch: str = "main", **more: str) -> Runner:
        self.machines += 1
        kept = {k: v for k, v in os.environ.items() if not k.startswith("FLYTE_BUILD_") and k != "GITHUB_ACTIONS"}
        told = {
            "FLYTE_BUILD_REGISTRY": f"{self.relay.host}/team",
            "FLYTE_BUILD_REMOTE_CACHE": f"{self.relay.host}/team/cache",
            "PIPELINE_PLATFORM": host_platform(),
            "PIPELINE_IMAGES": str(self.home / f"images{self.machines}"),
            "COLUMNS": "200",
        }
        # How this machine gets at packages may be written in its user's home.
        more = {"HOME": os.environ["HOME"], **more}
        runner = Runner(self.home / f"runner{self.machines}", self.origin, {**kept, **told}, more=more)
        git("checkout", "-q", branch, cwd=runner.checkout)
        self.relay.zero()
        return runner

    def pushed(self) -> dict[str, str]:
        """What the last runner says that it pushed: environment → reference."""
        lines = (self.home / f"images{self.machines}").read_text().splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def pins(self, runner: Runner) -> dict[str, str]:
        read = {e: json.loads((runner.checkout / "lockfiles" / f"{e}.json").read_text()) for e in ENVIRONMENTS}
        return {e: lock["pins"][host_platform()]["digest"] for e, lock in read.items()}


@pytest.fixture(scope="module")
def team(cli: Cli, home: Path) -> Iterator[Team]:
    folder = home / "ci"
    origin = folder / "origin"
    for name in ("examples/af2", "lockfiles"):
        shutil.copytree(ROOT / name, origin / name, ignore=shutil.ignore_patterns("__pycache__"))
    (origin / ".gitignore").write_text("__pycache__/\n")
    git("init", "-q", "-b", "main", cwd=origin)
    cli.ok("build", FILE, "-q", cwd=origin)
    commit(origin, "locked and pinned")
    git("checkout", "-q", "-b", "changed", cwd=origin)
    [locked] = set(re.findall(r'"name": "ruff", "version": "([^"]+)"', (LOCKFILES / "fold_env.json").read_text()))
    fold = origin / "examples" / "af2" / "fold" / "run.py"
    text = fold.read_text()
    fold.write_text(text.replace('FOLD_PACKAGES = ["ruff"]', f'FOLD_PACKAGES = ["ruff!={locked}"]'))
    assert fold.read_text() != text
    cli.ok("lock", FILE, "-q", cwd=origin)
    cli.ok("build", FILE, "-q", cwd=origin)
    commit(origin, "another ruff")
    with registry(folder / "registry") as address, Relay(address) as relay:
        made = Team(folder, origin, relay)
        # The first machine has the developer's artifacts at hand; the registry has nothing.
        first = made.runner()
        done = first.ok(FILE, "main", FLYTE_BUILD_CACHE=str(cli.cache))
        assert "3 images verified" in done.out
        assert relay.passed["up"] > 50 * MEGABYTE
        assert {e: r.partition("@")[2] for e, r in made.pushed().items()} == made.pins(first)
        yield made


def test_nothing_changed_on_a_fresh_runner(team: Team) -> None:
    runner = team.runner()
    done = runner.ok(FILE, "main", steps="lock plan push")
    assert "all 3 images are cached, in the registry" in done.out
    assert (runner.artifacts, runner.changes) == (0, "")
    # Questions; manifests, configurations, and what is in the layer that a check looks into.
    assert team.relay.passed["up"] < 30_000
    assert team.relay.passed["down"] < 300_000
    assert {e: r.partition("@")[2] for e, r in team.pushed().items()} == team.pins(runner)


def test_one_package_changed_on_a_fresh_runner(team: Team) -> None:
    """ruff's wheel is fetched and its layer sent once, for the two images that have it; no .deb, no other layer."""
    runner = team.runner("changed")
    runner.ok(FILE, "main", steps="lock plan push")
    assert (runner.artifacts, runner.changes) == (1, "")
    [wheel] = (runner.store / "artifacts" / "sha256").iterdir()
    up = team.relay.passed["up"]
    assert 0.8 * wheel.stat().st_size < up < 1.3 * wheel.stat().st_size + MEGABYTE
    assert team.relay.passed["down"] < 2 * MEGABYTE
    pushed = team.pushed()
    assert {e: r.partition("@")[2] for e, r in pushed.items()} == team.pins(runner)
    for reference in pushed.values():
        found = shell(need("skopeo"), "inspect", "--tls-verify=false", f"docker://{reference}")
        assert json.loads(found)["Digest"] == reference.partition("@")[2]


def test_a_registry_that_has_something_else_fails_the_verify_step(team: Team, cli: Cli) -> None:
    """Somebody moved the tag of fold_env's image: what is rebuilt is what was pinned, and not what is there."""
    runner = team.runner()
    derivation = json.loads((runner.checkout / "lockfiles" / "fold_env.json").read_text())["pins"][host_platform()]
    tag = f"drv-{derivation['derivation'].removeprefix('sha256:')[:20]}"
    place = f"docker://{team.relay.host}/team"
    msa = team.pins(runner)["msa_env"]
    shell(
        need("skopeo"), "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false",
        f"{place}/msa_env@{msa}", f"{place}/fold_env:{tag}",
    )  # fmt: skip
    done = runner.pipeline(FILE, "run_fold", steps="lock verify", FLYTE_BUILD_CACHE=str(cli.cache))
    assert done.code == 15
    assert "registry" in done.err
    assert "pipeline: verify failed with exit code 15" in done.err
