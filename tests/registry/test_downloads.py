"""Blobs on their way out: verified, resumed, and never half under their name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.kernel.errors import RegistryError
from flyte_build.registry import StatusError
from tests.support.registry import sha256

from .conftest import Pair, blob

Make = Callable[..., Pair]
SIZE = 1_500_000
DATA = blob(SIZE)
DIGEST = sha256(DATA)


def pull(it: Pair, target: Path, told: list[int] | None = None) -> None:
    it.client.pull_blob(it.ref, DIGEST, SIZE, target, advance=(told if told is not None else []).append)


def only(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def it(pair: Make) -> Pair:
    made = pair()
    made.server.put_blob("team/image", DATA)
    return made


def test_a_blob_into_a_file(it: Pair, tmp_path: Path) -> None:
    told: list[int] = []
    pull(it, tmp_path / "x", told)
    assert (tmp_path / "x").read_bytes() == DATA
    assert only(tmp_path) == ["x"]
    assert sum(told) == SIZE
    assert it.server.count() == 1


def test_a_blob_of_nothing(it: Pair, tmp_path: Path) -> None:
    digest = it.server.put_blob("team/image", b"")
    it.client.pull_blob(it.ref, digest, 0, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b""
    assert it.client.read_blob(it.ref, digest) == b""


@pytest.mark.parametrize("at", [0, 1, SIZE // 2, SIZE - 1])
def test_what_was_lost_goes_on_from_there(at: int, it: Pair, tmp_path: Path) -> None:
    told: list[int] = []
    it.server.fail("GET", "blob", lost="answer", at=at)
    pull(it, tmp_path / "x", told)
    assert (tmp_path / "x").read_bytes() == DATA
    assert it.server.bytes_out("blob") == SIZE, "no byte travels twice"
    assert sum(told) == SIZE


@pytest.mark.parametrize("lost", ["before", "after", "headers"])
def test_lost_before_the_first_byte(lost: str, it: Pair, tmp_path: Path) -> None:
    it.server.fail("GET", "blob", lost=lost)
    pull(it, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_registry_without_ranges_starts_again(it: Pair, tmp_path: Path) -> None:
    told: list[int] = []
    it.server.ranges = False
    it.server.fail("GET", "blob", lost="answer", at=SIZE // 2)
    pull(it, tmp_path / "x", told)
    assert (tmp_path / "x").read_bytes() == DATA
    assert it.server.bytes_out("blob") == SIZE + SIZE // 2
    assert sum(told) == SIZE


def test_a_line_that_moves_gets_there(pair: Make, tmp_path: Path) -> None:
    it = pair({"attempts": 2})
    it.server.put_blob("team/image", DATA)
    it.server.fail("GET", "blob", lost="answer", at=SIZE // 10, times=9)
    pull(it, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_line_that_does_not_is_given_up(it: Pair, tmp_path: Path) -> None:
    it.server.fail("GET", "blob", lost="answer", at=0, times=99)
    with pytest.raises(RegistryError, match=r"^GET http://127.*\(4 attempts\)$"):
        pull(it, tmp_path / "x")
    assert only(tmp_path) == []


def test_other_bytes(it: Pair, tmp_path: Path) -> None:
    it.server.fail("GET", "blob", flip=True, times=9)
    (tmp_path / "x").write_bytes(b"before")
    with pytest.raises(RegistryError, match=f"expected bytes of {DIGEST}, found {SIZE} bytes of "):
        pull(it, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"before"
    assert only(tmp_path) == ["x"]
    with pytest.raises(RegistryError, match="expected bytes of"):
        it.client.read_blob(it.ref, DIGEST)


def test_other_bytes_after_a_loss(it: Pair, tmp_path: Path) -> None:
    it.server.fail("GET", "blob", lost="answer", at=SIZE // 2)
    it.server.fail("GET", "blob", flip=True)
    with pytest.raises(RegistryError, match="expected bytes of"):
        pull(it, tmp_path / "x")
    assert only(tmp_path) == []


def test_a_body_that_is_short_and_says_so(it: Pair, tmp_path: Path) -> None:
    """Well framed, but not all of it: what is missing is asked for."""
    it.server.fail("GET", "blob", short=1000)
    pull(it, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_blob_that_is_shorter_than_it_should_be(it: Pair, tmp_path: Path) -> None:
    it.server.blobs[DIGEST] = DATA[:-1]
    with pytest.raises(RegistryError, match=f"expected {SIZE} bytes of {DIGEST}, found {SIZE - 1}"):
        pull(it, tmp_path / "x")
    assert only(tmp_path) == []


def test_a_blob_that_is_longer_than_it_should_be(it: Pair, tmp_path: Path) -> None:
    it.server.blobs[DIGEST] = DATA * 2
    with pytest.raises(RegistryError, match=f"expected {SIZE} bytes of {DIGEST}, found more"):
        pull(it, tmp_path / "x")
    assert only(tmp_path) == []


def test_an_encoding_that_nobody_asked_for(it: Pair, tmp_path: Path) -> None:
    it.server.fail("GET", "blob", status=200, headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b")
    with pytest.raises(RegistryError, match="an encoding nobody asked for: gzip"):
        pull(it, tmp_path / "x")
    assert it.server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_cannot_be_had(status: int, it: Pair, tmp_path: Path) -> None:
    it.server.fail("GET", "blob", status=status, times=9)
    with pytest.raises(StatusError, match=f": {status} "):
        pull(it, tmp_path / "x")
    assert only(tmp_path) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_in_the_middle(status: int, it: Pair, tmp_path: Path) -> None:
    it.server.fail("GET", "blob", lost="answer", at=SIZE // 2)
    it.server.fail("GET", "blob", status=status, headers={"Retry-After": "2"})
    pull(it, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    assert it.waits == [0.5, 2.0]


def test_slow_in_the_middle(pair: Make, tmp_path: Path) -> None:
    it = pair({"timeout": 0.15})
    it.server.put_blob("team/image", DATA)
    it.server.fail("GET", "blob", silent=0.5)
    pull(it, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def test_the_sizes_of_blobs(it: Pair) -> None:
    assert it.client.blob(it.ref, DIGEST) == SIZE
    assert it.client.blob(it.ref, sha256(b"none")) is None
    assert it.server.bytes_out() < 1000
