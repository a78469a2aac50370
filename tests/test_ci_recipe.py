"""The recipe for CI: what the script does with the program's answers, and what a fresh runner asks of a registry."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from flyte_build import mirrors
from tests.support.ci import PIPELINE, Runner, commit, git
from tests.support.index import SimpleIndex
from tests.support.offline import workflow
from tests.support.registry import RegistryServer
from tests.support.site import Site, opened_site
from tests.support.wheels import build_wheel

# -- the script, with a program that only writes down what it is told ---------------------------------


@pytest.fixture
def told(tmp_path: Path) -> Runner:
    """A runner whose program writes its arguments to ``told`` and ends as ``FAIL_<step>`` says."""
    origin = tmp_path / "origin"
    origin.mkdir()
    (origin / "main.py").write_text("")
    commit(origin, "all")
    program = tmp_path / "program"
    program.write_text(
        textwrap.dedent(
            f"""\
            #!/bin/sh
            printf '%s\\n' "$*" >>{tmp_path}/told
            echo "$1 says so"
            eval "exit \\${{FAIL_$1:-0}}"
            """
        )
    )
    program.chmod(0o755)
    return Runner(tmp_path / "runner", origin, {"PATH": os.environ["PATH"]}, str(program))


def commands(runner: Runner) -> list[str]:
    path = runner.home.parent / "told"
    return path.read_text().splitlines() if path.exists() else []


def test_the_steps_in_their_order(told: Runner) -> None:
    done = told.ok("main.py", "main")
    assert commands(told) == [
        "lock main.py --check",
        "plan main.py main --platform all --locked --check",
        "push main.py main --platform all --locked",
        "verify main.py main --platform all",
    ]
    announced = [line for step in ("lock", "plan", "push", "verify") for line in (f"==> {step}", f"{step} says so")]
    assert done.out.splitlines() == announced
    assert done.err == ""


def test_everything_is_told_by_the_environment(told: Runner) -> None:
    images = told.home / "images"
    variables = {"PIPELINE_PLATFORM": "linux/arm64", "PIPELINE_TAGS": "main v3", "PIPELINE_IMAGES": str(images)}
    done = told.ok("main.py", steps="push build", **variables)
    assert commands(told) == [
        "push main.py --platform linux/arm64 --locked --tag main --tag v3 --quiet",
        "build main.py --platform linux/arm64 --locked",
    ]
    assert images.read_text() == "push says so\n"
    assert done.out.splitlines() == ["==> push", "push says so", "==> build", "build says so"]


def test_a_tag_is_never_taken_for_files(told: Runner) -> None:
    told.ok("main.py", steps="push", PIPELINE_TAGS="*")
    assert commands(told) == ["push main.py --platform all --locked --tag *"]


@pytest.mark.parametrize(
    ("step", "code"), [("lock", 4), ("plan", 10), ("push", 15), ("push", 14), ("verify", 15), ("lock", 130)]
)
def test_the_first_failure_ends_it_with_the_programs_own_exit_code(told: Runner, step: str, code: int) -> None:
    done = told.pipeline("main.py", **{f"FAIL_{step}": str(code)})
    assert done.code == code
    steps = ["lock", "plan", "push", "verify"]
    assert [line.split()[0] for line in commands(told)] == steps[: steps.index(step) + 1]
    assert done.err == f"pipeline: {step} failed with exit code {code}\n"


def test_folds_and_annotations_on_github(told: Runner) -> None:
    images = told.home / "images"
    done = told.pipeline(
        "main.py", steps="plan push lock", GITHUB_ACTIONS="true", PIPELINE_IMAGES=str(images), FAIL_push="14"
    )
    assert done.code == 14
    assert commands(told)[0] == "plan main.py --platform all --locked --check --format github"
    assert done.out.splitlines() == ["::group::plan", "plan says so", "::endgroup::", "::group::push", "::endgroup::"]
    assert images.read_text() == "push says so\n", "the log's own lines are not among the images"


@pytest.mark.parametrize(
    ("arguments", "steps", "said"),
    [
        ((), None, "expected FILE [TASK]"),
        (("--help",), None, "expected FILE [TASK], found `--help`"),
        (("main.py", "main", "more"), None, "found 3 arguments"),
        (("main.py",), "lock deploy", "no step `deploy`; there are: lock, plan, build, push, verify"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_runs(
    told: Runner, arguments: tuple[str, ...], steps: str | None, said: str
) -> None:
    done = told.pipeline(*arguments, steps=steps)
    assert (done.code, done.out, commands(told)) == (2, "", [])
    assert said in done.err


# -- what GitHub and GitLab are told ---------------------------------------------------------------------

WRAPPERS = ("github.yml", "gitlab.yml")


def environments(name: str) -> dict[str, dict[str, str]]:
    """The variables that each job's pipeline runs with."""
    document = yaml.safe_load((PIPELINE.parent / name).read_text())
    if name == "github.yml":
        jobs = {
            job: [s for s in spec["steps"] if "pipeline.sh" in s.get("run", "")]
            for job, spec in document["jobs"].items()
        }
        return {job: document["env"] | step["env"] for job, [step] in jobs.items()}
    found = {}
    for job, spec in document.items():
        if "script" in spec:
            variables: dict[str, str] = {}
            while spec is not None:
                variables = spec.get("variables", {}) | variables
                spec = document.get(spec.get("extends"))
            found[job] = variables
    return found


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_wrappers_say_what_the_script_and_the_program_read(name: str) -> None:
    script = PIPELINE.read_text()
    program = "".join(path.read_text() for path in (PIPELINE.parents[2] / "flyte_build").rglob("*.py"))
    jobs = environments(name)
    assert len(jobs) == 3
    for variables in jobs.values():
        assert (PIPELINE.parents[2] / variables["FILE"]).is_file()
        for variable in variables.keys() - {"FILE"}:
            assert variable in (script if variable.startswith("PIPELINE_") else program)
        for step in variables.get("PIPELINE_STEPS", "lock").split():
            assert f"\n{step}() {{" in script


@pytest.mark.parametrize("name", WRAPPERS)
def test_only_main_writes_to_the_teams_cache(name: str) -> None:
    jobs = environments(name)
    written = {
        job: v["FLYTE_BUILD_REMOTE_CACHE"].split()[0] for job, v in jobs.items() if "FLYTE_BUILD_REMOTE_CACHE" in v
    }
    shared = "registry.example/team/cache"
    assert {job for job, cache in written.items() if cache == shared} == {"main", "verify"} & jobs.keys()
    assert "push" not in jobs.get("verify", {}).get("PIPELINE_STEPS", "")
    assert written["review"] == "registry.example/team/review/cache"
    assert jobs["review"]["FLYTE_BUILD_REMOTE_CACHE"].split()[1] == shared
    assert jobs["review"]["FLYTE_BUILD_REGISTRY_PASSWORD"] != jobs["main"]["FLYTE_BUILD_REGISTRY_PASSWORD"]


# -- the real program, and everything that it asks for counted ------------------------------------------

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
    assert "review the lock's new pin and commit it" in done.err
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
        ("HEAD", "manifest"): 8,
        ("HEAD", "blob"): 15,
        ("POST", "upload"): 8,
        ("PUT", "session"): 7,
        ("PUT", "manifest"): 7,
        ("GET", "referrers"): 2,
    }
    assert team.registry.dangling() == []
