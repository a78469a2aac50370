"""The normal form of what a step leaves: what no image needs, because it is the trace of one run. Pure.

Caches, logs, locks, compiled modules, the machine's id; of `/proc`, `/sys`, `/dev` and `/run` nothing is ever captured.
Two files are written anew because they hold the day of the run. The list is part of ``SEALER``: a change raises it.
"""

from __future__ import annotations

import re
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


_REWRITTEN: Mapping[str, Callable[[bytes], bytes]] = {"etc/shadow": _shadow}
