"""A root directory that programs run in, made of the host's own: a shell, a dozen tools and the libraries they need."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

__all__ = ["TOOLS", "layer_blob", "tiny_folder", "tiny_root"]

TOOLS = ("sh", "cat", "cp", "ln", "ls", "mkdir", "mv", "rm", "chmod", "chown", "touch", "id", "env", "date", "stat")
_LIBRARY = re.compile(r"(/\S+)")


def _libraries(program: str) -> set[str]:
    words = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return {found for found in _LIBRARY.findall(words) if not found.startswith("(")}


def tiny_root(*, tools: Sequence[str] = TOOLS) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Members of a layer: the tools in /bin, their libraries, and the folders that a system has."""
    files: dict[str, str] = {}
    for tool in tools:
        program = shutil.which(tool, path="/bin:/usr/bin")
        if program is None:
            pytest.skip(f"{tool} is not installed")
        files[f"bin/{tool}"] = program
        files |= {library.lstrip("/"): library for library in _libraries(program)}
    members = []
    folders = {"tmp": 0o1777, "etc": 0o755, "root": 0o700, "proc": 0o755, "dev": 0o755, "run": 0o755}
    parents = {str(p) for path in files for p in Path(path).parents if str(p) != "."}
    for path, mode in {**dict.fromkeys(sorted(parents), 0o755), **folders}.items():
        members.append((_member(path, mode, tarfile.DIRTYPE), b""))
    members += [(_member(path, 0o755), Path(source).read_bytes()) for path, source in sorted(files.items())]
    members.append(
        (_member("etc/passwd", 0o644), b"root:x:0:0::/root:/bin/sh\nflyte:x:1000:1000::/home/flyte:/bin/sh\n")
    )
    return members


def _member(path: str, mode: int, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.mtime = kind, mode, 315532800
    return member


def layer_blob(
    path: Path, members: Sequence[tuple[tarfile.TarInfo, bytes]] = (), files: Mapping[str, bytes | str] | None = None
) -> str:
    """Write a layer to ``path``, and give its diff_id. ``files``: path → content; a text is a link's target."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, content in (files or {}).items():
            member = _member(name, 0o644)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    path.write_bytes(gzip.compress(out.getvalue(), 1, mtime=0))
    return f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}"


def tiny_folder(folder: Path) -> None:
    """The tiny root as files below ``folder``, for a project that copies it to ``/``."""
    for member, data in tiny_root():
        if member.isreg() and member.name != "etc/passwd":
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(member.mode)
