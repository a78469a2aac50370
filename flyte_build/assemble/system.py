"""Layer kind ``system``: what an installation would have made and no package contains.

From all of the image's packages: the links of merged ``/usr``, the folders and defaults that maintainer
scripts create, accounts and the image's user, the CA bundle, alternatives, ``ld.so.cache``, dpkg's
database, and an empty virtual environment. Nothing is run, and nothing is invented where the package that
would have made a file is not there. Which scripts this stands for is in ``scripts.py``.

Time zone is UTC. ``/etc/hosts``, ``hostname`` and ``resolv.conf`` are there because container engines
mount over them and some cannot create the place to mount on. ``/root`` belongs to the image's user, as in
Flyte's own image, whose tasks unpack their code there. Not made: byte-code of the standard library (that
takes the very Python), login records, and OpenSSL's hashed links to single certificates, since
``/usr/lib/ssl/cert.pem`` leads to the bundle.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from .accounts import User, accounts
from .alternatives import alternatives
from .deb import Deb
from .debian import ALIASES, Resolve, Tree, merge, open_debs, read
from .dpkgdb import dpkg_database
from .entries import Entry
from .errors import AssembleError
from .ldcache import ld_so_cache

__all__ = ["system_entries"]

# base-files' postinst and hier(7); mode, group. The last group but root is mail's.
_FOLDERS: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("boot", "dev", "etc/opt", "home", "media", "mnt", "opt", "proc", "run", "srv", "sys"), (0o755, 0)),
    **dict.fromkeys(("etc/ssl/certs", "usr/bin", "usr/lib", "usr/sbin", "var/opt"), (0o755, 0)),
    **{f"usr/local/{name}": (0o755, 0) for name in ("bin", "etc", "games", "include", "lib", "sbin", "share", "src")},
    "run/lock": (0o1777, 0),
    "tmp": (0o1777, 0),
    "usr/local/share/ca-certificates": (0o755, 0),
    "usr/local/share/man": (0o755, 0),
    "var/mail": (0o2775, 8),
    "var/tmp": (0o1777, 0),
}
# What postinsts copy to where, if nothing is there: base-files, libc-bin, readline-common.
_COPIES = {
    "etc/inputrc": "usr/share/readline/inputrc",
    "etc/motd": "usr/share/base-files/motd",
    "etc/nsswitch.conf": "usr/share/libc-bin/nsswitch.conf",
    "etc/profile": "usr/share/base-files/profile",
    "root/.bashrc": "usr/share/base-files/dot.bashrc",
    "root/.profile": "usr/share/base-files/dot.profile",
}
_TEXTS = {
    "etc/hostname": "localhost\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    "etc/networks": "default\t0.0.0.0\nloopback\t127.0.0.0\nlink-local\t169.254.0.0\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "etc/resolv.conf": "",
}
_LINKS = {
    "etc/dpkg/origins/default": ("debian", "etc/dpkg/origins/debian"),
    "etc/localtime": ("/usr/share/zoneinfo/Etc/UTC", "usr/share/zoneinfo/Etc/UTC"),
    "usr/bin/sh": ("dash", "usr/bin/dash"),
    "usr/lib/ssl/cert.pem": ("/etc/ssl/certs/ca-certificates.crt", "usr/share/ca-certificates"),
    "usr/lib/ssl/certs": ("/etc/ssl/certs", "usr/share/ca-certificates"),
    "usr/local/man": ("share/man", ""),
    "var/spool/mail": ("../mail", ""),
}
_CERTIFICATES = "usr/share/ca-certificates/"
_SHADOW_GROUP = 42


def system_entries(spec: Mapping[str, object], resolve: Resolve, scratch: str | os.PathLike[str]) -> list[Entry]:
    """The entries of a ``system`` layer (see ``flyte_build.deriving.derivation``), sorted by path.

    ``resolve`` and ``scratch`` are :func:`~flyte_build.assemble.debian.debian_entries`'s; with the same
    scratch folder no package is decompressed twice. Raises :class:`AssembleError` for packages that are
    corrupt or conflict, and when the image's Python or user cannot be had.
    """
    debs = open_debs(spec, resolve, scratch)
    who = cast("Mapping[str, object]", spec["user"])
    user = User(str(who["name"]), int(str(who["uid"])), int(str(who["gid"])), str(who["home"]))
    layer = _Layer(merge(debs))
    _folders(layer)
    _defaults(layer)
    _certificates(layer)
    _user(layer, user)
    _venv(layer, _interpreter(layer, debs, spec), str(spec["python"]), str(spec["venv"]).strip("/"))
    layer.take(alternatives((deb.control for deb in debs), layer.tree))
    layer.take(dpkg_database(debs, layer.tree))
    cache, links = ld_so_cache(layer.whole(), _architecture(debs))
    layer.take(links)
    layer.file("etc/ld.so.cache", cache)
    return layer.finish()


class _Layer:
    """The entries so far, above the tree of the packages' files."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.entries: dict[str, Entry] = {}

    def has(self, path: str) -> bool:
        return path in self.entries or path in self.tree.entries

    def take(self, entries: Iterable[Entry]) -> None:
        self.entries.update((entry.path, entry) for entry in entries)

    def folder(self, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        self.entries[path] = Entry(path, "dir", mode, uid=uid, gid=gid)

    def file(self, path: str, data: bytes, mode: int = 0o644, gid: int = 0) -> None:
        self.entries[path] = Entry(path, "file", mode, (data,) if data else (), gid=gid)

    def link(self, path: str, target: str) -> None:
        self.entries[path] = Entry(path, "symlink", 0o777, link=target)

    def text(self, path: str) -> str | None:
        """A package's file, ``None`` where there is none."""
        entry = self.tree.file(path)
        try:
            return None if entry is None else read(entry.content).decode("utf-8")
        except UnicodeDecodeError:
            raise AssembleError(f"`{path}`: expected a text in UTF-8", self.tree.owners[path]) from None

    def whole(self) -> Tree:
        """The image's tree as it is with what this layer has so far."""
        return Tree({**self.tree.entries, **self.entries}, self.tree.owners)

    def finish(self) -> list[Entry]:
        """Sorted, with the folders above each entry as the packages have them."""
        for path in list(self.entries):
            while "/" in path:
                path = path.rpartition("/")[0]
                there = self.tree.entries.get(path)
                folder = there if there is not None and there.kind == "dir" else Entry(path, "dir", 0o755)
                self.entries.setdefault(path, folder)
        for path, entry in self.tree.entries.items():
            # An apt layer may name a folder of the base without its special mode; the last layer decides.
            if entry.kind == "dir" and (entry.mode, entry.uid, entry.gid) != (0o755, 0, 0):
                self.entries.setdefault(path, entry)
        for path, entry in self.entries.items():
            there = self.tree.entries.get(path)
            if there is not None and (entry.kind == "dir") != (there.kind == "dir"):
                message = f"`{path}` is to be a {entry.kind} of the system layer, but is a {there.kind} here"
                raise AssembleError(message, self.tree.owners[path])
        return [entry for _, entry in sorted(self.entries.items())]


def _folders(layer: _Layer) -> None:
    for path, (mode, gid) in _FOLDERS.items():
        there = layer.tree.entries.get(path)
        layer.folder(path, there.mode if there else mode, gid=there.gid if there else gid)
    for alias, target in ALIASES.items():
        if layer.has(target):
            layer.link(alias, posixpath.relpath(target, posixpath.dirname(alias)))


def _defaults(layer: _Layer) -> None:
    for path, source in _COPIES.items():
        entry = layer.tree.file(source)
        if entry is not None and not layer.has(path):
            layer.entries[path] = entry._replace(path=path, mode=0o644, uid=0, gid=0)
    for path, text in _TEXTS.items():
        if not layer.has(path):
            layer.file(path, text.encode())
    for path, (target, needs) in _LINKS.items():
        if not layer.has(path) and (not needs or layer.tree.real(needs) is not None):
            layer.link(path, target)
    if not layer.has("etc/mtab"):
        layer.link("etc/mtab", "/proc/mounts")
    if "etc/localtime" in layer.entries:
        layer.file("etc/timezone", b"Etc/UTC\n")
    _shells(layer)


def _shells(layer: _Layer) -> None:
    """debianutils' update-shells: its own list, then what each shell's package names, under both paths."""
    first = layer.text("usr/share/debianutils/shells")
    if first is None or layer.has("etc/shells"):
        return
    head = [line for line in first.splitlines() if line.startswith("#")]
    named = [line for line in first.splitlines() if line.startswith("/")]
    for path in sorted(layer.tree.entries):
        if path.startswith("usr/share/debianutils/shells.d/"):
            named += [line for line in (layer.text(path) or "").splitlines() if line.startswith("/")]
    both = [p for shell in named for p in (shell, f"/usr{shell}" if shell.startswith("/bin/") else shell)]
    layer.file("etc/shells", "".join(f"{line}\n" for line in [*head, *dict.fromkeys(both)]).encode())


def _certificates(layer: _Layer) -> None:
    """update-ca-certificates(8): every certificate of the package, in one file and by name."""
    names = []
    bundle = []
    for path in sorted(layer.tree.entries):
        if not (path.startswith(_CERTIFICATES) and path.endswith(".crt")):
            continue
        text = layer.text(path)
        if text is None or "-----BEGIN CERTIFICATE-----" not in text:
            raise AssembleError(f"`{path}` is not a certificate in PEM", layer.tree.owners[path])
        names.append(path.removeprefix(_CERTIFICATES))
        bundle.append(text if text.endswith("\n") else text + "\n")
    if bundle:
        layer.file("etc/ssl/certs/ca-certificates.crt", "".join(bundle).encode())
        layer.file("etc/ca-certificates.conf", "".join(f"{name}\n" for name in names).encode())


def _user(layer: _Layer, user: User) -> None:
    shell = "/bin/bash" if layer.tree.file("usr/bin/bash") else "/bin/sh"
    masters = [layer.text(f"usr/share/base-passwd/{name}.master") for name in ("passwd", "group")]
    for name, (mode, data) in accounts(user, shell, *masters).items():
        layer.file(f"etc/{name}", data, mode, _SHADOW_GROUP if mode == 0o640 else 0)
    home = user.home.strip("/")
    layer.folder(home)
    for path, entry in layer.tree.entries.items():
        if path.startswith("etc/skel/"):
            below = f"{home}/{path.removeprefix('etc/skel/')}"
            layer.entries[below] = entry._replace(path=below)
    root = layer.tree.entries.get("root")
    layer.folder("root", root.mode if root else 0o700)
    for path, entry in layer.entries.items():
        if path in (home, "root") or path.startswith((f"{home}/", "root/")):
            layer.entries[path] = entry._replace(uid=user.uid, gid=user.gid)


def _interpreter(layer: _Layer, debs: Sequence[Deb], spec: Mapping[str, object]) -> tuple[str, str]:
    """The path of the image's Python and its version: of a layer of its own, else of the packages."""
    if "interpreter" in spec:
        return str(spec["interpreter"]).strip("/"), str(spec["version"])
    python = spec["python"]
    program = f"usr/bin/python{python}"
    if layer.tree.file(program) is None:
        raise AssembleError(f"expected /{program} in one of the image's packages, found none")
    owner = layer.tree.owners[program]
    package = next(deb for deb in debs if deb.control.artifact == owner)
    version = re.match(r"(?:\d+:)?([\d.]+(?:~?(?:a|b|rc)\d+)?)", package.control.version)
    if version is None:
        raise AssembleError(f"expected a version of Python, found {package.control.version}", owner)
    layer.folder(f"usr/local/lib/python{python}/dist-packages")
    return program, version[1].replace("~", "")


def _venv(layer: _Layer, interpreter: tuple[str, str], python: str, venv: str) -> None:
    """PEP 405: an empty environment of the image's Python, without the system's site-packages."""
    program, version = interpreter
    for folder in ("bin", "include", f"lib/python{python}/site-packages"):
        layer.folder(f"{venv}/{folder}")
    layer.link(f"{venv}/lib64", "lib")
    layer.link(f"{venv}/bin/python", f"/{program}")
    for name in ("python3", f"python{python}"):
        layer.link(f"{venv}/bin/{name}", "python")
    settings = {
        "home": "/" + posixpath.dirname(program),
        "include-system-site-packages": "false",
        "version": version,
        "executable": f"/{program}",
    }
    layer.file(f"{venv}/pyvenv.cfg", "".join(f"{k} = {v}\n" for k, v in settings.items()).encode())


def _architecture(debs: Sequence[Deb]) -> str:
    """The one architecture of the packages that have one."""
    found = sorted({deb.control.architecture for deb in debs} - {"all"})
    if len(found) > 1:
        raise AssembleError(f"expected packages of one architecture, found {', '.join(found)}")
    return found[0] if found else "all"
