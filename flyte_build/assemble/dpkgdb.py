"""dpkg's database: how scanners, ``dpkg-query`` and a later ``dpkg -i`` learn what is installed.

``/var/lib/dpkg/status`` has each package's control stanza with ``Status: install ok installed``, ``info/``
its file list, checksums and conffiles, in database format 1 (multi-arch names). The lists name every file
of the package, those left out of the image too, as dpkg itself does under ``--path-exclude``. Maintainer
scripts are not put there: dpkg would run them on removal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from .deb import Deb
from .debian import Tree, read
from .entries import Entry

__all__ = ["dpkg_database", "stanza"]

_ROOT = "var/lib/dpkg"
_COPIED = ("conffiles", "md5sums")


def dpkg_database(debs: Iterable[Deb], tree: Tree) -> list[Entry]:
    """The database's files for ``debs``, whose merged files ``tree`` has."""
    out = [Entry(f"{_ROOT}/{name}", "dir", 0o755) for name in ("alternatives", "info", "parts", "triggers", "updates")]
    out.append(Entry(f"{_ROOT}/info/format", "file", 0o644, (b"1\n",)))
    stanzas = []
    for deb in debs:
        control = deb.control
        stem = f"{_ROOT}/info/{control.database_name}"
        names = ["/." if not member.path else f"/{member.path}" for member in deb.members]
        out.append(Entry(f"{stem}.list", "file", 0o644, ("".join(f"{n}\n" for n in dict.fromkeys(names)).encode(),)))
        for name in _COPIED:
            if control.files.get(name):
                out.append(Entry(f"{stem}.{name}", "file", 0o644, (control.files[name],)))
        stanzas.append(stanza(deb, tree))
    out.append(Entry(f"{_ROOT}/status", "file", 0o644, ("\n".join(stanzas).encode("utf-8"),)))
    return out


def stanza(deb: Deb, tree: Tree) -> str:
    """The control stanza of an installed package, with the conffiles that ``tree`` has (deb-conffiles(5))."""
    rows = []
    for name, value in deb.control.fields.items():
        rows.append(f"{name}:{'' if value.startswith(chr(10)) else ' '}{value}\n")
        if name == "Package":
            rows.append("Status: install ok installed\n")
    conffiles = []
    for path in deb.control.conffiles:
        entry = tree.file(path)
        if entry is not None:
            digest = hashlib.md5(read(entry.content), usedforsecurity=False).hexdigest()
            conffiles.append(f" {path} {digest}\n")
    if conffiles:
        rows += ["Conffiles:\n", *conffiles]
    return "".join(rows)
