"""``lock`` where nothing changed: answered from the record, and by locking wherever anything might have."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import flyte_build
from flyte_build.cli import noop
from flyte_build.locking import project
from flyte_build.locking.preferences import Existing
from flyte_build.planning import recording
from flyte_build.recipe import Recipe

from ..support.offline import Offline, workflow

FLOW = """
import os
import flyte
from pathlib import Path
from helper_of_lock import PACKAGES

here = Path(__file__).parent
base = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))
image = base.with_requirements(here / "requirements.txt").with_pip_packages(*PACKAGES)
if os.environ.get("LOCK_WITH_BETA"):
    image = image.with_pip_packages("beta")
low = flyte.TaskEnvironment("low", image=image)
"""

CHANGES: dict[str, Callable[[Offline], object]] = {
    "the file": lambda o: (o.project / "flow.py").write_text(FLOW.replace('"low"', '"deep"')),
    "what it imports": lambda o: (o.project / "helper_of_lock.py").write_text('PACKAGES = ["beta"]\n'),
    "a module that shadows another": lambda o: (o.project / "flyte.py").write_text("raise SystemExit(3)\n"),
    "requirements": lambda o: (o.project / "requirements.txt").write_text("alpha\nbeta\n"),
    "requirements gone": lambda o: (o.project / "requirements.txt").unlink(),
    "settings": lambda o: (o.project / "pyproject.toml").write_text('[tool.flyte-build]\nbase = "standalone"\n'),
    "settings above": lambda o: (o.home / "pyproject.toml").write_text('[tool.flyte-build]\nlockfiles = "other"\n'),
    "the lock": lambda o: edited(o.lockfiles / "low.json", '"name": "uv"', '"name": "pip-tools"'),
    "the lock gone": lambda o: (o.lockfiles / "low.json").unlink(),
    "another lock": lambda o: (o.lockfiles / "other.json").write_text("{}"),
    "the variable that the file asks for": lambda o: o.patch.setenv("LOCK_WITH_BETA", "1"),
    "a setting's variable": lambda o: o.patch.setenv("FLYTE_BUILD_OVERLAPS", "refuse"),
    "where the locks are": lambda o: o.patch.setenv("FLYTE_BUILD_LOCKFILES", "other"),
    "the store": lambda o: o.patch.setenv("FLYTE_BUILD_CACHE", str(o.home / "elsewhere")),
}


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def locked(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> Offline:
    """A project whose lock answers it. What is a moment old is trusted, as a test has no moments to wait."""
    monkeypatch.setattr(recording, "_TICK", -1e9)
    offline.write(FLOW)
    offline.write('PACKAGES = ["alpha"]\n', "helper_of_lock.py")
    offline.write("alpha\n", "requirements.txt")
    offline.locked()
    return offline


def run(offline: Offline, *arguments: str) -> str:
    """The command itself, as a process has it; what it says."""
    offline.patch.setattr(sys, "argv", ["flyte-build", "lock", "flow.py", *arguments])
    return offline.ok("lock", "flow.py", *arguments).out


def again(offline: Offline, *arguments: str) -> str | None:
    """What the record says, where it may."""
    offline.capture.readouterr()
    if not noop.answered(["lock", "flow.py", *arguments]):
        return None
    return offline.capture.readouterr().out


def test_what_changed_is_locked_and_not_remembered(locked: Offline) -> None:
    said, checked = run(locked), run(locked, "--check")
    assert "nothing changed: 1 lock" in said
    assert (again(locked), again(locked, "--check")) == (said, checked)
    kept = locked.home / "kept"
    shutil.copytree(locked.project, kept)
    for name, change in CHANGES.items():
        with pytest.MonkeyPatch.context() as undo:
            locked.patch, before = undo, locked.patch
            change(locked)
            assert again(locked) is None, name
            assert again(locked, "--check") == (checked if name == "another lock" else None), name
        locked.patch = before
        (locked.home / "pyproject.toml").unlink(missing_ok=True)
        shutil.rmtree(locked.project)
        shutil.copytree(kept, locked.project)
        locked.patch.chdir(locked.project)
    assert (again(locked), again(locked, "--check")) == (said, checked), "all of it is as it was"


def test_another_version_of_flyte_build_locks(locked: Offline) -> None:
    run(locked)
    (record,) = (locked.store / "plans").iterdir()
    known = json.loads(record.read_text())
    ours = Path(flyte_build.__file__).parent
    for module in ("locking/project.py", "locks/nouns.py", "cli/commands/lock.py", "project/images.py"):
        assert str(ours / module) in known["files"] | known["stats"]
    (at,) = [path for path in known["files"] if path == str(ours / "locking/project.py")]
    known["files"][at] = [1, "0" * 64]
    record.write_text(json.dumps(known))
    assert again(locked) is None


def test_another_question_is_another_answer(locked: Offline) -> None:
    run(locked)
    for other in ("--upgrade", "--upgrade-package=alpha", "--exclude-newer=7 days", "--reseal=all", "--json", "-v"):
        assert again(locked, other) is None
    assert json.loads(run(locked, "--json"))["unchanged"] == ["low"]
    assert json.loads(again(locked, "--json") or "")["unchanged"] == ["low"]


@pytest.mark.parametrize("options", [("--upgrade",), ("--upgrade-package=beta",), ("--exclude-newer=1 day",)])
def test_what_is_chosen_anew_is_chosen_anew_each_time(
    locked: Offline, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing else could be chosen, and nobody was asked."""
    monkeypatch.setattr(project, "_Plan", _Nothing)
    run(locked, *options)
    assert again(locked, *options) is None


class _Nothing(project._Plan):
    """A plan that finds nothing to solve, whatever was asked for."""

    def __init__(self, recipes: Mapping[str, Recipe], existing: Existing, *_: object) -> None:
        super().__init__(recipes, existing, None, False)


@pytest.mark.slow
def test_a_lock_that_was_solved_is_no_answer_for_the_next(locked: Offline) -> None:
    (locked.lockfiles / "low.json").unlink()
    assert "written to" in run(locked)
    assert again(locked) is None


@pytest.mark.slow
def test_what_is_said_besides_is_said_each_time(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image without flyte, in which no task starts."""
    monkeypatch.setattr(recording, "_TICK", -1e9)
    offline.write(
        workflow("low: alpha").replace("python_version=(3, 11)", "python_version=(3, 11), install_flyte=False")
    )
    offline.locked()
    for _ in range(2):
        assert again(offline) is None
        run(offline)
        assert "holds no flyte package" in offline.ok("lock", "flow.py").err
