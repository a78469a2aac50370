"""What a session says is on the disk is there, whoever put it there; what a kill left is swept."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from flyte_build.store import Session, Store, session
from flyte_build.store.locks import held


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were brought to the disk, in their order."""
    folders: list[Path] = []
    monkeypatch.setattr(session, "fsync_directory", folders.append)
    return folders


def test_a_sync_waits_for_what_another_thread_is_bringing_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would say of a blob that it is safe while the other thread is still at it, and a claim would follow."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(folder: Path) -> None:
        begun.set()
        assert go_on.wait(30)

    monkeypatch.setattr(session, "fsync_directory", slow)
    with Store(tmp_path).session() as made:
        made.put_blob(b"one")
        first, second = threading.Thread(target=made.sync), threading.Thread(target=made.sync)
        first.start()
        assert begun.wait(30)
        second.start()
        second.join(0.2)
        waited = second.is_alive()
        go_on.set()
        first.join(30)
        second.join(30)
        assert waited
        assert not second.is_alive()


def test_a_sync_that_failed_is_made_good_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path) -> None:
        raise RuntimeError("the disk is gone")

    with Store(tmp_path).session() as made:
        made.put_blob(b"one")
        with monkeypatch.context() as patch:
            patch.setattr(session, "fsync_directory", broken)
            with pytest.raises(RuntimeError, match="gone"):
                made.sync()
        again: list[Path] = []
        monkeypatch.setattr(session, "fsync_directory", again.append)
        made.sync()
        made.sync()
        assert again == [made.store.blobs]


def test_a_name_that_was_found_is_made_durable_too(tmp_path: Path, synced: list[Path]) -> None:
    """Whoever published it may have been stopped before it was."""
    store = Store(tmp_path)
    with store.session() as killed:
        killed.put_blob(b"one")
    assert synced == []
    with store.session() as made:
        made.put_blob(b"one")
        made.sync()
    assert synced == [store.blobs]


def left(store: Store, partial: bytes, artifact: bytes | None) -> tuple[Path, Path]:
    """What a download leaves that is killed before or after its artifact is published."""
    name = "a" * 64
    for folder in (store.partial, store.artifacts):
        folder.mkdir(parents=True)
    (store.partial / name).write_bytes(partial)
    if artifact is not None:
        (store.artifacts / name).write_bytes(artifact)
    return store.partial / name, store.artifacts / name


def opened(store: Store) -> Session:
    with store.session() as made:
        return made


def test_what_a_download_left_that_was_killed_after_its_end_is_swept(tmp_path: Path) -> None:
    partial, artifact = left(Store(tmp_path), b"", b"bytes")
    opened(Store(tmp_path))
    assert not partial.exists()
    assert artifact.read_bytes() == b"bytes"


def test_what_a_download_can_go_on_from_is_not_swept(tmp_path: Path) -> None:
    partial, _ = left(Store(tmp_path), b"half", None)
    opened(Store(tmp_path))
    assert partial.read_bytes() == b"half"


def test_what_somebody_is_at_is_not_swept(tmp_path: Path) -> None:
    partial, _ = left(Store(tmp_path), b"", b"bytes")
    with held(partial):
        opened(Store(tmp_path))
        assert partial.exists()
