"""RECORD: what a wheel says it holds, and what an installation says it put where.

The format is that of the "Recording installed projects" specification (PEP 376, PEP 627): CSV rows of path, hash
and size. A wheel's own RECORD must cover every file except itself and its signatures (binary distribution
format, "The .dist-info directory"), which is what makes a smuggled file visible.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import re
from collections.abc import Iterable
from typing import NamedTuple

from .archive import Archive, Member
from .digests import sha256
from .entries import Hash

__all__ = ["UNRECORDED", "Row", "check", "expected", "hash_of", "parse", "text"]

UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")
"""Files of ``.dist-info`` that RECORD does not vouch for: itself and its signatures."""

_STANDARD = str.maketrans("-_", "+/")
# sha256 "or better" is what the specification allows.
_HASH = re.compile(r"sha256=[\w-]{43}|sha384=[\w-]{64}|sha512=[\w-]{86}", re.ASCII)


class Row(NamedTuple):
    """One line: ``path`` relative to site-packages, ``hash`` as ``sha256=…`` and ``size`` in bytes, or both empty."""

    path: str
    hash: str = ""
    size: str = ""


def hash_of(data: bytes) -> str:
    """RECORD's form of the SHA-256 of ``data``."""
    return "sha256=" + base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()


def parse(archive: Archive, member: Member, content: bytes) -> list[Row]:
    """The rows of the wheel's RECORD, ``content``; raises :class:`AssembleError` naming line and expectation."""
    rows = []
    try:
        for number, fields in enumerate(csv.reader(io.StringIO(content.decode(), newline="")), 1):
            if not fields:
                continue
            if len(fields) != 3:
                raise archive.fail(
                    f"line {number}: expected path, hash and size, found {len(fields)} fields", member.name
                )
            rows.append(Row(*fields))
    except UnicodeDecodeError:
        raise archive.fail("expected UTF-8", member.name) from None
    except csv.Error as e:
        raise archive.fail(f"expected CSV: {e}", member.name) from None
    return rows


def check(archive: Archive, rows: Iterable[Row], info: str) -> tuple[dict[str, Row], list[str]]:
    """The rows by path, one for each member, and where RECORD and the archive disagree: installers take such wheels.

    The archive is right then, since the wheel as a whole is the one that was locked; a row without hash and size says
    that its file is to be hashed anew. Hashes that are well formed are verified where contents are inflated anyway.
    Raises :class:`AssembleError` where RECORD says two things of one file.
    """
    wrong: list[str] = []
    known: dict[str, Row] = {}
    unrecorded = {f"{info}/{name}" for name in UNRECORDED}
    for row in rows:
        if row.path.endswith("/"):
            continue
        member = archive.members.get(row.path)
        if member is None:
            wrong.append(f"`{row.path}` is listed, and not in the wheel")
            continue
        if known.setdefault(row.path, row) != row:
            raise archive.fail("listed in RECORD twice, differently", row.path)
        if row.path in unrecorded:
            continue
        if not _HASH.fullmatch(row.hash):
            wrong.append(f"`{row.path}` has `{row.hash}` where a SHA-256 or better was expected")
        elif row.size and row.size != str(member.size):
            wrong.append(f"`{row.path}` has {row.size} bytes, and {member.size} in the wheel")
        else:
            continue
        known[row.path] = Row(row.path)
    for name in archive.members:
        if name not in known and name not in unrecorded:
            wrong.append(f"`{name}` is in the wheel, and not listed")
            known[name] = Row(name)
    return known, wrong


def expected(row: Row) -> Hash | None:
    """What the row's file must hash to; ``None`` where it says nothing."""
    if not row.hash:
        return None
    algorithm, _, digest = row.hash.partition("=")
    return algorithm, binascii.a2b_base64(digest.translate(_STANDARD) + "=" * (-len(digest) % 4))


def text(rows: Iterable[Row]) -> bytes:
    """The rows as a file."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()
