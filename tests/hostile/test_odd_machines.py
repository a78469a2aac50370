"""Machines on which something cannot be written or read: a message of ours and its exit code, and never a bug of ours.

Every command that people begin with is tried, in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from ..support.offline import Offline
from ..support.registry import RegistryServer
from ..support.tools import need, need_root

HERE = Path(__file__).parents[2]
COMMANDS = {
    "version": ["--version"],
    "plan": ["plan", "flow.py"],
    "build": ["build", "flow.py"],
    "push": ["push", "flow.py", "--registry", "REGISTRY/team"],
    "run help": ["run", "flow.py", "main", "--help"],
    "gc": ["store", "gc"],
    "check": ["lock", "flow.py", "--check"],
}


class Machine:
    """Runs the commands under conditions."""

    def __init__(self, project: Path, registry: RegistryServer) -> None:
        self.project, self.registry = project, registry

    def run(
        self, command: Sequence[str], *, shell: str = "", wrapper: Sequence[str] = (), **variables: str | None
    ) -> tuple[int, str]:
        given = [word.replace("REGISTRY", self.registry.host) for word in command]
        line = [*wrapper, sys.executable, "-B", "-m", "flyte_build", *given]
        if shell:
            line = ["sh", "-c", f'exec "$@" {shell}', "sh", *line]
        changed = {**os.environ, "PYTHONPATH": str(HERE), **variables}
        environ = {name: value for name, value in changed.items() if value is not None}
        done = subprocess.run(
            line, cwd=self.project, env=environ, capture_output=True, text=True, timeout=120, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert "this is a bug" not in done.stderr, done.stderr
        assert "Exception ignored" not in done.stderr, done.stderr
        return done.returncode, done.stderr

    def all(self, expected: Mapping[str, int], **how: object) -> dict[str, str]:
        """What each command said; each has to end with the code that is expected of it (0 where nothing is)."""
        said = {}
        codes = {}
        for name, command in COMMANDS.items():
            codes[name], said[name] = self.run(command, **how)  # type: ignore[arg-type]
            if codes[name]:
                assert [x.split(":")[0] for x in said[name].splitlines() if x.startswith(("error: ", "hint: "))] == [
                    "error",
                    "hint",
                ], said[name]
        assert codes == {name: expected.get(name, 0) for name in COMMANDS}, said
        return said


@pytest.fixture
def machine(offline: Offline, registry: RegistryServer) -> Machine:
    offline.locked()
    return Machine(offline.project, registry)


@pytest.fixture
def small(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of its own, mounted with the options that the test is parametrized with."""
    need_root("mounting a file system")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run([need("mount"), "-t", "tmpfs", "-o", request.param, "none", str(folder)], check=True, timeout=30)
    try:
        yield folder
    finally:
        subprocess.run([need("umount"), "-l", str(folder)], check=True, timeout=30)


@pytest.mark.parametrize(
    ("shell", "why"),
    [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")],
    ids=["closed", "full"],
)
def test_an_output_that_takes_nothing(machine: Machine, shell: str, why: str) -> None:
    for _ in range(2):
        said = machine.all(dict.fromkeys(COMMANDS, 9), shell=shell)
        for words in said.values():
            assert f"error: standard output cannot be written: {why}\n" in words
    assert machine.all({}) != {}, "what was asked for was done"


def test_no_standard_stream_at_all(machine: Machine) -> None:
    assert machine.run(COMMANDS["plan"], shell="<&- >&- 2>&-")[0] == 9
    assert machine.run(COMMANDS["plan"], shell="2>&-") == (0, "")
    assert machine.run(["plan", "none.py"], shell="2>/dev/full")[0] == 3


@pytest.mark.parametrize("small", ["nr_inodes=2"], indirect=True)
def test_no_inode_for_the_store(machine: Machine, small: Path) -> None:
    said = machine.all({"build": 9, "push": 9}, FLYTE_BUILD_CACHE=str(small / "cache"))
    assert f"error: {small}/cache" in said["build"]
    assert "no space left: no inode free" in said["build"]


@pytest.mark.parametrize("small", ["nr_inodes=2", "ro"], indirect=True)
def test_a_state_folder_that_takes_nothing(machine: Machine, small: Path) -> None:
    machine.all({}, FLYTE_BUILD_STATE=str(small / "state"))
    code, said = machine.run(["run", "flow.py", "main", "--x", "1"], FLYTE_BUILD_STATE=str(small / "state"))
    assert code in (9, 11), said
    if code == 9:
        assert f"error: {small}/state" in said
        assert "set FLYTE_BUILD_STATE" in said


@pytest.mark.parametrize("small", ["size=16k"], indirect=True)
def test_a_state_folder_that_is_full(machine: Machine, small: Path) -> None:
    (small / "ballast").write_bytes(bytes(8192))
    machine.all({}, FLYTE_BUILD_STATE=str(small / "state"))
    code, said = machine.run(["run", "flow.py", "main", "--x", "1"], FLYTE_BUILD_STATE=str(small / "state"))
    assert code in (9, 11), said
    if code == 9:
        assert f"error: {small}/state" in said
        assert "No space left on device\nhint: make room there" in said


@pytest.mark.parametrize("small", ["ro"], indirect=True)
def test_a_home_that_may_not_be_written(machine: Machine, small: Path) -> None:
    nowhere = dict.fromkeys(("FLYTE_BUILD_CACHE", "FLYTE_BUILD_STATE", "XDG_CACHE_HOME", "XDG_STATE_HOME"))
    said = machine.all({"build": 9, "push": 9}, HOME=str(small), **nowhere)
    assert f"error: {small}/.cache/flyte-build: cannot be written: Read-only file system\n" in said["build"]
    assert "hint: set FLYTE_BUILD_CACHE" in said["build"]


@pytest.mark.parametrize("mode", [0o700, 0o755])
@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_a_store_of_another_user(offline: Offline, machine: Machine, mode: int, filled: bool) -> None:
    need_root("becoming another user")
    wrapper = [need("setpriv"), "--reuid=12345", "--regid=12345", "--clear-groups"]
    home = Path(tempfile.mkdtemp(prefix="odd-machine-"))
    try:
        home.chmod(0o755)
        project, theirs = home / "project", home / "theirs"
        shutil.copytree(offline.project, project)
        subprocess.run(["chown", "-R", "12345:12345", str(project)], check=True, timeout=30)
        theirs.mkdir()
        if filled:
            assert machine.run(COMMANDS["build"], FLYTE_BUILD_CACHE=str(theirs))[0] == 0
        theirs.chmod(mode)
        machine.project = project
        # What may be read is read: with all images there, nothing has to be written.
        expected = {"build": 0 if filled and mode == 0o755 else 9, "push": 9}
        if mode == 0o700:
            expected |= {"plan": 9, "gc": 9}
        if filled:
            expected["gc"] = 9
        said = machine.all(
            expected,
            wrapper=wrapper,
            FLYTE_BUILD_CACHE=str(theirs),
            FLYTE_BUILD_STATE=str(project / "s"),
            HOME=str(home),
        )
        for name, code in expected.items():
            assert (f"error: {theirs}" in said[name]) is (code == 9), said[name]
    finally:
        shutil.rmtree(home)
