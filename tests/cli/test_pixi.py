"""A pixi project, as a person has it: locked as its pixi.lock says, built, and stale with it; and pixi's scripts."""

from __future__ import annotations

import os

import pytest

from ..support.conda import PYTHON, Built, package, pixi_lock
from ..support.offline import Offline
from ..support.pixi import ENV, FLOW, built, config_of, lock, platform, pypi, words

pytest.importorskip("rattler")


@pytest.fixture
def packages(pixi_packages: list[Built]) -> list[Built]:
    return pixi_packages


@pytest.fixture
def project(pixi_project: Offline) -> Offline:
    return pixi_project


def test_locked_and_built(project: Offline, packages: list[Built]) -> None:
    project.ok("lock", "flow.py")
    held = platform(project)
    assert [(p["name"], p["sha256"], p["size"]) for p in held["conda"]] == [
        (str(one.index["name"]), one.sha256, one.path.stat().st_size) for one in packages
    ]
    # What a conda package brings is asked of no index; what comes after is solved around it.
    found = {row["name"]: (row["version"], row["step"]) for row in held["wheels"]}
    assert found["alpha"] == ("1.0", 1)
    assert found["flyte"][1] == 2
    assert "pure-thing" not in found
    assert "channel" not in (project.lockfiles / "low.json").read_text()
    digest = built(project)
    config = config_of(project, digest)
    env = dict(row.split("=", 1) for row in config["config"]["Env"])
    assert env["PATH"].startswith(f"{ENV}/bin:/opt/venv/bin:")
    assert (env["VIRTUAL_ENV"], env["UV_PYTHON"]) == (ENV, f"{ENV}/bin/python")
    assert env["PIXI_PROJECT_MANIFEST"] == "/opt/pixi-project/pixi.toml"


def test_what_is_said_of_it(project: Offline) -> None:
    project.write(FLOW.format(more=""))
    said = project.ok("lock", "flow.py").err
    assert "low: the image holds no flyte package, which every task needs to start" in said
    assert "pixi.lock is not held against pixi.toml: pixi, which can tell, is not on the PATH" in said
    why = project.ok("why", "python", "flow.py", "--offline").out
    assert f"python {PYTHON}.2 (conda package) in low" in why
    assert "compiled   (the pixi project pixi.toml)" in why
    sbom = project.ok("sbom", "lockfiles/low.json", "--format", "cyclonedx").out
    assert "pkg:conda/pure@1.0?build=pyh0_0&subdir=noarch&type=conda" in sbom
    refused = project("export", "requirements", "lockfiles/low.json")
    assert refused.code != 0
    assert "its environment is of conda packages, which are no wheels" in " ".join(refused.err.split())


def test_a_pixi_that_is_here_is_asked(project: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for pixi, which looks at what it is given in a copy."""
    tool = project.home / "bin/pixi"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\ntest "$1 $2" = "lock --check" && test -f pixi.lock || exit 0\n'
                    'echo "lock-file not up-to-date with the workspace" >&2\nexit 1\n')  # fmt: skip
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    said = " ".join(project.ok("lock", "flow.py").err.split())
    assert "pixi.lock does not answer pixi.toml as it is now, says pixi: lock-file not up-to-date with the" in said


def test_the_same_again(project: Offline) -> None:
    project.ok("lock", "flow.py")
    first = (project.lockfiles / "low.json").read_bytes()
    project.ok("lock", "--upgrade", "flow.py")
    assert (project.lockfiles / "low.json").read_bytes() == first
    assert project.ok("lock", "--check", "flow.py").code == 0


def test_another_pixi_lock_is_another_lock(project: Offline, packages: list[Built]) -> None:
    project.ok("lock", "flow.py")
    more = package(project.home / "channel", "more", {"share/more": b"x"})
    lock(project, [*packages, more])
    assert "conda" in project.refused(4, "lock", "--check", "flow.py")
    project.ok("lock", "flow.py")
    assert "more" in {p["name"] for p in platform(project)["conda"]}


def test_other_bytes_are_not_taken(project: Offline, packages: list[Built]) -> None:
    project.ok("lock", "flow.py")
    path = packages[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    said = project.refused(6, "build", "flow.py")
    assert path.name in said


def test_a_script(offline: Offline, packages: list[Built]) -> None:
    offline.write(
        """\
        # /// script
        # requires-python = ">=3.10"
        # [tool.pixi.workspace]
        # platforms = ["linux-64"]
        # ///
        import pathlib
        import flyte
        image = flyte.Image.from_pixi_script(pathlib.Path("flow.py"), name="s", platform=("linux/amd64",))
        low = flyte.TaskEnvironment("low", image=image.with_pip_packages("flyte"))
        @low.task
        def main(x: int) -> int:
            return x
        """
    )
    said = offline.refused(7, "lock", "flow.py")
    assert "flow.py has no flow.py.pixi.lock, and only pixi chooses conda packages" in said
    assert "pixi lock --script flow.py" in said
    pixi_lock(offline.project / "flow.py.pixi.lock", {"linux-64": packages})
    offline.ok("lock", "flow.py")
    assert len(platform(offline)["conda"]) == 4
    built(offline)


@pytest.mark.parametrize(
    ("before", "more", "words"),
    [
        ('.with_pip_packages("alpha")', "", "PipPackages comes before the pixi project"),
        ("", ', environment="other"', "has no environment `other`; there are: default"),
        ("", ', extra_args="--only python"', "the argument `--only` of `pixi install` has no place in a lock"),
    ],
)
def test_what_is_refused(project: Offline, before: str, more: str, words: str) -> None:
    text = FLOW.format(more="").replace("base.with_pixi", f"base{before}.with_pixi")
    project.write(text.replace('"pixi.toml")', f'"pixi.toml"){more}'))
    done = project("lock", "flow.py")
    assert done.code in (4, 7)
    assert words in " ".join(done.err.split())


def test_a_platform_that_it_is_not_locked_for(project: Offline) -> None:
    project.write(FLOW.format(more="").replace('("linux/amd64",)', '("linux/arm64",)'))
    said = project("lock", "flow.py").err
    assert "is not locked for linux-aarch64, but for linux-64" in " ".join(said.split())


def test_without_its_reader(project: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "rattler", None)
    said = " ".join(project("lock", "flow.py").err.split())
    assert "pixi.lock is pixi's, and nothing here reads it" in said
    assert "pip install 'flyte-build[pixi]'" in said


@pytest.mark.parametrize("version", [5, 7])
def test_other_formats_say_the_same(project: Offline, packages: list[Built], version: int) -> None:
    project.ok("lock", "flow.py")
    before = platform(project)["conda"]
    named = {"linux-64": "linux-64"} if version == 7 else None
    alpha = pypi(next(project.home.rglob("alpha-1.0-*.whl")), "pure-thing>=1")
    pixi_lock(project.project / "pixi.lock", {"linux-64": packages}, pypi=[alpha], version=version, named=named)
    project.ok("lock", "flow.py")
    held = platform(project)
    assert held["conda"] == before
    assert ("alpha", "1.0") in {(row["name"], row["version"]) for row in held["wheels"]}


def test_platforms_with_names_of_their_own(project: Offline, packages: list[Built]) -> None:
    at = project.project / "pixi.lock"
    pixi_lock(at, {"gpu": packages}, version=7, named={"gpu": "linux-64"})
    project.ok("lock", "flow.py")
    assert len(platform(project)["conda"]) == 4
    pixi_lock(at, {"gpu": packages, "old": packages}, version=7, named={"gpu": "linux-64", "old": "linux-64"})
    said = words(project.refused(7, "lock", "flow.py"))
    assert "is locked for 2 platforms that are all linux-64: gpu, old" in said
    assert "name an environment that has only it" in said
    pixi_lock(
        at, {"gpu": packages[:1], "linux-64": packages}, version=7, named={"gpu": "linux-64", "linux-64": "linux-64"}
    )
    project.ok("lock", "flow.py")
    assert len(platform(project)["conda"]) == 4


def test_a_format_of_tomorrow(project: Offline, packages: list[Built]) -> None:
    pixi_lock(project.project / "pixi.lock", {"linux-64": packages}, version=99)
    said = words(project("lock", "flow.py").err)
    assert "not a pixi.lock that this py-rattler reads" in said
    assert "upgrade py-rattler" in said
