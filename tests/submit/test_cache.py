"""Outputs found again, and not found when anything they stand on has changed or is gone."""

from __future__ import annotations

import asyncio
import gzip
import io
import tarfile
import time
from pathlib import Path

import pytest
from flyteidl2.core import literals_pb2
from flyteidl2.task import common_pb2

from flyte_build.submit.cache import TaskCache, bundle_digest, intact, key
from flyte_build.submit.storage import Storage

KEY = key("flyte's", "sha256:image", "sha256:code")


def stored(storage: Storage, *uris: str) -> str:
    """Outputs that refer to ``uris``: one plain, the rest in a list in a map."""
    outputs = common_pb2.Outputs()

    def blob(uri: str) -> literals_pb2.Literal:
        return literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri=uri)))

    for number, uri in enumerate(uris):
        literal = blob(uri)
        if number:
            inner = literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=[literal]))
            literal = literals_pb2.Literal(map=literals_pb2.LiteralMap(literals={"k": inner}))
        outputs.literals.append(common_pb2.NamedLiteral(name=f"o{number}", value=literal))
    folder = storage.run("r").attempt("a0", 1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "outputs.pb").write_bytes(outputs.SerializeToString())
    return storage.uri(folder)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "runs")


def test_the_key_is_of_all_three_parts_apart() -> None:
    parts = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", "b", "d"), ("a", "d", "c"), ("d", "b", "c")]
    assert len({key(*p) for p in parts}) == len(parts)


def test_what_was_put_is_found_by_others(tmp_path: Path, storage: Storage) -> None:
    uri = stored(storage)
    assert TaskCache(tmp_path / "c", storage).find(KEY, has_outputs=True, max_age=None) is None
    TaskCache(tmp_path / "c", storage).put(KEY, uri)
    assert TaskCache(tmp_path / "c", storage).find(KEY, has_outputs=True, max_age=None) == uri
    assert not [p for p in (tmp_path / "c").iterdir() if p.name != KEY]


def test_an_entry_whose_files_are_gone_is_none(tmp_path: Path, storage: Storage) -> None:
    for name in ("one", "two"):
        (storage.runs / "r" / "raw").mkdir(parents=True, exist_ok=True)
        (storage.runs / "r" / "raw" / name).touch()
    uri = stored(storage, "/mnt/flyte/runs/r/raw/one", "file:///mnt/flyte/runs/r/raw/two")
    assert intact(uri, storage)
    (storage.runs / "r" / "raw" / "two").unlink()
    assert not intact(uri, storage)
    assert intact(stored(storage, "s3://bucket/elsewhere"), storage)  # not ours to look after
    (storage.path(uri) / "outputs.pb").write_bytes(b"\xff")
    assert not intact(uri, storage)
    (storage.path(uri) / "outputs.pb").unlink()
    assert not intact(uri, storage)
    assert not intact("/etc", storage)


def test_old_entries_and_torn_ones_are_none(tmp_path: Path, storage: Storage) -> None:
    cache = TaskCache(tmp_path / "c", storage)
    cache.put(KEY, stored(storage))
    time.sleep(0.02)
    assert cache.find(KEY, has_outputs=True, max_age=0.01) is None
    assert cache.find(KEY, has_outputs=True, max_age=100) is not None
    for damage in ("", "{", "[]", '{"output_uri": 1}'):
        (tmp_path / "c" / KEY).write_text(damage)
        assert cache.find(KEY, has_outputs=True, max_age=None) is None


def test_one_computation_at_a_time(tmp_path: Path, storage: Storage) -> None:
    inside, most = 0, 0

    async def compute() -> None:
        nonlocal inside, most
        async with TaskCache(tmp_path / "c", storage).alone(KEY):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    async def go() -> None:
        await asyncio.gather(*(compute() for _ in range(3)))

    asyncio.run(go())
    assert most == 1


def test_a_bundles_digest_is_of_its_content_not_of_its_compression(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("x"))
    for name, level in (("a.tgz", 1), ("b.tgz", 9)):
        with gzip.GzipFile(tmp_path / name, "wb", level, mtime=level) as f:
            f.write(plain.getvalue())
    assert (tmp_path / "a.tgz").read_bytes() != (tmp_path / "b.tgz").read_bytes()
    assert bundle_digest(tmp_path / "a.tgz") == bundle_digest(tmp_path / "b.tgz")
    (tmp_path / "c.tgz").write_bytes(gzip.compress(plain.getvalue() + b"\0" * 512))
    assert bundle_digest(tmp_path / "c.tgz") != bundle_digest(tmp_path / "a.tgz")
