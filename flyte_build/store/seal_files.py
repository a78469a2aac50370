"""The files beside an unpacked tree: its listing, its seal and its state; read as if anyone had written them.

    <tree>/         an unpacked layer, a root made of layers, or bytecode
    <tree>.json     whose tree it is, and its seal: {"schema": 1, "of", "layers": [diff_id, ...], "seal": "sha256:..."}
    <tree>.seal     what has that digest: zlib of a line of JSON, {"schema": 1, "of", "layers": [[diff_id, its seal],
                    ...]}, and a line an entry: `PATH NUL MODE SIZE SHA-256` a file, `PATH NUL MODE -> TARGET` a link,
                    `PATH/ NUL MODE` a folder (`/` is the top); MODE has the type, in octal, as lstat(2) gives it
    <tree>.state    `1 SEAL SHA-256` and a newline, then zlib of what has that SHA-256: how each entry lay when it was
                    as sealed, `PATH NUL MODE INODE SIZE MTIME` (in ns) or `PATH/ NUL MODE`

Knows files only: what is in the trees themselves is ``sealed``'s to look at.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ..kernel.documents import parse_object
from ..kernel.values import dataclass

__all__ = [
    "Difference", "Listing", "Unsealed", "as_bytes", "beside", "checked_listing", "entries", "find_listing", "lies",
    "remove_seal", "split", "state", "write_seal", "write_state",
]  # fmt: skip

_SCHEMA = 1
_BESIDE = (".json", ".state", ".seal")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEADER = 1 << 20
_ENTRY = re.compile(r"[0-7]{5,6}(?: [0-9]{1,19} [0-9a-f]{64}| -> .+)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Difference:
    """``path`` is relative to the tree (``/`` the tree itself), or the name of a file beside it."""

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Listing:
    """``of`` is an image's manifest digest or a layer's diff_id; ``layers`` are a root's diff_ids."""

    of: str
    layers: tuple[str, ...]
    seal: str


class Unsealed(Exception):
    """There is no sound seal; the difference says why."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(path)
        self.difference = Difference(path, expected, found)


def lies(found: os.stat_result) -> str:
    """``MODE INODE SIZE MTIME``: how a file or a link lies."""
    return f"{found.st_mode:o} {found.st_ino} {found.st_size} {found.st_mtime_ns}"


def beside(tree: Path, suffix: str) -> Path:
    return tree.with_name(tree.name + suffix)


def remove_seal(tree: Path) -> None:
    """The names of a seal go before its tree does."""
    for suffix in _BESIDE:
        beside(tree, suffix).unlink(missing_ok=True)


def find_listing(tree: Path) -> Listing | None:
    """What ``<tree>.json`` says; ``None`` where it is not there, or no such listing."""
    try:
        found = parse_object(beside(tree, ".json").read_bytes())
    except (OSError, ValueError):
        return None
    of, layers, sealed = found.get("of"), found.get("layers"), found.get("seal")
    if found.get("schema") != _SCHEMA or not isinstance(of, str) or not isinstance(layers, list):
        return None
    if not all(isinstance(name, str) and _DIGEST.fullmatch(name) for name in (sealed, *layers)):
        return None
    return Listing(of, tuple(layers), str(sealed))


def checked_listing(tree: Path, of: str, layers: Sequence[str] | None) -> Listing:
    """The listing, which has to be ``of`` this and, where given, of these ``layers``. Raises :class:`Unsealed`."""
    name = beside(tree, ".json").name
    listing = find_listing(tree)
    if listing is None:
        raise Unsealed(name, "a tree's listing", "none")
    if listing.of != of:
        raise Unsealed(name, of, listing.of)
    if layers is not None and listing.layers != tuple(layers):
        raise Unsealed(name, f"the layers {' '.join(layers)}", " ".join(listing.layers) or "none")
    return listing


def entries(tree: Path, listing: Listing) -> dict[str, str]:
    """Path → ``MODE SIZE SHA-256``, ``MODE -> TARGET`` or ``MODE``, as sealed. Raises :class:`Unsealed`."""
    found = dict(split(_opened(tree, listing, None).split("\n")[1:]))
    if not all(map(_ENTRY.fullmatch, found.values())):
        raise Unsealed(beside(tree, ".seal").name, f"a seal of schema {_SCHEMA}", "lines that are of none")
    return found


def _opened(tree: Path, listing: Listing, most: int | None) -> str:
    """The seal's text (or the beginning of it), which is the one that the listing names and is of the same tree."""
    path = beside(tree, ".seal")
    try:
        data = path.read_bytes()
    except OSError as e:
        raise Unsealed(path.name, "a seal", e.strerror or str(e)) from None
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if found != listing.seal:
        raise Unsealed(path.name, listing.seal, found)
    try:
        inflated = zlib.decompress(data) if most is None else _first_line(data, most)
        text = inflated.decode("utf-8", "surrogateescape")
        header = parse_object(text.partition("\n")[0])
        layers = tuple(str(name) for name, _ in header["layers"])
    except (zlib.error, ValueError, KeyError, TypeError):
        raise Unsealed(path.name, f"a seal of schema {_SCHEMA}", "none") from None
    if (header.get("schema"), header.get("of"), layers) != (_SCHEMA, listing.of, listing.layers):
        raise Unsealed(path.name, f"the seal of {listing.of}", f"that of {header.get('of')}")
    return text


def _first_line(data: bytes, most: int) -> bytes:
    """What ``data`` begins with, inflated, until its first line is whole; never more than ``most`` bytes."""
    inflating, out = zlib.decompressobj(), b""
    while b"\n" not in out and len(out) < most:
        more = inflating.decompress(data, 1 << 12)
        if not more:
            break
        out, data = out + more, inflating.unconsumed_tail
    return out


def state(tree: Path, listing: Listing, lies: str = "") -> tuple[bool, dict[str, str]]:
    """Whether the tree lies as it did when it was as sealed, ``lies`` being the SHA-256 of how; where not, how it did.

    Raises :class:`Unsealed` where there is no seal that this could be the state of.
    """
    _opened(tree, listing, _HEADER)
    try:
        first, _, data = beside(tree, ".state").read_bytes().partition(b"\n")
        version, of, digest = first.decode().split(" ")
        if (version, of) != (str(_SCHEMA), listing.seal):
            return False, {}
        if digest == lies:
            return True, {}
        text = zlib.decompress(data)
        if hashlib.sha256(text).hexdigest() != digest:
            return False, {}
        return False, dict(split(text.decode("utf-8", "surrogateescape").split("\n")))
    except (OSError, ValueError, zlib.error):
        return False, {}


def write_seal(
    final: Path, of: str, layers: Sequence[tuple[str, str]], sealed: Sequence[str], lying: Sequence[str]
) -> str:
    """Write all three beside ``final``, the listing last; the seal's digest. ``layers`` are (diff_id, its seal)."""
    header = json.dumps({"schema": _SCHEMA, "of": of, "layers": layers}, sort_keys=True)
    data = zlib.compress(as_bytes([header, *sealed]), 1)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    _write(beside(final, ".seal"), data)
    write_state(final, digest, as_bytes(lying))
    listing = {"schema": _SCHEMA, "of": of, "layers": [name for name, _ in layers], "seal": digest}
    _write(beside(final, ".json"), json.dumps(listing, sort_keys=True).encode() + b"\n")
    return digest


def write_state(tree: Path, digest: str, text: bytes) -> None:
    """Note how the tree of the seal ``digest`` lies."""
    first = f"{_SCHEMA} {digest} {hashlib.sha256(text).hexdigest()}\n"
    _write(beside(tree, ".state"), first.encode() + zlib.compress(text, 1))


def split(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(path, what is said of it) of each line."""
    for line in lines:
        path, _, record = line.partition("\0")
        yield path, record


def as_bytes(lines: Sequence[str]) -> bytes:
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    handle, temporary = tempfile.mkstemp(".partial", f"{path.name}-", path.parent)
    try:
        with os.fdopen(handle, "wb") as f:
            os.fchmod(handle, 0o644)
            f.write(data)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
