"""The fixed encoder: right for every inflater, and never a byte different."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.assemble.deflate import LIMIT, deflate, stored

runs = st.lists(
    st.tuples(
        st.sampled_from([0, 32, 65, 143, 144, 200, 255]),
        st.one_of(st.integers(1, 12), st.sampled_from([258, 259, 260, 261, 262, 263, 517])),
    ),
    max_size=12,
).map(lambda pairs: b"".join(bytes([value]) * count for value, count in pairs))


def inflate(stream: bytes) -> bytes:
    d = zlib.decompressobj(-15)
    data = d.decompress(stream)
    assert d.eof
    assert not d.unused_data
    return data


@given(st.one_of(st.binary(max_size=600), runs))
def test_what_goes_in_comes_out(data: bytes) -> None:
    assert inflate(deflate(data)) == data
    assert inflate(stored(data)) == data


@given(st.lists(runs, max_size=6))
def test_pieces_are_concatenated(pieces: list[bytes]) -> None:
    assert inflate(deflate(*pieces)) == b"".join(pieces)


@given(st.one_of(st.binary(max_size=600), runs))
def test_never_longer_than_stored(data: bytes) -> None:
    assert len(deflate(data)) <= len(stored(data))


@pytest.mark.parametrize("size", [0, 1, 65534, 65535, 65536, 65537, 131070, 131071, 200_000])
def test_stored_blocks_meet_their_limit(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    assert inflate(stored(data)) == data
    assert inflate(deflate(data)) == data


def test_a_run_is_short_and_a_long_input_is_stored() -> None:
    assert len(deflate(bytes(512))) < 10
    assert deflate(bytes(LIMIT + 1)) == stored(bytes(LIMIT + 1))
    assert deflate(bytes(LIMIT)) != stored(bytes(LIMIT))


def test_the_bytes_are_these() -> None:
    """Computed by hand from RFC 1951, 3.2.6: BFINAL and BTYPE, 'a' (0x91), end of block, least bit first."""
    assert deflate(b"") == b"\x03\x00"
    assert stored(b"") == b"\x01\x00\x00\xff\xff"
    assert deflate(b"a") == b"\x4b\x04\x00"
    assert deflate(b"aaaaaaaaaaa") == b"\x4b\x44\x00\x00"  # 'a', then ten bytes at distance 1
    assert stored(b"ab") == b"\x01\x02\x00\xfd\xffab"
