"""What killed runs leave is removed when the next one starts, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

from flyte_build.store.locks import try_acquire
from flyte_build.submit.leftovers import sweep
from flyte_build.submit.storage import RunFolder, Storage


def _run(storage: Storage, name: str) -> RunFolder:
    folder = storage.run(name)
    for path in (folder.kept / "a0" / "1", folder.meta, folder.seen / "other", folder.scratch / "a0-1" / "0"):
        path.mkdir(parents=True)
    for path in (
        folder.socket,
        folder.facts,
        folder.facts.with_suffix(".tmp"),
        folder.journal,
        folder.lock,
        folder.kept / "a0" / "1" / "outputs.pb",
        folder.kept / "a0" / "1" / ".0123456789abcdef.part",
        folder.seen / "other" / ".fedcba9876543210.part",
        folder.meta / ".0123456789abcdef.part",
        folder.kept / "a0" / ".a task's own.part",
    ):
        path.write_bytes(b"x")
    return folder


def _files(folder: RunFolder) -> set[str]:
    return {p.relative_to(folder.path).as_posix() for p in folder.path.rglob("*") if p.is_file()}


def test_only_what_no_one_needs_is_removed(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "runs")
    dead, living, ended = (_run(storage, name) for name in ("dead", "living", "ended"))
    ended.scratch.rename(ended.path / "no-scratch")
    before = {name: _files(folder) for name, folder in (("living", living), ("ended", ended))}
    handle = try_acquire(living.lock)
    assert handle is not None
    try:
        sweep(storage)
    finally:
        os.close(handle)
    assert _files(dead) == {
        "run.json",
        "journal.jsonl",
        "lock",
        "kept/a0/1/outputs.pb",
        "meta/.0123456789abcdef.part",
        "kept/a0/.a task's own.part",
    }
    assert not dead.scratch.exists()
    assert before == {"living": _files(living), "ended": _files(ended)}


def test_links_of_a_task_lead_nowhere(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "runs")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".1111111111111111.part").write_bytes(b"x")
    folder = _run(storage, "dead")
    (folder.kept / "link").symlink_to(tmp_path / "mine")
    (folder.scratch / "link").symlink_to(tmp_path / "mine")
    (folder.seen / ".0000000000000000.part").symlink_to(tmp_path / "mine" / ".1111111111111111.part")
    sweep(storage)
    assert (tmp_path / "mine" / ".1111111111111111.part").exists()
    assert not folder.scratch.exists()


def test_no_runs_yet(tmp_path: Path) -> None:
    sweep(Storage(tmp_path / "runs"))
