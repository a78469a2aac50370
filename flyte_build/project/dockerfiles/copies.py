"""``COPY`` and ``ADD`` of a Dockerfile → copies of the project's files, or sealed steps where only a sandbox can copy.

Files of the Dockerfile's folder whose owner and mode are known, and whose place is, are copied as ``with_source_*``
copies them: a lock stays as it is when they change. What is at an address is locked by its hash. What another stage
or image has, archives that are unpacked, owners by name, and places that a command may have made are copied where the
image is: in a sealed step.
"""

from __future__ import annotations

import posixpath
import re
import shlex
import tarfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ...recipe import CopyFiles, RunCommands, TreeCopy, hidden
from .context import found, patterns
from .reading import State
from .steps import Taken, flags_of
from .text import Instruction, exec_form

__all__ = ["copy"]

_OCTAL = re.compile(r"0?[0-7]{3,4}")
_SYMBOLIC = re.compile(r"[ugoa]*([-+=][rwxXst]*)+(,[ugoa]*([-+=][rwxXst]*)+)*")
_NUMBERS = re.compile(r"(\d{1,10})(?::(\d{1,10}))?")
_NAMED_ROOT = frozenset(("root", "root:root", "0:root", "root:0"))
_REMOTE = re.compile(r"\w+://|git@")
_GIT = re.compile(r"\.git(#.*)?$")
_HEX = re.compile(r"[0-9a-f]{64}")


def copy(s: State, one: Instruction, taken: Taken) -> None:
    """The steps of ``COPY`` and ``ADD``."""
    added = one.name == "ADD"
    flags, rest = flags_of(s, one)
    said = {name: s.later(one, value) for name, value in flags if name != "link"}
    if strange := sorted(said.keys() - {"chown", "chmod", "checksum" if added else "from"}):
        raise s.r.refuse(one, f"`--{strange[0]}`: is not known here", elsewhere=True)
    mode = said.get("chmod", "")
    if mode and not _OCTAL.fullmatch(mode) and not _SYMBOLIC.fullmatch(mode):
        raise s.r.refuse(one, f"`--chmod={mode}`: expected a mode such as 755 or u+x")
    if one.here:
        _written(s, one, rest, said)
        return
    listed = exec_form(rest)
    words = [shlex.quote(word) for word in listed] if listed is not None else s.r.split(one, rest)
    if len(words) < 2:
        raise s.r.refuse(one, "expected what to copy, and where to")
    *sources, target = words
    target = s.later(one, target)
    if "from" in said:
        names = tuple(s.known(one, word) for word in sources)
        number = taken(s, one, said["from"])
        _sealed(s, one, number, names, target, said)
    else:
        names = tuple(s.known(one, word) for word in sources)
        remote = [name for name in names if added and _REMOTE.match(name)]
        if said.get("checksum") and (len(remote) != 1 or len(names) != 1):
            raise s.r.refuse(one, "`--checksum`: expected one address, and nothing else")
        if len(names) > 1 and not _is_folder(target):
            raise s.r.refuse(one, "several things are copied: expected a folder, with a slash at its end")
        for address in remote:
            _of_address(s, one, address, target, said)
        paths = [path for name in names if name not in remote for path in found(s, one, name)]
        if paths:
            _of_context(s, one, paths, target, said, added=added)


def _is_folder(target: str) -> bool:
    return target.endswith("/") or target in (".", "..")


def _of_address(s: State, one: Instruction, address: str, target: str, said: dict[str, str]) -> None:
    """What is at an address, as it is: no archive of those is unpacked. Its hash is the lock's to know."""
    if not re.match(r"https?://", address) or _GIT.search(address):
        raise s.r.refuse(one, "no step fetches repositories or what is at such addresses", elsewhere=True)
    kind, _, asked = said.get("checksum", "").partition(":")
    if kind and (kind != "sha256" or not _HEX.fullmatch(asked)):
        raise s.r.refuse(one, f"`--checksum={kind}:{asked}`: expected sha256 and 64 hex digits", elsewhere=True)
    name = posixpath.basename(unquote(urlsplit(address).path))
    if name in ("", ".", ".."):
        if _is_folder(target):
            raise s.r.refuse(one, "the address has no name for a file: expected one after the last slash of its place")
        name = posixpath.basename(target)
    sha256, size = s.r.known.files.get(hidden(address), (asked or None, None))
    if asked and sha256 != asked:
        sha256, size = asked, None
    owner, chmod = _owner(said.get("chown", "")), said.get("chmod", "")
    mode = int(chmod, 8) if _OCTAL.fullmatch(chmod) else None
    ran = any(True for _ in s.ran())
    there = CopyFiles(name, target, False, owner=owner, mode=0o600, url=address, sha256=sha256, size=size)
    sure = owner == (0, 0) or (owner is not None and (target in (".", "./") or not ran))
    if sure and (mode is not None or not chmod) and "$" not in target and not _unsure(s, name, target, folder=False):
        s.steps.append(replace(there, mode=0o600 if mode is None else mode))
        return
    number = s.copied([replace(there, destination=f"/{name}", owner=(0, 0))])
    _sealed(s, one, number, (_literal(f"/{name}"),), target, said)


def _of_context(
    s: State, one: Instruction, paths: list[Path], target: str, said: dict[str, str], *, added: bool
) -> None:
    if len(paths) > 1 and not _is_folder(target):
        raise s.r.refuse(one, "several things are copied: expected a folder, with a slash at its end")
    if added and (packed := next((path for path in paths if _packed(path)), None)) is not None:
        raise s.r.refuse(one, f"{packed.name} is packed by zstd, which is not unpacked here", elsewhere=True)
    owner, archives = _owner(said.get("chown", "")), added and any(map(_is_archive, paths))
    mode = int(said["chmod"], 8) if _OCTAL.fullmatch(said.get("chmod", "")) else None
    folders = any(path.is_dir() for path in paths)
    # A folder's mode is that of folders in it, too, which a plain copy leaves alone.
    plain = owner is not None and ("chmod" not in said or (mode is not None and (mode == 0o755 or not folders)))
    if owner != (0, 0) and target not in (".", "./") and any(True for _ in s.ran()):
        # Folders on the way that a command has made keep their owner, and others get this one.
        plain = False
    if (
        plain
        and not archives
        and "$" not in target
        and not any(_unsure(s, path.name, target, folder=path.is_dir()) for path in paths)
    ):
        for path in paths:
            ignore = patterns(s, path) if path.is_dir() else ()
            s.steps.append(CopyFiles(s.r.relative(path), target, path.is_dir(), ignore, owner=owner, mode=mode))
        return
    for path in paths:
        name = "/" + "/".join(path.relative_to(s.r.context).parts)
        ignore = patterns(s, path) if path.is_dir() else ()
        number = s.copied([CopyFiles(s.r.relative(path), name, path.is_dir(), ignore, owner=(0, 0))])
        _sealed(s, one, number, (_literal(name),), target, said, unpack=added)


def _sealed(
    s: State,
    one: Instruction,
    number: int,
    names: tuple[str, ...],
    target: str,
    said: dict[str, str],
    unpack: bool = False,
) -> None:
    if len(names) > 1 and not target.endswith("/") and target not in (".", ".."):
        raise s.r.refuse(one, "several things are copied: expected a folder, with a slash at its end")
    step = TreeCopy(number, names, target, said.get("chown", ""), said.get("chmod", ""), unpack)
    s.run(RunCommands((), copies=(step,)))


def _owner(said: str) -> tuple[int, int] | None:
    """To whom files are copied, where names need not be looked up: root, or numbers (one alone is the group's)."""
    if not said or said in _NAMED_ROOT:
        return 0, 0
    m = _NUMBERS.fullmatch(said)
    return (int(m[1]), int(m[2] or m[1])) if m is not None else None


def _unsure(s: State, called: str, target: str, *, folder: bool) -> bool:
    """Whether the target of a file may be a folder that a command has made: then the file goes into it."""
    name = posixpath.basename(target)
    if folder or name in ("", ".", "..") or "." in name or name == called:
        return False
    return any(True for _ in s.ran())


def _packed(path: Path) -> bool:
    """Whether it may be an archive that cannot be read here: BuildKit unpacks those that zstd has made."""
    if not path.is_file():
        return False
    with open(path, "rb") as f:
        return f.read(4) == b"\x28\xb5\x2f\xfd"


def _is_archive(path: Path) -> bool:
    return path.is_file() and tarfile.is_tarfile(path)


def _literal(name: str) -> str:
    """``name`` as a pattern that fits nothing else."""
    return re.sub(r"([\\*?\[])", r"\\\1", name)


def _written(s: State, one: Instruction, rest: str, said: dict[str, str]) -> None:
    """``COPY <<EOF /path``: the files are what the here-documents say, each called as its document where the target is
    a folder. Made by the image's own shell, as root."""
    *sources, target = s.r.split(one, rest) or [""]
    told = [here.told for here in one.here]
    if [word for word in sources if word not in told] or len(sources) != len(told) or "from" in said:
        raise s.r.refuse(one, "expected here-documents only, and the path of the file")
    target = s.known(one, target)
    if len(told) > 1 and not target.endswith("/"):
        raise s.r.refuse(one, "several files are written: expected a folder, with a slash at its end")
    for here in one.here:
        path = target + here.name if target.endswith("/") else target
        where, folder = shlex.quote(path), posixpath.dirname(path)
        body = here.body if here.plain else s.known(one, here.body, quotes=False)
        text = f"mkdir -p {shlex.quote(folder)} && " if folder not in ("", "/") else ""
        text += f"cat >{where} <<'{here.name}'\n{body}{here.name}\n"
        for program in ("chown", "chmod"):
            text += f"{program} {said[program]} {where}\n" if program in said else ""
        s.run(RunCommands((text,)))
