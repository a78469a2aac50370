"""A requirement that is installed from a Git repository or a folder, as a value; addresses as their digests.

A repository's address never enters the canonical form; a folder is its path in the project and a digest of its files,
so that a lock is stale when one of them changes. How users write them is read in ``source_trees``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from ..kernel.canonical import Json

__all__ = ["SourceTree", "hidden"]


@dataclass(frozen=True, slots=True)
class SourceTree:
    """``name`` is the distribution's (PEP 503), ``None`` where only its build tells. ``git``: the repository's address,
    or its digest in one read back from a lock, with ``rev`` as asked (``None``: the default branch) and
    ``subdirectory``; else ``path``, relative to the project, and the digest ``tree`` of what is there. ``marker`` as
    PEP 508 has it."""

    name: str | None = None
    extras: tuple[str, ...] = ()
    marker: str | None = None
    git: str | None = field(default=None, repr=False)
    rev: str | None = None
    subdirectory: str | None = None
    path: str | None = None
    tree: str | None = None

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
        }
        return {key: value for key, value in out.items() if value not in (None, [])}

    @property
    def title(self) -> str:
        """For messages: without the address."""
        where = self.path if self.path is not None else f"a Git repository at {self.rev or 'its default branch'}"
        return f"{self.name} of {where}" if self.name is not None else str(where)


def hidden(url: str) -> str:
    """The digest that stands for an address; of one read back from a lock, itself: no address begins like it."""
    return url if url.startswith("sha256:") else "sha256:" + hashlib.sha256(url.encode()).hexdigest()
