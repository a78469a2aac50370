"""``build`` where only locks changed: the same images, and neither flyte nor the user's file is imported."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.values import replace
from flyte_build.locks import lockfile
from flyte_build.planning import noop, recording
from flyte_build.project import loading

from ..support.offline import Offline, Ran

FLOW = """
import flyte
from helper_of_relocked import PACKAGES

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
    """It was built, and what it is is kept."""

    def __init__(self, offline: Offline) -> None:
        self.offline = offline
        self.imported = False

    def __call__(self, *arguments: str) -> Ran:
        """``build``; ``imported`` says whether the file was."""
        self.imported = False
        words = ("build", "flow.py", *arguments)
        self.offline.patch.setattr(sys, "argv", ["flyte-build", *words])
        return self.offline(*words)

    def digests(self, *arguments: str) -> dict[str, str]:
        images = self(*arguments, "--json").json()["images"]
        return {image["environment"]: image["digest"] for image in images}

    def forget(self, *folders: str) -> None:
        for folder in folders:
            shutil.rmtree(self.offline.store / folder, ignore_errors=True)

    def unbuilt(self) -> None:
        """What is fetched stays, and what is kept of the project."""
        self.forget("oci", "realisations", "listings")


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
    """What is a moment old is trusted, as a test has no moments to wait."""
    monkeypatch.setattr(recording, "_TICK", -1e9)
    made, load = Project(offline), loading.load

    def spy(*arguments: Any, **more: Any) -> loading.Project:
        made.imported = True
        return load(*arguments, **more)

    monkeypatch.setattr(loading, "load", spy)
    offline.write(FLOW)
    offline.write('PACKAGES = ["alpha"]\n', "helper_of_relocked.py")
    offline.locked()
    # The first build asks the index what its wheels hold, of which there is no record.
    assert made().code == 0
    for words in ((), ("--json",), ("-q",)):
        assert made(*words).code == 0
        assert made.imported
    return made


def test_the_images_are_those_of_a_build_that_imports(project: Project) -> None:
    before = project.digests()
    exchange(project.offline)
    relocked = project.digests()
    assert not project.imported
    assert relocked.keys() == before.keys()
    assert all(relocked[name] != before[name] for name in before)
    project.forget("plans")
    project.unbuilt()
    assert project.digests() == relocked
    assert project.imported
    project.offline.verified()


def test_what_is_said_is_the_same_and_the_pins_are(project: Project) -> None:
    exchange(project.offline)
    kept = {path: path.read_bytes() for path in project.offline.lockfiles.iterdir()}
    relocked = project("-q")
    assert not project.imported
    pinned = {path: path.read_bytes() for path in kept}
    assert pinned != kept
    for path, data in kept.items():
        path.write_bytes(data)
    project.forget("plans")
    project.unbuilt()
    again = project("-q")
    assert project.imported
    assert (again.code, again.out) == (relocked.code, relocked.out)
    assert {path: path.read_bytes() for path in kept} == pinned


def test_nothing_to_do_is_found_by_who_can_say_so_again(project: Project) -> None:
    exchange(project.offline)
    assert project().code == 0
    assert not project.imported
    said = project()
    assert project.imported
    assert "nothing to build" in said.out
    assert noop.load(noop.key_of("build", ["flow.py"])) is not None


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def of_another_recipe(offline: Offline) -> None:
    low, deep = (lockfile.read(offline.lockfiles, name) for name in ("low", "deep"))
    assert low is not None
    assert deep is not None
    lockfile.write(offline.lockfiles, replace(low, recipe=deep.recipe))


def refusal(ran: Ran) -> str:
    """The error, without what is said of work that takes long on a busy machine."""
    return ran.err[ran.err.find("error: ") :] if ran.code else ""


CHANGES: dict[str, Callable[[Offline], object]] = {
    "the file": lambda o: o.write(FLOW + "# more\n"),
    "what it imports": lambda o: o.write('PACKAGES = ["beta"]\n', "helper_of_relocked.py"),
    "a module that shadows another": lambda o: o.write("raise SystemExit(3)\n", "flyte.py"),
    "settings": lambda o: o.write('[tool.flyte-build]\nbase = "standalone"\n', "pyproject.toml"),
    "a variable of settings": lambda o: o.patch.setenv("FLYTE_BUILD_OVERLAPS", "refuse"),
    "another store": lambda o: o.patch.setenv("FLYTE_BUILD_CACHE", str(o.home / "elsewhere")),
    "another interpreter": lambda o: o.patch.setattr(noop, "interpreter_state", lambda: ["another"]),
    "a lock gone": lambda o: (o.lockfiles / "low.json").unlink(),
    "a lock that is none": lambda o: (o.lockfiles / "low.json").write_text("{}"),
    "a lock of another recipe": of_another_recipe,
    "a lock's step": lambda o: edited(o.lockfiles / "deep.json", '"step": 1', '"step": 2'),
    "a deb": lambda o: edited(o.lockfiles / "low.json", '"version": "1.0"', '"version": "1.1"'),
    "a wheel of other modules": lambda o: exchange(o, version="9.1", files={"gamma.py": "x = 1\n"}),
    "a wheel that nobody has": lambda o: (
        exchange(o, version="9.2"),
        [p.unlink() for p in o.index.folder.glob("alpha-9.2*")],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_in_any_doubt_the_file_is_imported(project: Project, change: str) -> None:
    """With a lock that changed besides; what is said is what is said where nothing is kept."""
    exchange(project.offline)
    CHANGES[change](project.offline)
    project.unbuilt()
    files = {path: path.read_bytes() for path in project.offline.project.rglob("*") if path.is_file()}
    with_record = project("--json")
    assert project.imported or with_record.code != 0
    for path, data in files.items():
        path.write_bytes(data)
    project.unbuilt()
    project.forget("plans")
    without = project("--json")
    assert (with_record.code, refusal(with_record)) == (without.code, refusal(without))
    if without.code == 0:
        assert [i["digest"] for i in with_record.json()["images"]] == [i["digest"] for i in without.json()["images"]]


def test_a_stale_lock_is_refused_in_the_same_words(project: Project) -> None:
    exchange(project.offline)
    of_another_recipe(project.offline)
    said = project()
    assert said.code == 4
    assert "1 lock is stale or missing" in said.err
    assert project.imported


def test_a_file_that_reads_its_lock_is_imported(project: Project) -> None:
    reads = 'from pathlib import Path\nPath(__file__).with_name("lockfiles").joinpath("low.json").read_text()\n'
    project.offline.write(reads + FLOW)
    for _ in range(2):
        assert project().code == 0
    exchange(project.offline)
    assert project().code == 0
    assert project.imported


def test_what_was_not_asked_before_is_imported(project: Project) -> None:
    exchange(project.offline)
    for other in (("--env", "low"), ("--no-check",), ("main",)):
        project.unbuilt()
        assert project(*other).code == 0
        assert project.imported, other
    project.unbuilt()
    assert project("--no-check").code == 0
    assert not project.imported, "now it was"


def test_what_is_kept_and_makes_no_sense_is_nothing(project: Project) -> None:
    path = Path(noop.record_path(noop.key_of("relocked", ["build", "flow.py"])))
    record = json.loads(path.read_text())
    for answer in ({}, {**record["answer"], "locks": {"low": 7}}, {**record["answer"], "environments": [[1]]}, [1]):
        path.write_text(json.dumps({**record, "answer": answer}))
        exchange(project.offline)
        project.unbuilt()
        assert project().code == 0
        assert project.imported
