"""The normal form of what a step leaves: what no image needs, because it is the trace of one run. Pure.

Caches, logs, locks, compiled modules, the machine's id; of `/proc`, `/sys`, `/dev` and `/run` nothing is ever captured.
Two files are written anew because they hold the day of the run. The list is part of ``SEALER``: a change raises it.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Mapping

__all__ = ["dropped", "rewritten"]

_DROPPED = re.compile(
    r"""
      (proc|sys|dev|run)/.*
    | var/(run|lock)/.*
    | var/lib/dpkg/(lock|lock-frontend|triggers/Lock|available|updates/.*|[^/]*-old|tmp\.ci(/.*)?)
    | var/cache/debconf/.*-old
    | var/lib/ucf/.*[.-](old|[0-9])
    | var/cache/ldconfig/.*
    | var/lib/apt/(lists|periodic|extended_states)(/.*)?
    | var/cache/(apt|dnf|yum|apk)/.*
    | var/lib/texmf/.*\.log
    | etc/machine-id | var/lib/dbus/machine-id | var/lib/systemd/random-seed
    | etc/(passwd|group|shadow|gshadow|subuid|subgid)-
    | etc/\.pwd\.lock
    | (.*/)?__pycache__(/.*)?
    | root/\.(cache|npm|wget-hsts|bash_history|python_history|launchpadlib)(/.*)?
    | home/[^/]+/\.cache(/.*)?
    """,
    re.VERBOSE,
)
_LOG = "var/log/"


def dropped(path: str, *, folder: bool) -> bool:
    """Whether ``path`` (relative to the root) is left out. Folders of logs stay: programs want them to be there."""
    if path.startswith(_LOG):
        return not folder
    return _DROPPED.fullmatch(path) is not None


def rewritten(path: str) -> Callable[[bytes], bytes] | None:
    """What makes the bytes that take the place of a file's own; ``None`` where it stays as it is."""
    return _REWRITTEN.get(path)


def _shadow(data: bytes) -> bytes:
    """shadow(5) without the day of the last change, which would be the day of the run."""
    rows = [line.split(b":") for line in data.splitlines()]
    for row in rows:
        if len(row) > 2:
            row[2] = b""
    return b"".join(b":".join(row) + b"\n" for row in rows)


def _keystore(data: bytes) -> bytes:
    """A Java keystore (JKS, trusted certificates only) in the order of its aliases and with one date for all, as it
    holds the day of the run; its digest, which Java checks, is made again. Another file stays as it is.

    The format: magic, version, number of entries; of each a tag, alias, milliseconds, type and certificate; then the
    SHA-1 of the password in UTF-16, a salt and all that (sun.security.provider.JavaKeyStore).
    """
    if data[:8] != b"\xfe\xed\xfe\xed\0\0\0\2":
        return data
    entries, at = [], 12
    try:
        for _ in range(struct.unpack_from(">I", data, 8)[0]):
            tag, length = struct.unpack_from(">IH", data, at)
            alias, at = data[at + 6 : at + 6 + length], at + 6 + length + 8
            start = at
            at += 2 + struct.unpack_from(">H", data, at)[0]
            at += 4 + struct.unpack_from(">I", data, at)[0]
            if tag != 2:
                return data
            entries.append((alias, data[start:at]))
    except struct.error:
        return data
    rows = (struct.pack(">IH", 2, len(a)) + a + struct.pack(">q", _KEYSTORE_DATE) + body for a, body in sorted(entries))
    plain = data[:12] + b"".join(rows)
    return plain + hashlib.sha1(_KEYSTORE_SALT + plain, usedforsecurity=False).digest()


# 1980-01-01 in milliseconds; the password is Java's own default, which Debian's script uses, in UTF-16.
_KEYSTORE_DATE = 315_532_800_000
_KEYSTORE_SALT = b"".join(b"\0%c" % letter for letter in b"changeit") + b"Mighty Aphrodite"
_REWRITTEN: Mapping[str, Callable[[bytes], bytes]] = {
    "etc/shadow": _shadow,
    "etc/ssl/certs/java/cacerts": _keystore,
}
