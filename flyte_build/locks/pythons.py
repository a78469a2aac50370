"""An image's Python that is none of Debian's packages: the relocatable CPython that uv installs. Value and JSON.

The lock names the archive's content; where it is fetched from is uv's configuration (law 1).
"""

from __future__ import annotations

import re

from ..kernel.canonical import Json
from ..kernel.values import dataclass
from .reading import SHA256, Reader

__all__ = ["LockedPython", "parse_python", "python_json"]

_VERSION = re.compile(r"3\.\d+\.\d+")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\.tar\.gz")


@dataclass(frozen=True, slots=True)
class LockedPython:
    """CPython ``version`` (``"3.12.8"``) in an archive: ``file`` name, ``size`` in bytes, SHA-256 in hex."""

    version: str
    file: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return "cpython"

    @property
    def minor(self) -> str:
        """``"3.12"``; of a free-threaded build ``"3.13t"``, which is what its folders and programs are called."""
        return self.version.rpartition(".")[0] + ("t" if "-freethreaded-" in self.file else "")


def python_json(python: LockedPython) -> dict[str, Json]:
    """The JSON object of a lock, one line there."""
    return {"version": python.version, "file": python.file, "size": python.size, "sha256": python.sha256}


def parse_python(r: Reader, raw: object, at: str) -> LockedPython:
    """Raises :class:`~flyte_build.kernel.errors.LockError` naming place and expectation."""
    if not isinstance(raw, dict):
        raise r.fail(at, "an object", raw)
    r.known(raw, set(LockedPython.__dataclass_fields__), at)
    return LockedPython(
        version=r.matching(raw, "version", _VERSION, "a version such as 3.12.8", at),
        file=r.matching(raw, "file", _FILE, "the name of a .tar.gz", at),
        size=r.size(raw, at),
        sha256=r.matching(raw, "sha256", SHA256, "64 hexadecimal digits", at),
    )
