"""What was hashed is recorded by how it lies on the disk, and hashed again when it lies otherwise."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from flyte_build.building import ahead
from flyte_build.building.building import build
from flyte_build.kernel.errors import FetchError
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store, checked
from tests.support.images import FolderLocator

from .conftest import Built

DATA = b"an artifact" * 1000
SHA = hashlib.sha256(DATA).hexdigest()


class Counted:
    """How often a file was hashed, here or by the core."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        real = checked.hash_file

        def counting(path: Path) -> tuple[str, int]:
            self.names.append(path.name)
            return real(path)

        monkeypatch.setattr(checked, "hash_file", counting)
        proof = ahead.proof

        def asked(store: Store, sha256: str) -> checked.Proof | None:
            how = proof(store, sha256)
            if how is not None:
                self.names.append(sha256)
            return how

        monkeypatch.setattr(ahead, "proof", asked)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return Counted(monkeypatch).names


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """With one artifact, that was there long before it is looked at."""
    made = Store(tmp_path / "store")
    with made.session() as session:
        path = session.temporary()
        path.write_bytes(DATA)
        session.put_artifact(path, SHA)
    later(monkeypatch)
    return made


def later(monkeypatch: pytest.MonkeyPatch, seconds: float = 10) -> None:
    now = time.time_ns
    monkeypatch.setattr(checked.time, "time_ns", lambda: now() + int(seconds * 1e9))


def test_what_is_recorded_costs_no_hash(store: Store, hashed: list[str]) -> None:
    for _ in range(3):
        assert store.sound(SHA, len(DATA)) == store.artifact_path(SHA)
    assert hashed == [SHA]
    assert Store(store.root).sound(SHA) is not None
    assert hashed == [SHA], "the record is on the disk"
    assert checked.sound_artifact(store, SHA, always=True) is not None
    assert len(hashed) == 2


@pytest.mark.parametrize("touch", ["mtime", "inode", "mode", "bytes", "record", "no record"])
def test_what_lies_otherwise_is_hashed_again(store: Store, hashed: list[str], touch: str) -> None:
    path = store.artifact_path(SHA)
    assert store.sound(SHA) == path
    was = path.stat()
    if touch == "mtime":
        os.utime(path)
    elif touch == "inode":
        other = path.with_name("other")
        other.write_bytes(DATA)
        os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
        other.replace(path)
    elif touch == "mode":
        path.chmod(0o600)
    elif touch == "bytes":
        path.chmod(0o600)
        path.write_bytes(b"x" + DATA[1:])
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    elif touch == "record":
        (store.checked / SHA).write_bytes(b"12 34")
    else:
        (store.checked / SHA).unlink()
    if touch == "bytes":
        with pytest.raises(FetchError, match=f"expected SHA-256 {SHA}"):
            store.sound(SHA)
        assert store.sound(SHA) is None, "it was moved aside"
        return
    assert store.sound(SHA) == path
    assert hashed == [SHA, SHA]


def test_a_file_that_is_too_young_to_tell_is_hashed_again(tmp_path: Path, hashed: list[str]) -> None:
    """A change within one tick of the clock leaves the same dates: such a record would hide it."""
    store = Store(tmp_path / "store")
    with store.session() as session:
        path = session.temporary()
        path.write_bytes(DATA)
        session.put_artifact(path, SHA)
    assert store.sound(SHA) is not None
    assert store.sound(SHA) is not None
    assert hashed == [SHA, SHA]
    assert not store.checked.exists()


def test_a_record_of_a_young_file_does_not_count(store: Store, hashed: list[str]) -> None:
    found = store.artifact_path(SHA).stat()
    store.checked.mkdir()
    fields = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ctime_ns + 1
    (store.checked / SHA).write_text(" ".join(map(str, fields)))
    assert store.sound(SHA) is not None
    assert hashed == [SHA]


def test_a_store_that_may_not_be_written_is_read_all_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(30, "read-only")))
    assert store.sound(SHA) is not None
    assert not (store.checked / SHA).exists()
    assert list(store.tmp.glob("session-*")) == []


def test_a_session_hashes_once_and_not_what_arrived_in_it(store: Store, hashed: list[str]) -> None:
    other = hashlib.sha256(b"new").hexdigest()
    with store.session() as session:
        threads = [threading.Thread(target=session.artifact, args=(SHA,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        path = session.temporary()
        path.write_bytes(b"new")
        session.put_artifact(path, other)
        assert session.artifact(other) == store.artifact_path(other)
    assert hashed == [SHA]


def test_a_build_from_recorded_artifacts_hashes_none(
    filled: Built, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch)
    store = filled.store
    artifacts = {a.sha256 for image in filled.images for layer in image.layers for a in layer.artifacts}

    def rebuild() -> None:
        for path in store.realisations.iterdir():
            path.unlink()
        built = build(filled.images, store, locator=FolderLocator(filled.wheels), reporter=Silent())
        assert [b.manifest_digest for b in built] == [b.manifest_digest for b in filled.built]

    rebuild()
    assert sorted(hashed) == sorted(artifacts), "each once, though two images share one"
    rebuild()
    assert len(hashed) == len(artifacts)
    filled.again()
    assert len(hashed) == len(artifacts), "a build with nothing to do hashes nothing"


def test_gc_takes_the_record_with_the_artifact(store: Store) -> None:
    assert store.sound(SHA) is not None
    assert (store.checked / SHA).exists()
    store.gc(keep_days=0)
    assert not store.artifact_path(SHA).exists()
    assert not (store.checked / SHA).exists()
