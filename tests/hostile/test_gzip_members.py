"""gzip of many members inflates once and ends, whoever reads it: flyte-build's own layers and eStargz are such."""

from __future__ import annotations

import gzip
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte_build.assemble import bombs
from flyte_build.assemble.base import _Inflating
from flyte_build.assemble.errors import AssembleError

from .layers import READERS, REFUSALS, digest, member, tar

TAR = tar([member("a", data=bytes(3 << 20)), member("b/c", data=bytes(range(256)) * 40)])
EMPTY = gzip.compress(b"", mtime=0)
# An empty member with an extra field: how an eStargz blob ends.
FOOTER = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff\x1a\x00SG\x16\x00" + b"0" * 16 + b"STARGZ" + EMPTY[10:]


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    """A loop without an end is a failure, and is interrupted as Ctrl-C would."""
    signal.alarm(60)
    yield
    signal.alarm(0)


def inflated(data: bytes, step: int) -> bytes:
    stream = _Inflating()
    out = [piece for at in range(0, len(data), step) for piece in stream.feed(data[at : at + step], "layer")]
    assert max(map(len, out), default=0) <= 1 << 20
    stream.close("layer")
    return b"".join(out)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    parts=st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.builds(lambda b, n: bytes([b]) * n, st.integers(0, 255), st.sampled_from((1, 32768, 1 << 20, 3 << 20))),
        ),
        min_size=1,
        max_size=6,
    ),
    level=st.sampled_from((0, 1, 9)),
    step=st.sampled_from((1 << 20, 4096, 977, 32768)),
)
def test_any_members_in_any_pieces(parts: list[bytes], level: int, step: int) -> None:
    blob = b"".join(gzip.compress(part, level, mtime=0) for part in parts)
    assert inflated(blob, step) == b"".join(parts)
    with pytest.raises(AssembleError, match="truncated"):
        inflated(blob[:-1], step)
    with pytest.raises(AssembleError, match="layer: is no gzip stream"):
        inflated(blob + b"garbage", step)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "sizes",
    [[len(TAR)], [0, 2 << 20, 0, 0, 600], [3 << 20] * 2, [512] * 100, [1 << 20] * 4],
)
def test_every_reader_reads_every_member(tmp_path: Path, reader: str, sizes: list[int]) -> None:
    parts, at = [], 0
    for size in [*sizes, len(TAR)]:
        parts.append(gzip.compress(TAR[at : at + size], 1, mtime=0))
        at += size
    blob = tmp_path / "blob"
    blob.write_bytes(b"".join([*parts, FOOTER]))
    assert READERS[reader](blob, digest(TAR)) == digest(TAR)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("how", ["garbage", "short garbage", "cut", "cut in a header", "crc", "size", "method"])
def test_every_reader_refuses_a_damaged_one(tmp_path: Path, reader: str, how: str) -> None:
    good = gzip.compress(TAR[: 2 << 20], 1, mtime=0) + gzip.compress(TAR[2 << 20 :], 1, mtime=0)
    data = {
        "garbage": good + b"garbage of some length",
        "short garbage": good + b"\x1f",
        "cut": good[:-9],
        "cut in a header": good + EMPTY[:5],
        "crc": good[:-8] + bytes(4) + good[-4:],
        "size": good[:-4] + bytes(4),
        "method": good + b"\x1f\x8b\x07" + EMPTY[3:],
    }[how]
    blob = tmp_path / "blob"
    blob.write_bytes(data)
    with pytest.raises(REFUSALS, match=r"gzip|cut|tar stream|truncated|end"):
        READERS[reader](blob, digest(TAR))


def test_many_tiny_members_take_no_time() -> None:
    """What is left of a piece is copied at each member's end: 50,000 of them in a megabyte were 50 GB."""
    assert inflated(EMPTY * 50_000 + gzip.compress(b"end"), 1 << 20) == b"end"


def test_a_bomb_is_stopped_where_it_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bombs, "_MOST", 1 << 20)
    monkeypatch.setattr("flyte_build.kernel.layer_tar._MOST", 1 << 20)
    blob = tmp_path / "blob"
    data = tar([member("zeros", data=bytes(8 << 20))])
    blob.write_bytes(zlib.compress(data, 9, 31))
    for name, reader in READERS.items():
        with pytest.raises(REFUSALS, match=r"more than|at most"):
            pytest.fail(f"{name}: {reader(blob, digest(data))}")
