"""The table of contents of a layer: every file of it, read from its spans alone."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.soci import ztoc
from flyte_build.soci.flatbuffer import Bytes, Scalar, encode
from flyte_build.soci.flatbuffer import Table as Written
from flyte_build.soci.spans import Foreign, Member, Span, members, spans
from tests.support.tools import need

from .layers import Table, read_ztoc, rows_of

READER = Path(__file__).parent / "reader"


@pytest.mark.parametrize("span", [1, 50_000, 100_000])
def test_every_file_is_read_right(blob: Path, span: int) -> None:
    table = ztoc(blob, span=span)
    assert table is not None
    assert read_ztoc(table, blob.read_bytes()) == rows_of(blob)


def test_it_says_what_it_is(blob: Path) -> None:
    root = Table.root(ztoc(blob, span=50_000) or b"")
    with gzip.open(blob) as plain:
        assert root.number(3, "q") == len(plain.read())
    assert (root.text(0), root.text(1)) == ("0.9", "flyte-build")
    (named,) = [f for f in root.table(4).tables(0) if f.text(0).endswith("n" * 150)]
    assert named.text(10) == "1980-01-01T00:00:00Z"


def test_golden(blob: Path) -> None:
    table = ztoc(blob, span=100_000)
    assert table is not None
    assert hashlib.sha256(table).hexdigest() == GOLDEN


GOLDEN = "08b72d31815b8369568f39d28aca30b4d06f74b1d442c2d4ec2e5d9d11a5215e"


def test_what_cannot_be_read_in_parts_has_none(blob: Path, tmp_path: Path) -> None:
    assert ztoc(blob) is None, "one span has all of it"
    other = tmp_path / "other"
    other.write_bytes(gzip.compress(b"x" * 100_000) * 3)
    assert ztoc(other, span=1) is None, "another's members"
    cut = tmp_path / "cut"
    whole = blob.read_bytes()
    for end in (len(whole) - 1, len(whole) - 9, len(whole) // 2):
        cut.write_bytes(whole[:end])
        assert ztoc(cut, span=1) is None, "cut off"


def test_damage_is_said_where_it_is(blob: Path) -> None:
    whole = blob.read_bytes()
    with pytest.raises(Foreign, match="is cut off"):
        list(members(io.BytesIO(whole[:-3])))
    with pytest.raises(Foreign, match="expected a gzip member at byte 0"):
        list(members(io.BytesIO(b"\x1f\x8b\x08\x08" + whole[4:])))


def test_a_large_member_has_a_span_of_its_own() -> None:
    found = [Member(0, 0, 10), Member(100, 10, 10), Member(200, 20, 500), Member(300, 520, 5), Member(400, 525, 5)]
    assert spans(iter(found), 100) == ([Span(10, 0), Span(210, 20), Span(310, 520)], 530)
    assert spans(iter([]), 100) == ([], 0)


@given(st.lists(st.text(max_size=9), max_size=5), st.integers(-(1 << 62), 1 << 62), st.binary(max_size=50), st.text())
def test_a_buffer_gives_back_what_went_in(texts: list[str], number: int, data: bytes, text: str) -> None:
    inner = Written((text, Scalar("q", number), Scalar("b", 7)))
    table = Written((Scalar("b", 1), Bytes(data), Scalar("I", 5), texts, Scalar("q", number), [inner, inner], inner))
    root = Table.root(encode(table))
    assert (root.number(0, "b"), root.number(2, "I"), root.number(4, "q")) == (1, 5, number)
    assert (root.bytes(1), root.texts(3)) == (data, texts)
    for found in (*root.tables(5), root.table(6)):
        assert (found.text(0), found.number(1, "q"), found.number(2, "b")) == (text, number, 7)


@pytest.mark.integration
def test_the_reference_library_reads_every_file(blob: Path, tmp_path: Path) -> None:
    """What a node runs, at the version of ``reader/go.mod``: each span's digest, and each file from its spans."""
    reader = tmp_path / "reader"
    go = need("go", "golang-go")
    subprocess.run([go, "build", "-o", str(reader), "."], cwd=READER, check=True, timeout=600)
    for span in (1, 100_000, 300_000):
        table = ztoc(blob, span=span)
        assert table is not None
        (tmp_path / "ztoc").write_bytes(table)
        told = subprocess.run(
            [reader, tmp_path / "ztoc", blob], capture_output=True, text=True, check=True, timeout=120
        ).stdout.splitlines()
        rows = [tuple(line.split("\t")) for line in told]
        assert rows == [(n, k, f"{m:o}", str(u), str(g), link, sha) for n, k, m, u, g, link, sha in rows_of(blob)]
