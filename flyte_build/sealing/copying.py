"""``COPY`` between two trees of files, as BuildKit copies (its ``solver/llbsolver/file`` and fsutil's ``copy``).

Runs in the sandbox: the root directory is the image, what is copied lies in a folder. No path leads out of that folder:
links are followed as if it were the root directory. A folder's content is copied, a link that is named is followed, one
inside a folder stays a link; folders that are there keep owner and mode where they are the target itself, and get those
of their source below it. Times do not matter, as no layer has them.
"""

from __future__ import annotations

import bz2
import lzma
import os
import posixpath
import re
import shutil
import stat
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any, BinaryIO, cast

from ..kernel.layer_tar import GZIP, BadLayer, LayerTar, damage, most_inflated
from . import people

__all__ = ["CannotCopy", "changed", "copy", "followed"]

_HOPS = 40
# The sandbox's own, of which no layer holds anything.
_OTHERS = ("/proc", "/sys", "/dev", "/run")
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=][rwxXst]*)+)")
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": 0o7777}


class CannotCopy(Exception):
    """Said in words."""


def copy(what: Mapping[str, Any], root: str, workdir: str) -> None:
    """``what``: the fields of :class:`~flyte_build.sealing.nouns.Copy`; ``root``: the folder that is copied from.

    Raises :class:`CannotCopy`, :class:`~flyte_build.sealing.people.Nobody`, and :class:`OSError`.
    """
    owner = people.owner(what["chown"]) if what["chown"] else None
    copier = _Copier(root, owner, what["chmod"])
    destination = posixpath.join("/", workdir, what["destination"])
    if not what["sources"]:
        copier.folders(destination)
        return
    ends = destination.endswith(("/", "/.")) or what["destination"] in ("", ".")
    for pattern in what["sources"]:
        for source in _matching(root, pattern):
            at = followed(root, source)
            if not os.path.lexists(at):
                raise CannotCopy(f"`{pattern}` is not there")
            if not (what["unpack"] and copier.unpacked(at, destination)):
                copier.one(at, posixpath.basename(source), destination, ends=ends)


class _Copier:
    def __init__(self, root: str, owner: tuple[int, int] | None, mode: str) -> None:
        self._root, self._owner, self._mode = root, owner, mode
        self._linked: dict[tuple[int, int], str] = {}

    def one(self, source: str, name: str, destination: str, *, ends: bool) -> None:
        """What a source names: a folder's content, or a file, which goes into a folder that is there or is meant."""
        if os.path.isdir(source):
            self._copy(source, self.folders(destination), top=True)
            return
        if ends or os.path.isdir(followed("/", destination)):
            destination = posixpath.join(destination, name)
        # Links on the way to the target are followed, the target itself is replaced.
        folder, _, name = destination.rstrip("/").rpartition("/")
        self._copy(source, f"{self.folders(folder).rstrip('/')}/{name}")

    def folders(self, path: str) -> str:
        """Make the folders on the way, and say where the last one is, links followed."""
        at = "/"
        for part in path.split("/"):
            if part in ("", "."):
                continue
            at = followed("/", posixpath.join(at, part))
            if not os.path.lexists(at):
                os.mkdir(at, 0o755)
                if self._owner is not None:
                    os.chown(at, *self._owner)
            elif not os.path.isdir(at):
                raise CannotCopy(f"`{at}` is no folder")
        return at

    def _copy(self, source: str, target: str, *, top: bool = False) -> None:
        if target in _OTHERS:
            return
        found = os.lstat(source)
        there = os.lstat(target) if os.path.lexists(target) else None
        if stat.S_ISDIR(found.st_mode):
            if there is not None and not stat.S_ISDIR(there.st_mode):
                raise CannotCopy(f"`{target}` is no folder, and a folder cannot take its place")
            if there is None:
                os.mkdir(target)
            for name in sorted(os.listdir(source)):
                self._copy(f"{source}/{name}", f"{target.rstrip('/')}/{name}")
            if there is None or not top:
                self._like(found, source, target)
            return
        if there is not None:
            if stat.S_ISDIR(there.st_mode):
                raise CannotCopy(f"`{target}` is a folder, and no file can take its place")
            os.unlink(target)
        key = found.st_dev, found.st_ino
        if stat.S_ISREG(found.st_mode) and found.st_nlink > 1 and key in self._linked:
            os.link(self._linked[key], target)
            return
        if stat.S_ISREG(found.st_mode):
            with open(source, "rb") as read, open(target, "xb") as write:
                shutil.copyfileobj(read, write, 1 << 20)
            self._linked[key] = target
        elif stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(source), target)
        elif stat.S_ISFIFO(found.st_mode):
            os.mkfifo(target)
        else:
            raise CannotCopy(f"`{source.removeprefix(self._root)}` is neither a file nor a folder nor a link")
        self._like(found, source, target)

    def _like(self, found: os.stat_result, source: str, target: str) -> None:
        uid, gid = self._owner or (found.st_uid, found.st_gid)
        os.chown(target, uid, gid, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(target, changed(stat.S_IMODE(found.st_mode), self._mode, folder=stat.S_ISDIR(found.st_mode)))
        for name in os.listxattr(source, follow_symlinks=False):
            if not name.startswith(("user.overlay.", "trusted.", "security.selinux")):
                value = os.getxattr(source, name, follow_symlinks=False)
                with suppress(OSError):  # what this file system or namespace does not take means nothing in it either
                    os.setxattr(target, name, value, follow_symlinks=False)

    def unpacked(self, source: str, destination: str) -> bool:
        """ADD: unpack an archive into the folder ``destination``; whether it is one. What is in it keeps its owners."""
        if not os.path.isfile(source) or not tarfile.is_tarfile(source):
            return False
        folder = self.folders(destination).rstrip("/")
        try:
            with open(source, "rb") as raw:
                plain, compressed = _opened(raw)
                tar = LayerTar(plain, compressed=compressed, limit=most_inflated(os.fstat(raw.fileno()).st_size))
                for member, path, content in tar.members():
                    with damage():
                        self._member(member, followed("/", f"{folder}/{posixpath.dirname(path)}"), path, content)
        except (BadLayer, lzma.LZMAError) as e:
            raise CannotCopy(f"`{source.removeprefix(self._root)}` cannot be unpacked: {e}") from None
        return True

    def _member(self, member: tarfile.TarInfo, folder: str, path: str, content: IO[bytes] | None) -> None:
        at = f"{folder.rstrip('/')}/{posixpath.basename(path)}".rstrip("/")
        if not path or at in _OTHERS:
            return
        os.makedirs(folder, exist_ok=True)
        if member.isdir():
            if not os.path.isdir(at) or os.path.islink(at):
                _gone(at)
                os.mkdir(at)
        elif os.path.isdir(at) and not os.path.islink(at):
            raise CannotCopy(f"`{at}` is a folder, and no file can take its place")
        else:
            _gone(at)
            if content is not None:
                with open(at, "xb") as write:
                    shutil.copyfileobj(content, write, 1 << 20)
            elif member.issym():
                os.symlink(member.linkname, at)
            elif member.islnk():
                os.link(followed("/", f"{folder.removesuffix(posixpath.dirname(path))}/{member.linkname}"), at)
                return
            else:
                raise CannotCopy(f"`{path}` in the archive is neither a file nor a folder nor a link")
        os.chown(at, member.uid, member.gid, follow_symlinks=False)
        if not member.issym():
            os.chmod(at, member.mode)


def _opened(raw: BinaryIO) -> tuple[BinaryIO, bool]:
    """An archive's tar, or its gzip."""
    magic = raw.read(6)
    raw.seek(0)
    if magic[:3] == b"BZh":
        return cast(BinaryIO, bz2.BZ2File(raw)), False
    if magic == b"\xfd7zXZ\0" or magic[:3] == b"\x5d\0\0":
        return cast(BinaryIO, lzma.LZMAFile(raw)), False
    return raw, magic[:2] == GZIP


def _gone(at: str) -> None:
    if os.path.lexists(at):
        os.unlink(at)


def followed(root: str, path: str) -> str:
    """Where ``path`` leads below ``root``, all links followed as if that were the root directory."""
    root, hops = root.rstrip("/"), 0
    at: list[str] = []
    rest = _parts(path)[::-1]
    while rest:
        part = rest.pop()
        if part == "..":
            at = at[:-1]
            continue
        here = "/".join([root, *at, part])
        if not os.path.islink(here):
            at.append(part)
            continue
        hops += 1
        if hops > _HOPS:
            raise CannotCopy(f"`{path}`: its links lead in a circle")
        link = os.readlink(here)
        at = [] if link.startswith("/") else at
        rest += _parts(link)[::-1]
    return "/".join([root, *at]) or "/"


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _matching(root: str, pattern: str) -> list[str]:
    """The paths that a pattern fits, in order; itself, where it is none (Go's ``filepath.Match``, part by part)."""
    paths = [""]
    for part in _parts(pattern):
        fits = _fitting(part)
        if fits is None:
            plain = re.sub(r"\\(.)", r"\1", part)
            paths = [f"{path}/{plain}" for path in paths]
        else:
            paths = [f"{path}/{name}" for path in paths for name in _names(root, path) if fits(name)]
    wild = any(_fitting(part) is not None for part in _parts(pattern))
    return [path or "/" for path in paths if not wild or os.path.lexists(followed(root, posixpath.dirname(path)))]


def _names(root: str, folder: str) -> list[str]:
    at = followed(root, folder)
    return sorted(os.listdir(at)) if os.path.isdir(at) else []


def _fitting(part: str) -> Callable[[str], object] | None:
    """What tells whether a name fits; ``None`` where the part is no pattern."""
    regular, wild, at = "", False, 0
    while at < len(part):
        c, at = part[at], at + 1
        end = part.find("]", at + 1)
        if c == "\\" and at < len(part):
            regular, at = regular + re.escape(part[at]), at + 1
        elif c in "*?":
            regular, wild = regular + (".*" if c == "*" else "."), True
        elif c == "[" and end > 0:
            inside = part[at:end].replace("\\", "\\\\").replace("[", "\\[")
            regular, wild, at = regular + f"[{inside}]", True, end + 1
        else:
            regular += re.escape(c)
    return re.compile(regular, re.DOTALL).fullmatch if wild else None


def changed(mode: int, said: str, *, folder: bool) -> int:
    """``mode`` after ``--chmod``: a number, or chmod(1)'s words (``u=rwX,go=rX``)."""
    if not said:
        return mode
    if said.isdigit():
        return int(said, 8)
    for clause in said.split(","):
        m = _CLAUSE.fullmatch(clause)
        if m is None:
            raise CannotCopy(f"`{said}` is no mode")
        who = _mask(m[1] or "a")
        for action in re.findall(r"[-+=][rwxXst]*", m[2]):
            bits = 0
            for letter in action[1:]:
                if letter == "X":
                    bits |= 0o111 if folder or mode & 0o111 else 0
                else:
                    bits |= {"s": 0o6000, "t": 0o1000}.get(letter) or _BITS[letter]
            bits &= who
            mode = {"+": mode | bits, "-": mode & ~bits, "=": mode & ~who | bits}[action[0]]
    return mode


def _mask(letters: str) -> int:
    mask = 0
    for letter in letters:
        mask |= _WHO[letter]
    return mask
