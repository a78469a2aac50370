"""The CI recipe with the real program: what a fresh runner asks of a registry, sends to it, and fetches."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flyte_build.sources import mirrors
from tests.support.ci import Runner, commit, git
from tests.support.index import SimpleIndex
from tests.support.offline import workflow
from tests.support.registry import RegistryServer
from tests.support.site import Site, opened_site
from tests.support.wheels import build_wheel

PASSWORD = "correct-horse-battery"


@dataclass
class Team:
    """``origin`` is the repository, locked and pinned; its pipeline has filled the registry once."""

    site: Site
    origin: Path
    machines: int = 0

    @property
    def registry(self) -> RegistryServer:
        return self.site.registry

    def runner(self, branch: str = "main", **more: str) -> Runner:
        """A new one, on ``branch``; from now on is counted."""
        self.machines += 1
        variables = self.site.environment() | {"FLYTE_BUILD_REMOTE_CACHE": f"{self.registry.host}/team/cache"}
        runner = Runner(self.site.home / f"runner{self.machines}", self.origin, variables, more=more)
        git("checkout", "-q", branch, cwd=runner.checkout)
        self.registry.forget_requests()
        return runner

    def develop(self, branch: str, *commands: tuple[str, ...]) -> None:
        """A developer's commit on a new branch."""
        git("checkout", "-q", "-b", branch, "main", cwd=self.origin)
        for command in commands:
            self.site.ok("flyte-build", *command, cwd=self.origin)
        commit(self.origin, branch)

    def counted(self) -> dict[tuple[str, str], int]:
        """Requests to the registry, by method and kind."""
        return dict(Counter((s.method, s.kind) for s in self.registry.requests))

    def sent(self) -> list[tuple[str, int]]:
        """Blobs that were uploaded: digest and bytes."""
        return [
            (s.path.partition("digest=")[2].replace("%3A", ":"), s.bytes_in)
            for s in self.registry.seen("PUT", "session")
        ]

    def image(self, repository: str) -> dict[str, Any]:
        """The manifest of the repository's one tag."""
        found = self.registry.repository(repository)
        [digest] = {digest for tag, digest in found.tags.items() if tag.startswith("drv-")}
        document: dict[str, Any] = json.loads(found.manifests[digest][1])
        return document


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with opened_site(tmp_path_factory.mktemp("team")) as site:
        origin = site.home / "origin"
        origin.mkdir()
        (origin / "flow.py").write_text(workflow("low: alpha", "top(low): alpha beta"))
        git("init", "-q", "-b", "main", cwd=origin)
        site.ok("flyte-build", "lock", "flow.py", cwd=origin)
        site.ok("flyte-build", "build", "flow.py", "--platform", "all", cwd=origin)
        commit(origin, "images, locked and pinned")
        made = Team(site, origin)
        done = (first := made.runner()).ok("flow.py", "main")
        assert [line for line in done.out.splitlines() if line.startswith("==>")] == [
            "==> lock", "==> plan", "==> push", "==> verify"
        ]  # fmt: skip
        assert "2 images verified" in done.out
        assert first.artifacts > 5
        build_wheel(site.index.folder, "beta", "2.0", requires=["alpha"])
        upgrade = ("lock", "flow.py", "--upgrade-package", "beta")
        made.develop("unpinned", upgrade)
        made.develop("changed", upgrade, ("build", "flow.py", "--platform", "all"))
        yield made
        shutil.rmtree(site.home, ignore_errors=True)


def test_nothing_changed(team: Team, tmp_path: Path) -> None:
    """A fresh runner with nothing but the registry: nothing is fetched or sent, and this is all that is asked."""
    nowhere = dict.fromkeys((mirrors.MAIN_MIRROR, mirrors.SECURITY_MIRROR), "http://127.0.0.1:9/debian")
    (tmp_path / "empty").mkdir()
    with SimpleIndex(tmp_path / "empty") as index:
        runner = team.runner(**nowhere, UV_DEFAULT_INDEX=index.url)
        planned = runner.ok("flow.py", "main", steps="lock plan")
        assert "all 2 images are cached, in the registry" in planned.out
        # Two manifests, two configurations; and where the check looks into flyte's wheel, its layer and what it holds.
        assert {method for method, _ in team.counted()} == {"GET"}
        assert 4 <= len(team.registry.requests) <= 6
        team.registry.forget_requests()
        runner.ok("flow.py", "main", steps="push")
    assert (runner.artifacts, runner.changes) == (0, "")
    # Of a layer, only what it holds, for the check.
    looked = sum("/manifests/layer-" in seen.path for seen in team.registry.requests)
    assert looked <= 1
    assert team.counted() == {
        ("GET", "manifest"): 2 + looked,
        ("GET", "blob"): 2 + looked,
        ("HEAD", "manifest"): 2,
        ("GET", "referrers"): 2,
    }
    assert team.registry.bytes_in() == 0
    layers = {x["digest"] for name in ("low", "top") for x in team.image(f"team/{name}")["layers"]}
    assert not [seen.path for seen in team.registry.requests if seen.path.rpartition("/")[2] in layers]


def test_a_lock_without_a_pin_sends_nothing(team: Team) -> None:
    runner = team.runner("unpinned")
    done = runner.pipeline("flow.py", "main")
    assert done.code == 15
    assert "==> verify" not in done.out
    assert "writes the new pin: review it in the lock, and commit it" in done.err
    assert team.registry.bytes_in() == 0
    assert runner.changes == ""


def test_a_recipe_that_its_lock_does_not_answer_stops_at_the_first_step(team: Team) -> None:
    runner = team.runner()
    (runner.checkout / "flow.py").write_text(workflow("low: alpha", "top(low): alpha beta gamma"))
    done = runner.pipeline("flow.py", "main")
    assert (done.code, done.out) == (4, "==> lock\n")
    assert "pipeline: lock failed with exit code 4" in done.err
    assert team.registry.requests == []


@pytest.fixture
def guarded(team: Team) -> Iterator[dict[str, str]]:
    """The registry lets nobody in without a password, and may be written to only below ``review``."""
    server = team.registry
    server.auth, server.password = "basic", PASSWORD
    server.allowed = lambda repository, action: action == "pull" or repository.startswith("review/")
    host = server.host
    yield {
        "FLYTE_BUILD_REGISTRY": f"{host}/review",
        "FLYTE_BUILD_REGISTRY_USER": server.user,
        "FLYTE_BUILD_REGISTRY_PASSWORD": PASSWORD,
    }
    server.auth, server.allowed = None, lambda repository, action: True


def test_a_pull_request_reads_the_teams_cache_and_writes_its_own(team: Team, guarded: dict[str, str]) -> None:
    host = team.registry.host
    before = {name: dict(found.tags) for name, found in team.registry.repositories.items()}
    runner = team.runner("changed", **guarded, FLYTE_BUILD_REMOTE_CACHE=f"{host}/review/cache {host}/team/cache")
    done = runner.pipeline("flow.py", "main", steps="lock plan push", shell="sh -x")
    assert done.code == 0, done.err
    assert "was not written" not in done.err
    assert PASSWORD not in done.out + done.err
    assert runner.artifacts == 2, "alpha and beta, which are one layer; the rest is in the team's cache"
    old, new = ({x["digest"] for x in team.image(f"{place}/top")["layers"]} for place in ("team", "review"))
    assert Counter(digest for digest, _ in team.sent() if digest in old | new) == dict.fromkeys(new - old, 1)
    assert len(new - old) == 1
    assert {tag.partition("-")[0] for tag in team.registry.repository("review/cache").tags} == {"image", "layer"}
    after = {name: dict(found.tags) for name, found in team.registry.repositories.items()}
    assert {name: tags for name, tags in after.items() if not name.startswith("review/")} == before
    assert team.registry.dangling() == []


def test_a_cache_that_may_only_be_read_is_a_warning(team: Team, guarded: dict[str, str]) -> None:
    cache = dict(team.registry.repository("team/cache").tags)
    registry = f"{team.registry.host}/review/other"
    runner = team.runner("changed", **(guarded | {"FLYTE_BUILD_REGISTRY": registry}))
    done = runner.ok("flow.py", "main", steps="push")
    assert f"the cache {team.registry.host}/team/cache was not written: " in done.err
    assert "403" in done.err
    assert (runner.artifacts, team.registry.repository("team/cache").tags) == (2, cache)


def test_a_cache_that_is_only_to_be_read_is_not_written_and_nobody_is_warned(team: Team) -> None:
    cache = dict(team.registry.repository("team/cache").tags)
    registry = f"{team.registry.host}/review/third"
    runner = team.runner("changed", FLYTE_BUILD_REMOTE_CACHE_WRITE="no", FLYTE_BUILD_REGISTRY=registry)
    done = runner.ok("flow.py", "main", steps="push")
    assert "was not written" not in done.err
    assert (runner.artifacts, team.registry.repository("team/cache").tags) == (2, cache)


def test_one_package_changed(team: Team) -> None:
    """Once merged: its layer travels once, beside the documents of the one image that has it; all else is questions."""
    old = {x["digest"] for x in team.image("team/top")["layers"]}
    tags = set(team.registry.repository("team/top").tags)
    images = team.site.home / "images"
    runner = team.runner("changed")
    runner.ok("flow.py", "main", steps="lock plan")
    assert team.registry.bytes_in() == 0
    team.registry.forget_requests()
    done = runner.ok("flow.py", "main", steps="push", PIPELINE_IMAGES=str(images))
    [tag] = set(team.registry.repository("team/top").tags) - tags
    digest = team.registry.repository("team/top").tags[tag]
    new = json.loads(team.registry.repository("team/top").manifests[digest][1])
    assert runner.artifacts == 2
    assert runner.changes == ""
    lines = images.read_text().splitlines()
    assert lines[1] == f"top {team.registry.host}/team/top@{digest}"
    assert len(lines) == 2
    assert done.out.endswith(images.read_text())

    [layer] = [x for x in new["layers"] if x["digest"] not in old]
    config = new["config"]
    sent = Counter(team.sent())
    # The configuration goes to the cache as well. Beside these: the layer's listing, two SBOMs and the provenance.
    assert (sent.pop((layer["digest"], layer["size"])), sent.pop((config["digest"], config["size"]))) == (1, 2)
    assert sorted(sent.values()) == [1, 1, 1, 1]
    assert not {digest for digest, _ in sent} & old
    # Of the image, its tag, the cache's layer and image, and three referrers.
    assert team.registry.count("PUT", "manifest") == 2 + 2 + 3
    assert team.counted() == {
        ("GET", "manifest"): 6,
        ("GET", "blob"): 4,
        ("HEAD", "manifest"): 7,
        ("HEAD", "blob"): 13,
        ("POST", "upload"): 8,
        ("PUT", "session"): 7,
        ("PUT", "manifest"): 7,
        ("GET", "referrers"): 2,
    }
    assert team.registry.dangling() == []
