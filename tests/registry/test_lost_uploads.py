"""Uploads over lines that break, to registries that are busy, slow or refuse, at every step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flyte_build.kernel.errors import RegistryError
from flyte_build.registry import StatusError

from .conftest import CHUNK, Pair, blob

Make = Callable[..., Pair]
BIG = 3 * CHUNK + 5000

PLACES = [("before", 0), ("body", 0), ("body", 1), ("body", CHUNK // 2), ("body", CHUNK - 1), ("body", CHUNK)]
PLACES += [("after", 0), ("headers", 0)]


@pytest.mark.parametrize(("lost", "at"), PLACES)
@pytest.mark.parametrize("chunk", [0, 1, 3])
@pytest.mark.parametrize("server", [{}, {"partial": False}, {"status": False}, {"least": CHUNK}], ids=str)
def test_lost_in_a_chunk(lost: str, at: int, chunk: int, server: dict[str, object], pair: Make) -> None:
    it = pair(**server)
    data, told = blob(4 * CHUNK), list[int]()
    it.server.fail("PATCH", "session", lost=lost, at=at, after=chunk)
    assert it.push(data, advance=told.append) == "uploaded"
    assert it.stored(data)
    assert sum(told) == len(data)
    assert len(it.waits) in (1, 2)
    if chunk and server.get("status", True):
        # Nothing that arrived is sent twice.
        assert it.server.count("POST", "upload") == 1
        again = it.server.bytes_in("session") - len(data)
        assert again <= (CHUNK if server else 1)


@pytest.mark.parametrize("lost", ["before", "after", "headers"])
@pytest.mark.parametrize("kind", ["HEAD blob", "POST upload", "PUT session", "GET session"])
def test_lost_at_every_step(lost: str, kind: str, pair: Make) -> None:
    it = pair()
    data = blob(BIG)
    method, _, what = kind.partition(" ")
    it.server.fail(method, what, lost=lost)
    it.server.fail("PATCH", "session", lost="before", after=1)
    assert it.push(data) == "uploaded"
    assert it.stored(data)


@pytest.mark.parametrize(
    ("lost", "at"), [("body", 0), ("body", 1), ("body", 2500), ("body", 4999), ("body", 5000), ("after", 0)]
)
@pytest.mark.parametrize("patch", [True, False])
def test_lost_in_a_single_request(lost: str, at: int, patch: bool, pair: Make) -> None:
    it = pair(patch=patch)
    data = blob(5000)
    it.server.fail("PUT", "session", lost=lost, at=at)
    assert it.push(data) == "uploaded"
    assert it.stored(data)


@pytest.mark.parametrize("patch", [True, False])
@pytest.mark.parametrize("size", [5000, BIG])
def test_an_upload_that_is_there_but_was_not_answered_is_not_sent_again(patch: bool, size: int, pair: Make) -> None:
    it = pair(patch=patch)
    data = blob(size)
    it.server.fail("PUT", "session", lost="after")
    assert it.push(data) == "uploaded"
    assert it.server.count("PUT", "session") == 1
    assert it.methods("blob") == ["HEAD", "HEAD"]


def test_a_whole_blob_that_was_lost_is_sent_whole_again(pair: Make) -> None:
    it = pair(patch=False)
    data = blob(BIG)
    it.server.fail("PUT", "session", lost="body", at=BIG // 2)
    assert it.push(data) == "uploaded"
    assert it.stored(data)


def test_a_line_that_is_lost_again_and_again_gets_there_as_long_as_it_moves(pair: Make) -> None:
    it = pair({"attempts": 2})
    data = blob(4 * CHUNK)
    it.server.fail("PATCH", "session", lost="body", at=CHUNK // 4, times=12)
    assert it.push(data) == "uploaded"
    assert it.stored(data)


def test_a_line_that_does_not_move_is_given_up(pair: Make) -> None:
    it = pair(partial=False)
    it.server.fail("PATCH", "session", lost="body", at=CHUNK // 4, times=99)
    with pytest.raises(RegistryError, match=r"^PATCH http://127.*\(4 attempts\)$") as e:
        it.push(blob(4 * CHUNK))
    assert "state=***" in e.value.message
    assert it.server.count("PATCH") == 4


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("step", ["HEAD blob", "POST upload", "PATCH session", "PUT session"])
@pytest.mark.parametrize("early", [True, False])
def test_busy_at_every_step(status: int, step: str, early: bool, pair: Make) -> None:
    it = pair()
    data = blob(BIG)
    method, _, kind = step.partition(" ")
    it.server.fail(method, kind, status=status, early=early, times=2, headers={"Retry-After": "3"})
    assert it.push(data) == "uploaded"
    assert it.stored(data)
    assert 2 <= len(it.waits) <= 3
    assert max(it.waits) == 3.0


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("step", ["HEAD blob", "POST upload", "PATCH session", "PUT session"])
def test_not_allowed_at_every_step(status: int, step: str, pair: Make) -> None:
    it = pair()
    method, _, kind = step.partition(" ")
    it.server.fail(method, kind, status=status, times=99)
    with pytest.raises(StatusError, match=f"^{method} http://127.*: {status} ") as e:
        it.push(blob(BIG))
    assert e.value.hint
    assert it.server.count(method, kind) == 1
    assert not it.stored(blob(BIG)) if it.server.blobs else True


def test_a_slow_registry_in_the_middle(pair: Make) -> None:
    it = pair({"timeout": 0.2})
    data = blob(BIG)
    it.server.fail("PATCH", "session", silent=0.6, after=1)
    assert it.push(data) == "uploaded"
    assert it.stored(data)
