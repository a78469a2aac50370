"""What benchmarks say of the machine that they ran on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import machine


@pytest.mark.parametrize(
    ("source", "task", "said"),
    [
        ("ext4 /dev/vda", "<none>\n", "ext4, no journal"),
        ("ext4 /dev/vda", "1234\n", "ext4"),
        ("btrfs /dev/vda", "", "btrfs"),
        ("tmpfs tmpfs", "", "tmpfs"),
    ],
)
def test_a_file_system_without_a_journal_is_told_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, task: str, said: str
) -> None:
    device = os.stat(tmp_path).st_dev
    here = f"{os.major(device)}:{os.minor(device)}"
    mounts = f"1 0 0:99 / /other rw - proc proc rw\n2 1 {here} / / rw shared:1 - {source} rw\n"
    files = {"/proc/self/mountinfo": mounts, "/sys/fs/ext4/vda/journal_task": task}
    monkeypatch.setattr(machine, "_text", lambda path: files.get(path, ""))
    assert machine.file_system(tmp_path) == said
