"""Zstandard by the standard library alone, held against a library that packs; and what is none, refused in words."""

from __future__ import annotations

import importlib
import io
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.zstd import ZstdError, unpack_zstd

zstd: Any = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
SOURCES = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))


def unpacked(data: bytes, most: int = 1 << 26) -> bytes:
    out = io.BytesIO()
    unpack_zstd(io.BytesIO(data), out, most)
    return out.getvalue()


def drawn(seed: int) -> bytes:
    """Bytes that pack well or badly, by the seed."""
    draw = random.Random(seed)
    few = draw.choice([2, 5, 30, 256])
    some = bytes(draw.randrange(few) for _ in range(draw.choice([1, 50, 900, 20_000])))
    return some + SOURCES[: draw.randrange(30_000)] + some * draw.randrange(4)


@pytest.mark.parametrize("level", [-5, 1, 3, 9, 19, 22])
def test_what_was_packed_comes_out(level: int) -> None:
    for data in (b"", b"a", b"ab" * 100_000, os.urandom(150_000), SOURCES[:60_000], *map(drawn, range(5))):
        assert unpacked(zstd.compress(data, level=level)) == data


def test_frames_one_after_the_other_and_those_to_skip() -> None:
    skipped = (0x184D2A53).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"xyz"
    assert unpacked(zstd.compress(b"one") + skipped + zstd.compress(b"two" * 1000)) == b"one" + b"two" * 1000


def test_a_checksum_is_passed_over_and_a_window_kept() -> None:
    packer = zstd.ZstdCompressor(options={
        zstd.CompressionParameter.checksum_flag: 1,
        zstd.CompressionParameter.window_log: 12,
        zstd.CompressionParameter.compression_level: 1,
    })  # fmt: skip
    data = SOURCES * (1 + (5 << 18) // len(SOURCES))
    # Fed in pieces, so that the frame does not know its size and has a window.
    packed = b"".join(packer.compress(data[i : i + 99_999]) for i in range(0, len(data), 99_999)) + packer.flush()
    assert unpacked(packed) == data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "expected a frame of Zstandard, found nothing"),
        (b"PK\3\4", "expected a frame of Zstandard, found none"),
        (b"\x28\xb5\x2f\xfd", "expected 1 bytes, found 0: truncated"),
        (b"\x28\xb5\x2f\xfd\x08", "a reserved bit is set"),
        (b"\x28\xb5\x2f\xfd\x21\x07\x01", "packed with a dictionary"),
        (b"\x28\xb5\x2f\xfd\x00\xf8", "a window of"),
        (b"\x28\xb5\x2f\xfd\x00\x58\x07\x00\x00", "a block of a kind or size that there is not"),
        (b"\x28\xb5\x2f\xfd\x20\x05\x19\x00\x00abc", "expected 5 bytes, unpacked 3"),
    ],
)
def test_what_is_none_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ZstdError, match=words):
        unpacked(data)


def test_no_more_than_is_allowed() -> None:
    with pytest.raises(ZstdError, match="unpacks to more than 1000 bytes"):
        unpacked(zstd.compress(bytes(1 << 22)), 1000)


def test_damage_is_an_error_or_other_bytes_and_nothing_else() -> None:
    packed, draw = zstd.compress(SOURCES[:6_000], level=19), random.Random(4)
    refused = 0
    for _ in range(200):
        changed = bytearray(packed[: draw.randrange(len(packed)) if draw.random() < 0.2 else None])
        for _ in range(min(draw.randrange(1, 4), len(changed))):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        try:
            unpacked(bytes(changed), 1 << 20)
        except ZstdError:
            refused += 1
    assert refused > 100
