"""Layer kind ``packages``: Debian packages added to a registry base that is Debian itself.

Their files, merged as in a ``debian`` layer, the alternatives that they would have registered, and one file a package
in ``/var/lib/dpkg/status.d``, where scanners look in images that no dpkg made. The base's own database stays as it
is, so that ``dpkg`` does not know these packages; ``ld.so.cache`` stays too, and the dynamic linker finds their
libraries in its default folders, as it does for whatever the cache does not name (ld.so(8)). No maintainer script runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from .alternatives import alternatives
from .debian import Resolve, merge, open_debs
from .dpkgdb import stanza
from .entries import Entry

__all__ = ["package_entries"]

_STATUS = "var/lib/dpkg/status.d"


def package_entries(spec: Mapping[str, object], resolve: Resolve, scratch: str | os.PathLike[str]) -> list[Entry]:
    """The entries of a ``packages`` layer, sorted by path; arguments and errors are
    :func:`~flyte_build.assemble.debian.debian_entries`'s."""
    debs = open_debs(spec, resolve, scratch)
    tree = merge(debs)
    entries = dict(tree.entries)
    for entry in alternatives((deb.control for deb in debs), tree):
        entries.setdefault(entry.path, entry)
    for deb in debs:
        stem = f"{_STATUS}/{deb.control.database_name}"
        entries[stem] = Entry(stem, "file", 0o644, (stanza(deb, tree).encode(),))
        if sums := deb.control.files.get("md5sums"):
            entries[f"{stem}.md5sums"] = Entry(f"{stem}.md5sums", "file", 0o644, (sums,))
    return [entry for _, entry in sorted(entries.items())]
