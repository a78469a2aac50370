"""Commands about a project that one of them read: the same answers, and neither flyte nor the user's file imported."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from flyte_build.locks import lockfile
from flyte_build.planning import noop

from ..support.as_read import FLOW, Project, exchange, of_another_recipe, project, same
from ..support.offline import Ran
from ..support.registry import RegistryServer

__all__ = ["project"]


def test_a_push_after_a_build_imports_nothing(project: Project, registry: RegistryServer) -> None:
    pushed = project("push", "flow.py", "--registry", f"{registry.host}/one", "--tag", "v1")
    assert pushed.code == 0, pushed.err
    assert not project.imported
    assert noop.load(noop.key_of("push", sys.argv[2:])) is not None, "the next one only asks the registry"
    project.forget("plans")
    again = project("push", "flow.py", "--registry", f"{registry.host}/two", "--tag", "v1")
    assert project.imported
    same(replace_all(again, "/two/", "/one/"), pushed)
    project.offline.verified()


def replace_all(ran: Ran, old: str, new: str) -> Ran:
    return Ran(ran.code, ran.out.replace(old, new), ran.err.replace(old, new))


QUESTIONS = {
    "plan": ("plan", "flow.py"),
    "plan --json": ("plan", "flow.py", "--json", "--layers"),
    "plan --check": ("plan", "flow.py", "--check"),
    "plan of a task": ("plan", "flow.py", "main", "--explain"),
    "verify": ("verify", "flow.py", "--env", "low"),
    "sbom": ("sbom", "flow.py", "lower", "--format", "spdx"),
    "why": ("why", "alpha", "flow.py"),
    "tree": ("tree", "flow.py", "main", "--json"),
    "export": ("export", "requirements", "flow.py", "--env", "deep"),
    "build of one, unchecked": ("build", "flow.py", "--env", "low", "--no-check", "-q"),
    "a platform that it is not for": ("plan", "flow.py", "--platform", "linux/arm64"),
    "no such task": ("plan", "flow.py", "mian"),
    "no such environment": ("push", "flow.py", "--env", "lwo", "--registry", "127.0.0.1:1/none"),
    "nowhere to push to": ("push", "flow.py"),
}
SAID_BY_READING = {"a platform that it is not for", "no such task", "no such environment"}


def test_all_that_needs_environments_and_locks_is_answered_alike(project: Project) -> None:
    taken = {}
    for name, words in QUESTIONS.items():
        taken[name] = project(*words)
        assert project.imported == (name in SAID_BY_READING), name
        if words[0] == "plan" and name not in SAID_BY_READING:
            assert noop.load(noop.key_of("plan", list(words[1:]))) is not None
    for name, words in QUESTIONS.items():
        project.forget("plans")
        same(taken[name], project(*words))
        assert project.imported, name


def test_other_locks_give_the_images_and_the_pins_of_a_build_that_imports(project: Project) -> None:
    before = project.digests()
    exchange(project.offline)
    kept = {path: path.read_bytes() for path in project.offline.lockfiles.iterdir()}
    relocked = project.digests()
    assert not project.imported
    assert relocked.keys() == before.keys()
    assert all(relocked[name] != before[name] for name in before)
    pinned = {path: path.read_bytes() for path in kept}
    assert pinned != kept
    for path, data in kept.items():
        path.write_bytes(data)
    project.forget("plans")
    project.unbuilt()
    assert project.digests() == relocked
    assert project.imported
    assert {path: path.read_bytes() for path in kept} == pinned
    project.offline.verified()


def test_nothing_to_do_is_on_record_then_and_a_stale_lock_is_refused(project: Project) -> None:
    exchange(project.offline)
    assert project.build().code == 0
    assert not project.imported
    said = project.build()
    assert not project.imported
    assert "nothing to build" in said.out
    assert noop.load(noop.key_of("build", ["flow.py"])) is not None
    assert project("plan", "flow.py").code == 0
    assert not project.imported
    project.offline.write(FLOW + "# more\n")
    for command in ("build", "plan"):
        assert noop.load(noop.key_of(command, ["flow.py"])) is None, "it depends on what the project does"
    project.offline.write(FLOW)
    for command in ("build", "plan"):
        assert noop.load(noop.key_of(command, ["flow.py"])) is not None
    exchange(project.offline, version="9.1")
    for command in ("build", "plan"):
        assert noop.load(noop.key_of(command, ["flow.py"])) is None, "and on the locks"
    assert project.build().code == 0
    assert project("plan", "flow.py").code == 0
    assert not project.imported
    assert noop.load(noop.key_of("plan", ["flow.py"])) is not None
    for path in (project.offline.store / "modules").iterdir():
        path.rename(f"{path}.away")
    assert noop.load(noop.key_of("plan", ["flow.py"])) is None, "what wheels have may be unknown then"
    of_another_recipe(project.offline)
    for words in (("build", "flow.py"), ("plan", "flow.py"), ("push", "flow.py", "--registry", "127.0.0.1:1/none")):
        said = project(*words)
        assert said.code == 4
        assert "1 lock is stale or missing" in said.err
        assert project.imported


def test_a_plan_of_other_locks_is_told_once_their_wheels_are_here(project: Project) -> None:
    exchange(project.offline)
    assert project("plan", "flow.py").code == 0
    assert project.imported, "nobody asks an index for a plan"
    exchange(project.offline, version="9.1")
    assert project.build().code == 0
    assert not project.imported
    exchange(project.offline, version="9.0")
    exchange(project.offline, version="9.1")
    told = project("plan", "flow.py", "--json")
    assert not project.imported
    project.forget("plans")
    same(told, project("plan", "flow.py", "--json"))


def test_versions_that_come_to_differ_are_told(project: Project) -> None:
    """By whoever compares them, which takes the user's file."""
    project.offline.write("import alpha\n" + FLOW)
    exchange(project.offline, version="9.1")
    assert project.build().code == 0
    low = lockfile.read(project.offline.lockfiles, "low")
    assert low is not None
    exchange(project.offline, version="9.2")
    assert project.build().code == 0
    lockfile.write(project.offline.lockfiles, low)
    assert project.build().code == 0
    assert not project.imported
    told = project("plan", "flow.py", "--json")
    assert project.imported
    assert [f["code"] for f in told.json()["findings"]] == ["version-differs"]
    again = project("plan", "flow.py", "--json")
    assert not project.imported
    same(again, told)


def test_a_file_that_reads_its_lock_is_imported(project: Project) -> None:
    reads = 'from pathlib import Path\nPath(__file__).with_name("lockfiles").joinpath("low.json").read_text()\n'
    project.offline.write(reads + FLOW)
    for imported in (True, False):
        assert project("plan", "flow.py").code == 0
        assert project.imported == imported
    exchange(project.offline)
    assert project.build().code == 0
    assert project.imported


def test_a_file_that_asks_for_the_command_line_is_read_for_each(project: Project) -> None:
    for asks in ("len(sys.argv)", "sys.argv[1:]", "[*sys.orig_argv]", "argparse.ArgumentParser()"):
        project.offline.write(f"import argparse, sys\n{asks}\n" + FLOW)
        for words, imported in (
            (("plan", "flow.py"), True),
            (("plan", "flow.py"), False),
            (("plan", "flow.py", "--layers"), True),
            (("plan", "flow.py"), True),
        ):
            assert project(*words).code == 0
            assert project.imported == imported, (asks, words)


def test_what_was_not_judged_before_is_imported_and_kept_besides(project: Project) -> None:
    for words in (("build", "flow.py", "--env", "low"), ("plan", "flow.py", "lower")):
        assert project(*words).code == 0
        assert project.imported == (words[0] == "build"), words
    for words in (("build", "flow.py", "main"), ("plan", "flow.py"), ("build", "flow.py", "lower")):
        assert project(*words).code == 0
        assert not project.imported, words


def test_who_is_called_without_being_named_takes_the_code(project: Project) -> None:
    bare = 'bare = flyte.TaskEnvironment("bare", image=flyte.Image.from_debian_base(python_version=(3, 11)))\n'
    project.offline.write(FLOW + bare)
    project.offline.ok("lock", "flow.py")
    assert project.build("-q").code == 0
    for words, imported in ((("plan", "flow.py", "--env", "deep"), True), (("plan", "flow.py", "main"), True)):
        for _ in range(2):
            assert project(*words).code == 0
        assert project.imported == (words[2] == "main"), (words, imported)


def test_a_record_of_other_files_is_nothing(project: Project) -> None:
    """It lies where others may write."""
    [path] = kept(project)
    record = json.loads(path.read_text())
    other = project.offline.home / "others"
    shutil.copytree(project.offline.lockfiles, other / "lockfiles")
    for wrong in (
        {"lockfiles": str(other / "lockfiles")},
        {"file": str(other / "flow.py")},
        {"root": str(other)},
    ):
        path.write_text(json.dumps({**record, "answer": {**record["answer"], **wrong}}))
        assert project("plan", "flow.py").code == 0
        assert project.imported, wrong


def kept(project: Project) -> list[Path]:
    """Where the project is kept as it was read."""
    records = (project.offline.store / "plans").glob("*.json")
    return [path for path in records if "judged" in json.loads(path.read_text())["answer"]]


def test_what_is_kept_and_makes_no_sense_is_nothing(project: Project) -> None:
    [path] = kept(project)
    record = json.loads(path.read_text())
    for answer in ({}, {**record["answer"], "frames": {"low": 7}}, {**record["answer"], "environments": [[1]]}, [1]):
        path.write_text(json.dumps({**record, "answer": answer}))
        exchange(project.offline)
        project.unbuilt()
        assert project.build().code == 0
        assert project.imported
