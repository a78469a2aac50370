"""The encoder: right for every inflater, and never a byte different."""

from __future__ import annotations

import hashlib
import heapq
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.assemble import huffman
from flyte_build.assemble.deflate import END, LITTLE, deflate
from flyte_build.assemble.matches import BLOCK, blocks
from tests.native.layers import content

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


def drawn(seed: str) -> bytes:
    """Runs, words and noise of more than a little item, some of more than one block."""
    r = random.Random(seed)
    return b"".join(content(r, 20_000) for _ in range(r.randrange(2, 9))) + r.randbytes(LITTLE // 4) * 5


def skewed(symbols: int) -> bytes:
    """Bytes as frequent as Fibonacci's numbers, whose Huffman codes would be as long as there are symbols."""
    counts = [1, 1]
    while len(counts) < symbols:
        counts.append(counts[-1] + counts[-2])
    data = bytearray(b"".join(bytes([symbol]) * count for symbol, count in enumerate(counts)))
    random.Random(1).shuffle(data)
    return bytes(data)


@given(st.one_of(st.binary(max_size=600), runs))
def test_what_goes_in_comes_out(data: bytes) -> None:
    assert inflate(deflate(data)) == data
    assert inflate(deflate(data, last=False) + END) == data


@given(st.lists(runs, max_size=6))
def test_pieces_are_concatenated(pieces: list[bytes]) -> None:
    assert inflate(deflate(*pieces)) == b"".join(pieces)


@pytest.mark.parametrize("seed", range(12))
def test_large_items(seed: int) -> None:
    data = drawn(f"{seed}")
    first, second = deflate(data[: LITTLE + 1], last=False), deflate(data)
    assert inflate(first + second) == data[: LITTLE + 1] + data
    assert deflate(data[:100], data[100:]) == second, "only little items are divided"


@pytest.mark.parametrize("size", [0, 1, 3, 4, LITTLE - 1, LITTLE, LITTLE + 1, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 300])
@pytest.mark.parametrize("kind", ["zeros", "noise", "words"])
def test_around_the_limits(kind: str, size: int) -> None:
    source = {"zeros": bytes, "noise": random.Random(1).randbytes, "words": lambda n: (b"to be or not to " * n)[:n]}
    data = source[kind](size)
    made = deflate(data)
    assert inflate(made) == data
    # A stored block every 32 KiB, its type's bits and what ends the stream.
    assert len(made) <= size + 6 * (size // BLOCK + 1) + 2
    if kind != "noise" and size > LITTLE:
        assert len(made) < size // 40


def test_a_match_is_never_further_than_32_kib() -> None:
    near, far = random.Random(1).randbytes(400), random.Random(2).randbytes(32768 - 400)
    assert len(deflate(near + far + near)) < len(deflate(near + far + b"!" + near)) - 300


def test_the_second_candidate_and_the_next_position_are_looked_at() -> None:
    def matches(data: bytes) -> list[tuple[int, int]]:
        (block,) = blocks(data)
        symbols = block._symbols
        return [(s - 256, symbols[i + 1] - 600) for i, s in enumerate(symbols) if 256 < s < 600]

    assert matches(b"abcdefgh.abcdxyz!abcdefgh") == [(4, 9), (8, 17)], "the one before is longer"
    assert matches(b"abcdX.abcdY:abcd?") == [(4, 6), (4, 6)], "of two as long the nearer"
    assert matches(b"abcd1bcdefgh2abcdefgh") == [(7, 9)], "the next position's is longer"


def test_codes_are_optimal_where_no_limit_is_met() -> None:
    r = random.Random(1)
    for symbols in (2, 3, 19, 30, 286):
        counts = [r.choice((0, 1, 1, 5, r.randrange(1000))) for _ in range(symbols - 2)] + [7, 9]
        lengths = huffman.code_lengths(counts, huffman.LONGEST)
        heap, cost = [count for count in counts if count], 0
        heapq.heapify(heap)
        while len(heap) > 1:
            joined = heapq.heappop(heap) + heapq.heappop(heap)
            cost += joined
            heapq.heappush(heap, joined)
        assert sum(map(int.__mul__, counts, lengths)) == cost
        assert [bool(length) for length in lengths] == [bool(count) for count in counts]


@pytest.mark.parametrize(("symbols", "longest"), [(17, 7), (19, 7), (25, 15), (30, 15)])
def test_codes_have_a_longest(symbols: int, longest: int) -> None:
    counts = [1, 1]
    while len(counts) < symbols:
        counts.append(counts[-1] + counts[-2])
    lengths = huffman.code_lengths(counts, longest)
    assert max(lengths) == longest
    assert sum(2 ** (longest - length) for length in lengths) == 2**longest, "complete"
    assert lengths == sorted(lengths, reverse=True), "the rarest are the longest"


def test_fewer_than_two_symbols_are_two() -> None:
    assert huffman.code_lengths([0, 0, 0], 15) == [1, 1, 0]
    assert huffman.code_lengths([0, 0, 9], 15) == [1, 0, 1]
    assert huffman.code_lengths([9, 0, 0], 15) == [1, 1, 0]


def test_the_bytes_are_these() -> None:
    """Computed by hand from RFC 1951, 3.2.6: BFINAL and BTYPE, 'a' (0x91), end of block; then an empty last block."""
    assert deflate(b"") == b"\x02\x0c\x00"
    assert deflate(b"a") == b"\x4a\x04\x0c\x00"
    assert deflate(b"a", last=False) == b"\x4a\x04\x00\x00\x00\xff\xff"
    assert deflate(b"aaaaaaaaaaa") == b"\x4a\x44\x00\xc0\x00"  # 'a', then ten bytes at distance 1
    assert deflate(b"\xff" * 2 + bytes(range(144, 255))).startswith(b"\x00\x71\x00\x8e\xff\xff\xff\x90"), "stored"


def test_golden_streams() -> None:
    """Whoever changes one of these changes the format, and raises the assembler's version."""
    made = {
        "words": b"".join(b"%d green bottles, %x\n" % (n, n * n) for n in range(3000)),
        "noise": random.Random(1).randbytes(70_000),
        "both": drawn("golden"),
        "skewed": skewed(20),
        "zeros": bytes(100_000),
    }
    found = {name: hashlib.sha256(deflate(data)).hexdigest()[:16] for name, data in made.items()}
    assert found == {
        "words": "a4dc08290a899fdc",
        "noise": "6310d33da35238b4",
        "both": "af809fac97eb4b04",
        "skewed": "210278394ed4bab1",
        "zeros": "4c05e03368c46a79",
    }
