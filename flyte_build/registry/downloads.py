"""Blobs from a registry: verified before they are called complete, resumed where a connection was lost.

A file appears under its name when its bytes have the digest that was asked for, and not before.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from ..kernel.errors import RegistryError
from .failures import Transient
from .messages import Answer, Request
from .secrets import redact_url
from .transport import Transport

__all__ = ["pull", "read"]

Advance = Callable[[int], object]


def pull(transport: Transport, request: Request, digest: str, size: int, target: Path, advance: Advance) -> None:
    """The blob into ``target``, which is replaced at the end; see :meth:`Registry.pull_blob`."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _fill(transport, request, digest, size, file, advance)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read(transport: Transport, request: Request, digest: str, limit: int) -> bytes:
    """A small blob whole, verified; raises where it is longer than ``limit`` bytes."""
    answer = transport.send(replace(request, limit=limit))
    found = hashlib.new(digest.partition(":")[0], answer.body).hexdigest()
    if found != digest.partition(":")[2]:
        raise _wrong(answer, digest, found, len(answer.body))
    return answer.body


def _fill(transport: Transport, request: Request, digest: str, size: int, file: BinaryIO, advance: Advance) -> None:
    algorithm, _, wanted = digest.partition(":")
    state = hashlib.new(algorithm)
    offset = shown = failures = 0
    while True:
        before, furthest = offset, shown
        try:
            asked = request
            if offset:
                headers = {**asked.headers, "Range": f"bytes={offset}-"}
                asked = replace(asked, headers=headers, expected=frozenset({200, 206, 416}))
            with transport.stream(asked) as (answer, pieces):
                if offset and _start(answer) != offset:
                    # It does not know ranges, or the blob it has is shorter: all over again.
                    file.seek(0)
                    file.truncate()
                    state, offset = hashlib.new(algorithm), 0
                if answer.status == 416:
                    raise Transient(_short(answer, digest, before, size))
                for piece in _bounded(answer, pieces, offset, size, digest):
                    file.write(piece)
                    state.update(piece)
                    offset += len(piece)
                    advance(max(0, offset - shown))
                    shown = max(shown, offset)
                if offset < size:
                    raise Transient(_short(answer, digest, offset, size))
            break
        except Transient as failure:
            failures = failures + 1 if shown <= furthest else 1
            transport.patience.pause(failures, failure)
    if state.hexdigest() != wanted:
        raise _wrong(answer, digest, state.hexdigest(), offset)


def _bounded(answer: Answer, pieces: Iterator[bytes], offset: int, size: int, digest: str) -> Iterator[bytes]:
    for piece in pieces:
        offset += len(piece)
        if offset > size:
            raise RegistryError(
                f"{answer.method} {redact_url(answer.url)}: expected {size} bytes of {digest}, found more",
                hint="the registry has other bytes under this digest: they were thrown away",
            )
        yield piece


def _start(answer: Answer) -> int | None:
    """Where a partial answer starts (RFC 9110, section 14.4)."""
    found = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]+/(?:[0-9]+|\*)", answer.headers.get("content-range", ""))
    return int(found[1]) if answer.status == 206 and found else None


def _short(answer: Answer, digest: str, found: int, size: int) -> RegistryError:
    words = f"{answer.method} {redact_url(answer.url)}: expected {size} bytes of {digest}, found {found}"
    return RegistryError(words, hint="the connection, or the registry's copy of this blob, is broken: try again")


def _wrong(answer: Answer, digest: str, found: str, size: int) -> RegistryError:
    return RegistryError(
        f"{answer.method} {redact_url(answer.url)}: expected bytes of {digest}, found {size} bytes of {found}",
        hint="the registry, or a proxy before it, has other bytes under this digest: they were thrown away",
    )
