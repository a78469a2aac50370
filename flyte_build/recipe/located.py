"""A requirement that is installed from a location, as a value: a Git repository, a folder, a file or its address.

No address enters the canonical form, only its digest, less what may be a password; a folder or file is its path in the
project and a digest of what is there, so that a lock is stale when that changes. How users write them is read in
``source_trees``.
"""

from __future__ import annotations

import re

from ..kernel.canonical import Json
from ..kernel.digests import sha256
from ..kernel.values import dataclass, field

__all__ = ["SourceTree", "hidden"]


@dataclass(frozen=True, slots=True)
class SourceTree:
    """``name`` is the distribution's (PEP 503), ``None`` where only its build tells. ``git``: the repository's address,
    or its digest in one read back from a lock, with ``rev`` as asked (``None``: the default branch) and
    ``subdirectory``. ``url``: the address of a wheel or source archive whose name is ``file``, likewise, with the
    ``sha256`` that is asked of it (hex). Else ``path``, relative to the project, and the digest ``tree`` of the folder
    that is there, or of the ``file``. ``marker`` as PEP 508 has it."""

    name: str | None = None
    extras: tuple[str, ...] = ()
    marker: str | None = None
    git: str | None = field(default=None, repr=False)
    rev: str | None = None
    subdirectory: str | None = None
    path: str | None = None
    tree: str | None = None
    url: str | None = field(default=None, repr=False)
    file: str | None = None
    sha256: str | None = None

    def to_json(self) -> dict[str, Json]:
        out: dict[str, Json] = {
            "name": self.name,
            "extras": list(self.extras),
            "marker": self.marker,
            "git": hidden(self.git) if self.git is not None else None,
            "rev": self.rev,
            "subdirectory": self.subdirectory,
            "path": self.path,
            "tree": self.tree,
            "url": hidden(self.url) if self.url is not None else None,
            "file": self.file,
            "sha256": self.sha256,
        }
        return {key: value for key, value in out.items() if value not in (None, [])}

    @property
    def title(self) -> str:
        """For messages: without the address."""
        where = self.path
        if self.git is not None:
            where = f"a Git repository at {self.rev or 'its default branch'}"
        elif self.url is not None:
            where = f"the address of {self.file}"
        return f"{self.name} of {where}" if self.name is not None else str(where)


def hidden(url: str) -> str:
    """The digest that stands for an address, whoever logs in there; of one read back from a lock, itself: no address
    begins like it."""
    if url.startswith("sha256:"):
        return url
    # Of `ssh://git@…` the user belongs to the address.
    plain = re.sub(r"^(https?://)[^/\s@]+@", r"\1", url, flags=re.IGNORECASE)
    return "sha256:" + sha256(plain.encode()).hexdigest()
