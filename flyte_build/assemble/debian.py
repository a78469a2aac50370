"""Layer kind ``debian``: the files of Debian packages, merged into one tree.

No maintainer script runs; what they would have made is ``system.py``'s. The tree has the layout of a
merged-``/usr`` system: what a package puts below ``/bin``, ``/sbin``, ``/lib*`` lies below ``/usr``, and
what it puts below ``/var/run`` and ``/var/lock`` below ``/run``. The links with those names are the
system layer's, so that no layer has a folder where another has a link.

Left out, as Debian's own slim images do, because nothing in an image reads it: ``usr/share/man``,
``info``, ``locale`` (translations; ``LANG`` is C.UTF-8), ``lintian``, ``linda``, ``bug``, ``doc-base``, and
``usr/share/doc`` but for what a licence may demand: copyright, NOTICE, LICENSE and COPYING files, and
links from one package's folder to another's. ``usr/share/common-licenses`` stays.

A path of two packages is an error, unless both have the same thing there or both a folder. Diversions
(dpkg-divert(1)) are made by scripts, so they are not known here: packages that need them end in that error.
"""

from __future__ import annotations

import itertools
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from .deb import Deb, open_deb
from .entries import Content, Entry, Plain
from .errors import AssembleError
from .untar import Member

__all__ = ["ALIASES", "Resolve", "Tree", "debian_entries", "merge", "open_debs", "place", "read"]

# The path of an artifact on this machine, by its SHA-256 in hex.
Resolve: TypeAlias = Callable[[str], "str | os.PathLike[str]"]

# https://systemd.io/THE_CASE_FOR_THE_USR_MERGE, and base-files' postinst for the two below /var.
ALIASES: Mapping[str, str] = {
    "bin": "usr/bin",
    "lib": "usr/lib",
    "lib32": "usr/lib32",
    "lib64": "usr/lib64",
    "libx32": "usr/libx32",
    "sbin": "usr/sbin",
    "var/lock": "run/lock",
    "var/run": "run",
}

_UNUSED = re.compile(r"usr/share/(man|info|locale|lintian|linda|bug|doc-base)(/|$)")
_DOC = re.compile(r"usr/share/doc(/|$)")
_LICENCE = re.compile(r"usr/share/doc/.*/(copyright|notice|licen[cs]e|copying)[^/]*", re.IGNORECASE)
_PLAIN_DIR = (0o755, 0, 0)
# That unpack packages at one time. Each takes the memory that its stream asks for (see xz.py), some 10 MiB in Debian's.
_THREADS = 2


@dataclass
class Tree:
    """A merged tree: entries by path, and which package each is of."""

    entries: dict[str, Entry] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    def file(self, path: str) -> Entry | None:
        """The regular file at ``path``, through symlinks and hard links as the kernel would follow them."""
        entry = self.entries.get(self.real(path) or "")
        if entry is not None and entry.kind == "hardlink":
            entry = self.entries[entry.link]
        return entry if entry is not None and entry.kind == "file" else None

    def real(self, path: str) -> str | None:
        """``path``, absolute or not, without symlinks and aliases; ``None`` where it leads nowhere."""
        for _ in range(40):
            parts = place(path.lstrip("/")).split("/")
            for depth in range(1, len(parts) + 1):
                head = "/".join(parts[:depth])
                entry = self.entries.get(head)
                if entry is None:
                    return None
                if entry.kind == "symlink":
                    target = posixpath.join("/", posixpath.dirname(head), entry.link, *parts[depth:])
                    path = posixpath.normpath(target)
                    break
            else:
                return head
        return None


def debian_entries(spec: Mapping[str, object], resolve: Resolve, scratch: str | os.PathLike[str]) -> list[Entry]:
    """The entries of a ``debian`` layer (see ``flyte_build.deriving.derivation``), sorted by path.

    ``resolve`` gives the path of an artifact by its SHA-256 (hex); ``scratch`` is a folder of the build's
    own, where the packages' data lies uncompressed until the layer is written: entries point into it.
    Raises :class:`AssembleError` for a corrupt or hostile package and for two that conflict.
    """
    return [entry for _, entry in sorted(merge(open_debs(spec, resolve, scratch)).entries.items())]


def open_debs(spec: Mapping[str, object], resolve: Resolve, scratch: str | os.PathLike[str]) -> list[Deb]:
    """The packages named in ``spec["debs"]``, by name and architecture; each may be there once."""
    rows = cast("Sequence[Mapping[str, str]]", spec["debs"])
    debs = _opened(rows, resolve, scratch)
    debs.sort(key=lambda d: (d.name, d.control.architecture))
    for one, two in itertools.pairwise(debs):
        if one.name == two.name:
            versions = f"{one.control.version} and {two.control.version}"
            raise AssembleError(f"{one.name} is there twice: {versions}", two.control.artifact)
    return debs


def _opened(rows: Sequence[Mapping[str, str]], resolve: Resolve, scratch: str | os.PathLike[str]) -> list[Deb]:
    """Each row's package, in this order, unpacked side by side: ``lzma`` lets go of the interpreter lock.

    Of several that are bad the first row's error is raised, whichever was met first.
    """
    paths = [resolve(row["sha256"]) for row in rows]

    def opened(number: int) -> Deb:
        return open_deb(paths[number], scratch, rows[number]["file"], rows[number]["sha256"])

    threads = min(_THREADS, os.cpu_count() or 1, len(rows))
    if threads < 2:
        return [opened(number) for number in range(len(rows))]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        # The largest first, so that none of them is what all others wait for.
        largest = sorted(range(len(rows)), key=lambda number: os.path.getsize(paths[number]), reverse=True)
        started = {number: pool.submit(opened, number) for number in largest}
        try:
            return [started[number].result() for number in range(len(rows))]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def merge(debs: Sequence[Deb]) -> Tree:
    """One tree of the packages' files, with every parent folder in it."""
    tree = Tree()
    for deb in debs:
        for entry in _entries(deb):
            _add(tree, entry, deb.control.artifact)
    for path in list(tree.entries):
        _parents(tree, path)
    return tree


def place(path: str) -> str:
    """Where a package's ``path`` lies in the merged tree."""
    for alias, target in ALIASES.items():
        if path == alias or path.startswith(alias + "/"):
            return target + path[len(alias) :]
    return path


def read(content: Content) -> bytes:
    """All bytes of a content without deflated segments."""
    out = []
    for segment in content:
        if isinstance(segment, bytes):
            out.append(segment)
        elif isinstance(segment, Plain):
            with open(segment.path, "rb") as f:
                f.seek(segment.offset)
                out.append(f.read(segment.size))
        else:
            raise TypeError("a Debian package's content is never deflated")
    return b"".join(out)


def _wanted(path: str, kind: str) -> bool:
    if _UNUSED.match(path):
        return False
    if _DOC.match(path):
        return kind == "symlink" or (kind != "dir" and _LICENCE.fullmatch(path) is not None)
    return True


def _entries(deb: Deb) -> Iterator[Entry]:
    """The wanted entries of one package. Of several hard-linked paths the first by name is the file."""
    artifact = deb.control.artifact
    originals: dict[str, Member] = {}
    names: dict[str, list[str]] = {}
    for member in deb.members:
        path = place(member.path)
        if member.kind in ("file", "hardlink"):
            source = originals.get(place(member.link)) if member.kind == "hardlink" else member
            if source is None:
                message = f"`{member.path}` is a hard link to `{member.link}`, which is no file before it"
                raise AssembleError(message, artifact)
            if path in originals:
                raise AssembleError(f"`{member.path}` is there twice", artifact)
            originals[path] = source
            if _wanted(path, "file"):
                names.setdefault(source.path, []).append(path)
        elif member.path in ALIASES and member.kind == "symlink":
            target = posixpath.normpath(posixpath.join("/", posixpath.dirname(member.path), member.link))
            if target != "/" + ALIASES[member.path]:
                message = f"`{member.path}` leads to {member.link}, expected /{ALIASES[member.path]}"
                raise AssembleError(message, artifact)
        elif member.path and _wanted(path, member.kind):
            yield Entry(path, member.kind, member.mode, link=member.link, uid=member.uid, gid=member.gid)
    for paths in names.values():
        paths.sort()
        source = originals[paths[0]]
        content: Content = (deb.segment(source),) if source.size else ()
        first = Entry(paths[0], "file", source.mode, content, uid=source.uid, gid=source.gid)
        yield first
        for other in paths[1:]:
            yield first._replace(path=other, kind="hardlink", content=(), link=paths[0])


def _add(tree: Tree, entry: Entry, artifact: str) -> None:
    there = tree.entries.get(entry.path)
    if there is None:
        tree.entries[entry.path] = entry
        tree.owners[entry.path] = artifact
        return
    if there.kind == entry.kind == "dir":
        # Most packages name folders they do not own; who asks for something special means it.
        if (there.mode, there.uid, there.gid) == _PLAIN_DIR:
            tree.entries[entry.path] = entry
            tree.owners[entry.path] = artifact
        return
    owner = tree.owners[entry.path]
    if owner == artifact:
        raise AssembleError(f"`{entry.path}` is there twice", artifact)
    if not _same(tree, there, entry):
        raise AssembleError(
            f"`{entry.path}` is a {_kind(entry)} here and a {_kind(there)} with other content or attributes "
            f"in {owner}; the two packages cannot be installed together without their scripts",
            artifact,
        )


def _kind(entry: Entry) -> str:
    return {"file": "file", "hardlink": "hard link", "dir": "folder", "symlink": f"link to {entry.link}"}[entry.kind]


def _same(tree: Tree, one: Entry, two: Entry) -> bool:
    if one.kind != two.kind or (one.mode, one.uid, one.gid) != (two.mode, two.uid, two.gid):
        return False
    if one.kind == "file":
        return one.size == two.size and read(one.content) == read(two.content)
    return one.link == two.link


def _parents(tree: Tree, path: str) -> None:
    """Make the missing folders above ``path``; refuse a path below something that is not a folder."""
    while "/" in path:
        below, path = path, path.rpartition("/")[0]
        there = tree.entries.get(path)
        if there is None:
            tree.entries[path] = Entry(path, "dir", 0o755)
            tree.owners[path] = tree.owners[below]
        elif there.kind != "dir":
            owner = tree.owners[below]
            raise AssembleError(f"`{below}` lies below `{path}`, a {_kind(there)} of {tree.owners[path]}", owner)
        else:
            return
