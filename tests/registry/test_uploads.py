"""Blobs on their way in: what is not sent, what is sent again, and what is never committed."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import BinaryIO

import pytest

from flyte_build.kernel.errors import InputError, RegistryError
from tests.support.registry import sha256

from .conftest import CHUNK, Pair, blob, opened

Make = Callable[..., Pair]
BIG = 3 * CHUNK + 5000


def test_what_is_there_is_not_sent(pair: Make) -> None:
    it = pair()
    data = blob(BIG)
    it.server.put_blob("team/image", data)
    told: list[int] = []
    assert it.push(data, advance=told.append) == "exists"
    assert [(s.method, s.kind) for s in it.server.requests] == [("HEAD", "blob")]
    assert sum(told) == BIG


def test_a_small_blob_takes_two_requests_more(pair: Make) -> None:
    it = pair()
    assert it.push(b"small") == "uploaded"
    assert [s.method for s in it.server.requests] == ["HEAD", "POST", "PUT"]
    assert it.stored(b"small")


def test_a_blob_of_nothing(pair: Make) -> None:
    it = pair()
    assert it.push(b"") == "uploaded"
    assert it.stored(b"")


def test_a_big_blob_goes_in_chunks(pair: Make) -> None:
    it = pair()
    data, told = blob(BIG), list[int]()
    assert it.push(data, advance=told.append) == "uploaded"
    assert it.stored(data)
    ranges = [s.headers["content-range"] for s in it.server.seen("PATCH")]
    assert ranges == ["0-99999", "100000-199999", "200000-299999", "300000-304999"]
    assert it.methods("session") == ["PATCH"] * 4 + ["PUT"]
    assert sum(told) == BIG
    assert it.server.bytes_in() == BIG


def test_other_sums_than_sha256(pair: Make) -> None:
    import hashlib

    it = pair()
    data = blob(BIG)
    digest = "sha512:" + hashlib.sha512(data).hexdigest()
    assert it.client.push_blob(it.ref, digest, BIG, opened(data)) == "uploaded"
    assert it.client.read_blob(it.ref, digest) == data


@pytest.mark.parametrize("least", [1, CHUNK - 1, 2 * CHUNK, 10 * BIG])
def test_the_registrys_least_chunk_is_honoured(least: int, pair: Make) -> None:
    it = pair(least=least)
    data = blob(BIG)
    assert it.push(data) == "uploaded"
    assert it.stored(data)
    chunks = [s.bytes_in for s in it.server.seen("PATCH")]
    assert all(c >= least for c in chunks[:-1])
    assert max(chunks) <= max(CHUNK, least)


def test_a_registry_that_asks_for_absurd_chunks_gets_none(pair: Make) -> None:
    it = pair(least=1 << 40)
    data = blob(BIG)
    assert it.push(data) == "uploaded"
    assert it.methods("session") == ["PUT"]


def test_a_registry_without_chunks(pair: Make) -> None:
    it = pair(patch=False)
    first, second = blob(BIG, 1), blob(BIG, 2)
    assert it.push(first) == "uploaded"
    assert it.methods("session") == ["PATCH", "DELETE", "PUT"]
    it.server.forget_requests()
    assert it.push(second) == "uploaded"
    assert it.methods("session") == ["PUT"], "it is not asked again"
    assert it.stored(first)
    assert it.stored(second)
    assert it.waits == []


@pytest.mark.parametrize("status", [400, 404, 411, 413, 415, 416, 501])
def test_a_first_chunk_that_is_refused(status: int, pair: Make) -> None:
    it = pair()
    data = blob(BIG)
    it.server.fail("PATCH", "session", status=status, times=99)
    assert it.push(data) == "uploaded"
    assert it.stored(data)
    assert it.server.count("PATCH") == 1


@pytest.mark.parametrize("status", [201, 204])
def test_older_words_for_a_chunk_that_was_taken(status: int, pair: Make) -> None:
    it = pair(taken=status)
    data = blob(BIG)
    assert it.push(data) == "uploaded"
    assert it.methods("session") == ["PATCH"] * 4 + ["PUT"]


def test_a_later_chunk_that_is_refused(pair: Make) -> None:
    """Some take one chunk and no more: they are asked once where they are, then get the whole."""
    it = pair()
    data = blob(BIG)
    it.server.fail("PATCH", "session", status=416, after=1, times=99)
    assert it.push(data) == "uploaded"
    assert it.stored(data)
    assert it.server.count("PATCH") == 3


def test_an_upload_that_was_forgotten_starts_again(pair: Make) -> None:
    it = pair()
    data = blob(BIG)
    it.server.fail("PATCH", "session", forget=True, after=2)
    assert it.push(data) == "uploaded"
    assert it.stored(data)
    assert it.server.count("POST", "upload") == 2


def test_an_upload_that_was_forgotten_at_its_end(pair: Make) -> None:
    it = pair()
    data = blob(BIG)
    it.server.fail("PUT", "session", forget=True)
    assert it.push(data) == "uploaded"
    assert it.stored(data)


# -- mounts --------------------------------------------------------------------------------------------


def test_a_neighbours_blob_is_mounted(pair: Make) -> None:
    it = pair()
    data, told = blob(BIG), list[int]()
    it.server.put_blob("base/python", data)
    names = ["other.example/base/python", "none/here", f"{it.server.host}/base/python"]
    assert it.push(data, mount_from=names, advance=told.append) == "mounted"
    assert it.stored(data)
    assert it.server.bytes_in() == 0
    assert sum(told) == BIG
    assert it.server.repository("team/image").uploads == {}, "what was opened on the way is closed"


def test_a_mount_that_becomes_an_upload_uses_it(pair: Make) -> None:
    it = pair(mount="session")
    data = blob(BIG)
    it.server.put_blob("base/python", data)
    assert it.push(data, mount_from=["base/python"]) == "uploaded"
    assert it.stored(data)
    assert it.server.count("POST", "upload") == 1
    assert it.server.repository("team/image").uploads == {}


def test_what_mounts_opened_is_used_or_closed(pair: Make) -> None:
    it = pair()
    assert it.push(b"data", mount_from=["none/one", "none/two", "none/three"]) == "uploaded"
    assert it.methods("upload") == ["POST"] * 3
    assert it.server.repository("team/image").uploads == {}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_mount_that_is_refused(status: int, pair: Make) -> None:
    it = pair()
    data = blob(BIG)
    it.server.put_blob("base/python", data)
    it.server.fail("POST", "upload", status=status, match="mount")
    assert it.push(data, mount_from=["base/python"]) == "uploaded"
    assert it.stored(data)


def test_a_mount_that_is_none(pair: Make) -> None:
    """201 without the blob being there is no mount."""
    it = pair()
    it.server.fail("POST", "upload", status=201, match="mount")
    assert it.push(b"data", mount_from=["base/python"]) == "uploaded"
    assert it.stored(b"data")


def test_the_repository_itself_is_no_neighbour(pair: Make) -> None:
    it = pair()
    it.push(b"data", mount_from=["team/image", f"{it.server.host}/team/image"])
    assert [s.method for s in it.server.requests] == ["HEAD", "POST", "PUT"]


# -- what is never committed ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, CHUNK, BIG])
@pytest.mark.parametrize("patch", [True, False])
def test_local_bytes_that_are_others(size: int, patch: bool, pair: Make) -> None:
    it = pair(patch=patch)
    data = blob(size)
    with pytest.raises(RegistryError, match=r"the local bytes are sha256:.*: not pushed"):
        it.client.push_blob(it.ref, sha256(data), size, opened(data[:-1] + bytes([data[-1] ^ 1])))
    assert it.server.blobs == {}


@pytest.mark.parametrize("size", [1000, CHUNK, BIG])
def test_local_bytes_that_end_early(size: int, pair: Make) -> None:
    it = pair()
    data = blob(size)
    with pytest.raises(RegistryError, match=f"expected {size} bytes here, found {size - 1}"):
        it.client.push_blob(it.ref, sha256(data), size, opened(data[:-1]))
    assert it.server.blobs == {}


def test_a_local_file_that_cannot_be_read(pair: Make) -> None:
    it = pair()

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("no such device")

    def source(offset: int) -> BinaryIO:
        return Broken()

    with pytest.raises(OSError, match="no such device"):
        it.client.push_blob(it.ref, sha256(b"x"), 1, source)


def test_a_registry_that_finds_other_bytes(pair: Make) -> None:
    it = pair()
    it.server.fail("PUT", "session", digest=sha256(b"other"))
    with pytest.raises(RegistryError, match=f"expected {sha256(b'data')}, found {sha256(b'other')}"):
        it.push(b"data")


def test_a_registry_that_says_so_and_does_not_have_it(pair: Make) -> None:
    it = pair()
    it.server.fail("PUT", "session", status=201, times=99)
    with pytest.raises(RegistryError, match=r"201, but the blob is not there \(4 attempts\)"):
        it.push(b"data")


def test_another_size_under_the_digest(pair: Make) -> None:
    it = pair()
    it.server.put_blob("team/image", b"data")
    with pytest.raises(RegistryError, match="expected 5 bytes, found 4"):
        it.client.push_blob(it.ref, sha256(b"data"), 5, opened(b"data"))


def test_a_digest_that_is_none(pair: Make) -> None:
    it = pair()
    with pytest.raises(InputError, match="expected a digest"):
        it.client.push_blob(it.ref, "sha256:../../x", 5, opened(b"data"))
    assert it.server.requests == []


def test_many_at_once(pair: Make) -> None:
    it = pair({"connections": 4})
    data = [blob(BIG, n) for n in range(8)]
    told: list[int] = []
    threads = [threading.Thread(target=it.push, args=(d,), kwargs={"advance": told.append}) for d in data]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(it.stored(d) for d in data)
    assert sum(told) == 8 * BIG
