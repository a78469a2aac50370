"""A run's documents in object storage and here: the same bytes, bounded, whole or not there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore

from flyte_build.kernel.errors import InputError, RunError
from flyte_build.submit import door
from flyte_build.submit.kubernetes.mirror import Mirror, mirror_of


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror("memory://", tmp_path / "runs", MemoryStore())


def test_there_and_back(mirror: Mirror, tmp_path: Path) -> None:
    path = mirror.runs / "r1" / "kept" / "a0" / "inputs.pb"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\0\1data")

    async def go() -> None:
        await mirror.up(path)
        path.unlink()
        assert await mirror.down(path)
        await mirror.copy("r1/kept/a0/inputs.pb", mirror.runs / "r1" / "kept" / "a1" / "inputs.pb")

    asyncio.run(go())
    assert path.read_bytes() == b"\0\1data"
    listed = sorted(str(o["path"]) for page in obstore.list(mirror.store) for o in page)
    assert listed == ["r1/kept/a0/inputs.pb", "r1/kept/a1/inputs.pb"]
    assert sorted(p.name for p in path.parent.iterdir()) == ["inputs.pb"], "nothing half is left"


def test_what_is_not_there(mirror: Mirror) -> None:
    path = mirror.runs / "r1" / "x"
    assert asyncio.run(mirror.down(path)) is False
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        asyncio.run(mirror.copy("r1/x", mirror.runs / "r1" / "y"))
    with pytest.raises(ValueError, match="is not below"):
        mirror.key(Path("/elsewhere"))


def test_what_is_too_large_is_refused_and_not_fetched(mirror: Mirror) -> None:
    obstore.put(mirror.store, "r1/big", b"x" * 1001)
    with pytest.raises(door.Refused, match="has 1,001 bytes, and may have 1,000"):
        asyncio.run(mirror.down(mirror.runs / "r1" / "big", 1000))
    assert not mirror.runs.exists()
    assert asyncio.run(mirror.down(mirror.runs / "r1" / "big", 1001))


def test_a_folder_is_there_once_something_is_in_it(mirror: Mirror) -> None:
    folder = mirror.runs / "r1" / "raw" / "a0" / "1"
    assert not asyncio.run(mirror.any(folder))
    obstore.put(mirror.store, "r1/raw/a0/10/file", b"")
    assert not asyncio.run(mirror.any(folder)), "1 is not 10"
    obstore.put(mirror.store, "r1/raw/a0/1/deep/file", b"")
    assert asyncio.run(mirror.any(folder))


def test_storage_that_cannot_be_used_is_said_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="storage ftp://x/y cannot be used") as e:
        mirror_of("ftp://x/y", tmp_path, {})
    assert "s3://BUCKET/PREFIX" in str(e.value.hint)


def test_a_store_that_fails_is_an_error_that_names_the_object(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mirror = mirror_of(f"file://{tmp_path}", tmp_path / "runs", {})
    (tmp_path / "runs" / "file").mkdir(parents=True)
    below = tmp_path / "runs" / "file" / "x"
    below.touch()
    with pytest.raises(RunError, match=r"file/x: ") as e:
        asyncio.run(mirror.up(below))
    assert "target check" in str(e.value.hint)
