"""Which modules a conda package brings: read off its own list of files, ``info/paths.json``.

That is in the small one of the two archives in a ``.conda``, so that little of a package is fetched to be asked; a
``.tar.bz2`` is read where it is on this machine.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from ....assemble.zstd import ZstdError, unpack_zstd
from ....locks.nouns import LockedPlatform, LockedWheel

__all__ = ["SUFFIXES", "as_wheels", "of_file", "of_ranges"]

SUFFIXES = (".conda", ".tar.bz2")
_LONGEST = 64 << 20
_SITE = re.compile(r"(?:lib/python3\.\d+/)?site-packages/")
_PYTHONS = frozenset({"python", "python_abi", "python-gil"})


def as_wheels(locked: LockedPlatform) -> list[LockedWheel]:
    """The conda packages that may bring modules, as what the check asks of wheels."""
    return [
        LockedWheel(p.pypi[0] if p.pypi else p.name, p.version, p.file, p.size, p.sha256, 0)
        for p in locked.conda
        if p.pypi or not _PYTHONS.isdisjoint(p.needs)
    ]


def of_file(path: Path, name: str) -> list[str] | None:
    """The files below site-packages of the package at ``path``; ``None`` where it cannot be read."""
    try:
        if name.endswith(".conda"):
            with zipfile.ZipFile(path) as archive:
                return _of_zip(archive)
        with tarfile.open(path, "r:bz2") as tar:
            return _listed(tar)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, ValueError, KeyError, TypeError):
        return None


def of_ranges(size: int, tail: bytes, read_range: Callable[[int, int], bytes]) -> list[str]:
    """The same of a ``.conda`` that is elsewhere; arguments and errors as those of
    :func:`flyte_build.sources.indexes.metadata.members`."""
    from ....sources.indexes.metadata import opened

    with opened(size, tail, read_range) as archive:
        try:
            return _of_zip(archive)
        except (EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as e:
            raise zipfile.BadZipFile(str(e)) from None


def _of_zip(archive: zipfile.ZipFile) -> list[str]:
    (name,) = (n for n in archive.namelist() if n.startswith("info-") and n.endswith(".tar.zst"))
    plain = io.BytesIO()
    with archive.open(name) as packed:
        unpack_zstd(cast(io.BytesIO, packed), plain, _LONGEST)
    plain.seek(0)
    with tarfile.open(fileobj=plain, mode="r:") as tar:
        return _listed(tar)


def _listed(tar: tarfile.TarFile) -> list[str]:
    names = {member.name.removeprefix("./"): member for member in tar}
    if (listed := names.get("info/paths.json")) is not None:
        return _below(str(row["_path"]) for row in json.loads(_read(tar, listed))["paths"])
    return _below(_read(tar, names["info/files"]).decode().split("\n"))


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    if stream is None or member.size > _LONGEST:
        raise ZstdError("expected a file")
    return stream.read()


def _below(paths: Iterable[str]) -> list[str]:
    return [path[found.end() :] for path in paths if (found := _SITE.match(path))]
