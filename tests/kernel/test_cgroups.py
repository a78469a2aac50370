"""Which control groups may be used, on machines other than this one: hierarchies made of plain files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flyte_build.kernel.cgroups import CPU_PERIOD, Cgroups, Group


def machine(folder: Path, mountinfo: list[str], memberships: list[str]) -> Path:
    proc = folder / "proc"
    proc.mkdir(parents=True)
    (proc / "mountinfo").write_text("".join(f"{line}\n" for line in mountinfo))
    (proc / "cgroup").write_text("".join(f"{line}\n" for line in memberships))
    return proc


def unified(folder: Path, group: str, controllers: dict[str, str]) -> Path:
    """A version 2 hierarchy; ``controllers`` maps a group to what it gives its children."""
    root = folder / "cgroup fs"
    for name in ("", *controllers):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "cgroup.subtree_control").write_text(controllers.get(name, ""))
        (root / name / "cgroup.procs").touch()
    escaped = str(root).replace(" ", "\\040")
    return machine(folder, [f"30 23 0:26 / {escaped} rw,nosuid - cgroup2 cgroup2 rw"], [f"0::{group}"])


def test_version_2_uses_the_nearest_delegated_ancestor(tmp_path: Path) -> None:
    proc = unified(
        tmp_path,
        "/user.slice/app.slice/shell.scope",
        {"user.slice": "memory", "user.slice/app.slice": "cpu memory pids", "user.slice/app.slice/shell.scope": ""},
    )
    found = Cgroups.detect(proc)
    expected = tmp_path / "cgroup fs" / "user.slice" / "app.slice"
    assert found == Cgroups(expected, expected, unified=True, pids=expected)


def test_version_2_without_the_memory_controller_gives_nothing(tmp_path: Path) -> None:
    proc = unified(tmp_path, "/user.slice/shell.scope", {"user.slice": "pids", "user.slice/shell.scope": ""})
    assert Cgroups.detect(proc) == Cgroups(None, None, unified=False)


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    for controller in ("memory", "cpu", "pids"):
        (tmp_path / controller / "mine").mkdir(parents=True)
    proc = machine(
        tmp_path,
        [
            f"31 30 0:27 / {tmp_path}/memory rw - cgroup cgroup rw,memory",
            f"32 30 0:28 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct",
            f"35 30 0:31 / {tmp_path}/pids rw - cgroup cgroup rw,pids",
            f"33 30 0:29 / {tmp_path}/unified rw - cgroup2 cgroup2 rw",
        ],
        ["4:memory:/mine", "1:cpu,cpuacct:/elsewhere", "8:pids:/mine", "0::/"],
    )
    found = Cgroups.detect(proc)
    # A group that is not below the mount is the mount itself, as in a container.
    assert found == Cgroups(
        tmp_path / "memory" / "mine", tmp_path / "cpu", unified=False, pids=tmp_path / "pids" / "mine"
    )


def test_a_machine_without_groups_gives_nothing(tmp_path: Path) -> None:
    assert Cgroups.detect(tmp_path / "nowhere") == Cgroups(None, None, unified=False)


def test_limits_are_written_in_the_kernels_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Path.mkdir

    def with_files(self: Path, *args: object, **options: object) -> None:
        make(self)
        for name in ("memory.max", "memory.swap.max", "memory.oom.group", "cpu.max", "pids.max"):
            (self / name).touch()

    monkeypatch.setattr(Path, "mkdir", with_files)
    groups = Cgroups(tmp_path, tmp_path, unified=True, pids=tmp_path)
    group = groups.create("run-a0-1", memory=1 << 30, cpu=1.5, pids=4096)
    (folder,) = group.folders
    assert folder.name == f"flyte-build-{os.getpid()}-{born()}-run-a0-1"
    assert (folder / "memory.max").read_text() == f"{1 << 30}\n"
    assert (folder / "memory.swap.max").read_text() == "0\n"
    assert (folder / "cpu.max").read_text() == f"{int(1.5 * CPU_PERIOD)} {CPU_PERIOD}\n"
    assert (folder / "pids.max").read_text() == "4096\n"
    assert group.join == (folder / "cgroup.procs",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("memory.events", "max 3\noom 1\noom_kill 2\n"),
        ("memory.oom_control", "under_oom 0\noom_kill 2\n"),
    ],
)
def test_kills_are_counted_in_either_version(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert Group((tmp_path,)).oom_kills() == 2
    assert Group((tmp_path / "absent",)).oom_kills() == 0


def test_refused_forks_are_counted(tmp_path: Path) -> None:
    (tmp_path / "pids.events").write_text("max 7\n")
    assert Group((tmp_path / "absent", tmp_path)).refused_forks() == 7
    assert Group((tmp_path / "absent",)).refused_forks() == 0


def test_groups_of_dead_launchers_are_swept_by_one_that_makes_none(tmp_path: Path) -> None:
    dead = tmp_path / "memory" / "flyte-build-999999999-12-warm4"
    other = tmp_path / "pids" / f"flyte-build-{os.getpid()}-7-warm4"  # another process had this number
    alive = tmp_path / "pids" / f"flyte-build-{os.getpid()}-{born()}-run-a0-7"
    strange = tmp_path / "pids" / "flyte-build-of-somebody"
    for folder in (dead, other, alive, strange):
        folder.mkdir(parents=True)
    Cgroups(tmp_path / "memory", None, unified=False, pids=tmp_path / "pids").sweep()
    assert sorted(tmp_path.glob("*/*")) == sorted([alive, strange])


def test_a_group_that_could_not_be_limited_is_removed(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        # Plain folders have no limits to write to.
        Cgroups(tmp_path, None, unified=False).create("x", memory=1, cpu=None)
    assert list(tmp_path.iterdir()) == []


def born() -> str:
    return Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
