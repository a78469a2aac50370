"""Builds Debian packages for tests: whole ones, and ones broken in a chosen way.

Pure Python, so that the tests need no dpkg and decide every byte; deb(5) is the format. It never reads
the machine: names, modes, owners and times are all given or fixed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

__all__ = ["Directory", "Hardlink", "Special", "Symlink", "ar", "build_deb", "shared_library", "tar"]


@dataclass(frozen=True)
class Symlink:
    """A symbolic link to ``target``."""

    target: str


@dataclass(frozen=True)
class Hardlink:
    """A hard link to ``target``, a path in the archive written before it."""

    target: str


@dataclass(frozen=True)
class Directory:
    mode: int = 0o755


@dataclass(frozen=True)
class Special:
    """A member of another tar type: ``tarfile.FIFOTYPE``, ``CHRTYPE``, ``BLKTYPE``, …"""

    type: bytes


File: TypeAlias = bytes | tuple[int, bytes] | Symlink | Hardlink | Directory | Special


def build_deb(
    directory: Path,
    package: str,
    version: str,
    files: Mapping[str, File],
    *,
    architecture: str = "amd64",
    depends: str = "",
    scripts: Mapping[str, str | bytes] | None = None,
    compression: str = "xz",
    control: Mapping[str, str] | None = None,
    conffiles: Sequence[str] = (),
    triggers: str = "",
    md5sums: bool = True,
    debian_binary: bytes = b"2.0\n",
    owners: Mapping[str, tuple[int, int]] | None = None,
    parents: bool = True,
    extra_members: Sequence[tuple[str, bytes]] = (),
) -> Path:
    """``<package>_<version>_<architecture>.deb`` in ``directory``.

    ``files`` maps a path (as it shall stand in the archive, without ``./``) to bytes (mode 0644), to
    ``(mode, bytes)`` or to one of this module's kinds. ``parents`` adds the folders above them.
    ``scripts`` are maintainer scripts by name, ``control`` fields that replace or join the usual ones,
    ``owners`` numeric ``(uid, gid)`` by path, ``compression`` ``xz``, ``gz``, ``none`` or ``zst`` (the
    last with xz bytes inside: only its name matters). ``extra_members`` follow the three of a .deb.
    """
    fields = {
        "Package": package,
        "Version": version,
        "Architecture": architecture,
        "Maintainer": "Nobody <nobody@mirror.example>",
        "Priority": "optional",
        "Description": f"{package} for tests\n more than one line\n .\n and the end",
    }
    if depends:
        fields["Depends"] = depends
    fields |= dict(control or {})
    text = "".join(f"{k}: {v}\n" for k, v in fields.items())
    members: dict[str, File] = {"control": text.encode()}
    if md5sums:
        rows = []
        for path, file in files.items():
            if isinstance(file, bytes | tuple):
                data = file if isinstance(file, bytes) else file[1]
                rows.append(f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}  {path}\n")
        members["md5sums"] = "".join(rows).encode()
    if conffiles:
        members["conffiles"] = "".join(f"{c}\n" for c in conffiles).encode()
    if triggers:
        members["triggers"] = triggers.encode()
    for name, script in (scripts or {}).items():
        members[name] = (0o755, script.encode() if isinstance(script, str) else script)
    suffix = "" if compression == "none" else f".{compression}"
    name_version = version.partition(":")[2] or version
    path = directory / f"{package}_{name_version}_{architecture}.deb"
    path.write_bytes(
        ar(
            [
                ("debian-binary", debian_binary),
                (f"control.tar{suffix}", _compress(tar(members, parents=False), compression)),
                (f"data.tar{suffix}", _compress(tar(files, parents=parents, owners=owners), compression)),
                *extra_members,
            ]
        )
    )
    return path


def tar(
    files: Mapping[str, File], *, parents: bool = True, owners: Mapping[str, tuple[int, int]] | None = None
) -> bytes:
    """A GNU tar of ``files``, names prefixed with ``./`` unless they are absolute or start with a dot."""
    out = io.BytesIO()
    done: set[str] = set()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        if parents:
            archive.addfile(_member("./", Directory()))
        for path, file in files.items():
            above = path.strip("/").split("/")[:-1]
            for depth in range(1, len(above) + 1) if parents else ():
                folder = "/".join(above[:depth])
                if folder not in done and folder not in files:
                    done.add(folder)
                    archive.addfile(_member(f"./{folder}/", Directory()))
            name = path if path.startswith(("/", ".")) else f"./{path}"
            info = _member(name, file)
            info.uid, info.gid = (owners or {}).get(path, (0, 0))
            data = file if isinstance(file, bytes) else file[1] if isinstance(file, tuple) else None
            archive.addfile(info, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


def ar(members: Sequence[tuple[str, bytes]]) -> bytes:
    """A Unix ar archive in the common format, as deb(5) wants it."""
    out = [b"!<arch>\n"]
    for name, data in members:
        out.append(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode())
        out.append(data + b"\n" * (len(data) & 1))
    return b"".join(out)


def _member(name: str, file: File) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mtime = 1_700_000_000
    info.mode = 0o644
    info.uname = info.gname = "root"
    if isinstance(file, bytes):
        info.size = len(file)
    elif isinstance(file, tuple):
        info.mode, info.size = file[0], len(file[1])
    elif isinstance(file, Symlink):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, file.target, 0o777
    elif isinstance(file, Hardlink):
        info.type, info.linkname = tarfile.LNKTYPE, f"./{file.target}"
    elif isinstance(file, Directory):
        info.type, info.mode = tarfile.DIRTYPE, file.mode
    else:
        info.type = file.type
    return info


def _compress(data: bytes, compression: str) -> bytes:
    if compression == "gz":
        return gzip.compress(data, mtime=0)
    if compression == "none":
        return data
    return lzma.compress(data, preset=0)


def shared_library(soname: str | None, *, machine: int = 62, bits: int = 64) -> bytes:
    """The least ELF file that is a shared library: one segment, a dynamic section, one string table."""
    wide = bits == 64
    strings = b"\0" + (soname.encode() if soname else b"") + b"\0"
    header_size, segment_size, tag = (64, 56, struct.Struct("<qQ")) if wide else (52, 32, struct.Struct("<iI"))
    dynamic_at = header_size + 2 * segment_size
    tags = [(14, 1)] if soname else []
    strings_at = dynamic_at + (len(tags) + 2) * tag.size
    base = 0x1000
    dynamic = b"".join(tag.pack(*t) for t in [*tags, (5, base + strings_at), (0, 0)])
    total = strings_at + len(strings)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    header = struct.pack(
        "<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH",
        *(3, machine, 1, 0, header_size, 0, 0, header_size, segment_size, 2, 0, 0, 0),
    )

    def segment(kind: int, offset: int, size: int) -> bytes:
        if wide:
            return struct.pack("<IIQQQQQQ", kind, 5, offset, base + offset, base + offset, size, size, 0x1000)
        return struct.pack("<IIIIIIII", kind, offset, base + offset, base + offset, size, size, 5, 0x1000)

    load, section = segment(1, 0, total), segment(2, dynamic_at, len(dynamic))
    return ident + header + load + section + dynamic + strings


def huge_dictionary(data: bytes) -> bytes:
    """An xz stream of ``data`` whose header asks for a dictionary of 4 GiB (xz file format 1.2.0, 3.1 and 5.3.1)."""
    stream = bytearray(lzma.compress(data, preset=0))
    size = (stream[12] + 1) * 4
    header = stream[12 : 12 + size - 4]
    assert header[2:4] == b"\x21\x01"  # the filter LZMA2, with one byte of properties
    header[4] = 40
    stream[12 : 12 + size] = header + zlib.crc32(header).to_bytes(4, "little")
    return bytes(stream)
