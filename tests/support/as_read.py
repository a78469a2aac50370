"""A project of which one command keeps what it is, and the ways to change what the next one finds."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import flyte  # noqa: F401 - what it imports looks through all variables, of which pytest changes one
import pytest

from flyte_build.kernel.values import replace
from flyte_build.locks import lockfile
from flyte_build.planning import recording
from flyte_build.project import loading

from .offline import Offline, Ran

__all__ = ["FLOW", "Project", "exchange", "of_another_recipe", "project", "same"]

FLOW = """
import flyte
from helper_as_read import PACKAGES

base = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))
low = flyte.TaskEnvironment("low", image=base.with_pip_packages(*PACKAGES))
deep = flyte.TaskEnvironment("deep", image=base.with_pip_packages("alpha", "beta"), depends_on=[low])


@low.task
def lower(x: int) -> int:
    import alpha
    return x


@deep.task
def main(x: int) -> int:
    import alpha, beta
    return lower(x)
"""


class Project:
    """A file of which one command keeps what it is."""

    def __init__(self, offline: Offline) -> None:
        self.offline = offline
        self.imported = False

    def __call__(self, *words: str) -> Ran:
        """One command; ``imported`` says whether the file was."""
        self.imported = False
        self.offline.patch.setattr(sys, "argv", ["flyte-build", *words])
        return self.offline(*words)

    def build(self, *more: str) -> Ran:
        return self("build", "flow.py", *more)

    def digests(self) -> dict[str, str]:
        images = self.build("--json").json()["images"]
        return {image["environment"]: image["digest"] for image in images}

    def forget(self, *folders: str) -> None:
        for folder in folders:
            shutil.rmtree(self.offline.store / folder, ignore_errors=True)

    def unbuilt(self) -> None:
        """What is fetched stays, and what is kept of the project."""
        self.forget("oci", "realisations", "listings")

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.offline.project.rglob("*") if path.is_file()}


def exchange(offline: Offline, name: str = "alpha", version: str = "9.0", **more: Any) -> None:
    """Another version of a wheel in every lock that has it, and nothing else."""
    wheel = offline.publish(name, version, **more)
    data = wheel.read_bytes()
    row = {"version": version, "file": wheel.name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    for path in offline.lockfiles.glob("*.json"):
        lock = lockfile.read(offline.lockfiles, path.stem)
        assert lock is not None
        platforms = {
            platform: replace(held, wheels=tuple(replace(w, **row) if w.name == name else w for w in held.wheels))
            for platform, held in lock.platforms.items()
        }
        lockfile.write(offline.lockfiles, replace(lock, platforms=platforms))


@pytest.fixture
def project(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> Project:
    """It was built, by a command that asked the index what its wheels hold. What is a moment old is trusted, as a test
    has no moments to wait."""
    monkeypatch.setattr(recording, "_TICK", -1e9)
    made, load = Project(offline), loading.load

    def spy(*arguments: Any, **more: Any) -> loading.Project:
        made.imported = True
        return load(*arguments, **more)

    monkeypatch.setattr(loading, "load", spy)
    offline.write(FLOW)
    offline.write('PACKAGES = ["alpha"]\n', "helper_as_read.py")
    offline.locked()
    assert made.build().code == 0
    assert made.imported
    return made


def same(one: Ran, other: Ran) -> None:
    """But for the times that are told, and what is said of work that takes long on a busy machine."""

    def told(ran: Ran) -> tuple[int, str, str]:
        out = re.sub(r"\d+(\.\d+)? m?s\b|\"seconds\": [\d.]+", "…", ran.out)
        return ran.code, out, ran.err[ran.err.find("error: ") :] if ran.code else ""

    assert told(one) == told(other)


def of_another_recipe(offline: Offline) -> None:
    low, deep = (lockfile.read(offline.lockfiles, name) for name in ("low", "deep"))
    assert low is not None
    assert deep is not None
    lockfile.write(offline.lockfiles, replace(low, recipe=deep.recipe))
