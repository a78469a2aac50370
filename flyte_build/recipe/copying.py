"""Files that are copied into an image, as a value: of the project, or of an address. Reads none of them."""

from __future__ import annotations

from ..kernel.canonical import Json
from ..kernel.values import dataclass, field
from .located import hidden

__all__ = ["CopyFiles"]


@dataclass(frozen=True, slots=True)
class CopyFiles:
    """A local file or folder copied into the image, for ``owner`` (uid and gid; ``None``: the image's user), with the
    mode ``mode`` where that is given.

    ``source`` is relative to the project's root. What the files contain is not part of the recipe
    (nothing has to be resolved again when they change) but of the derivation. ``ignore`` are the
    patterns of the image's ``.dockerignore``. The destination follows Dockerfile's COPY: a folder's
    *contents* go into ``destination``; a file goes into it where it ends in a slash or is a folder
    (``.``), and is named by it otherwise. Relative destinations start at the working directory in force.
    ``files``, when given, are the only files of the folder that are copied (relative to it); which they
    are is not part of the canonical form either. ``code``: it is the project's own code, which no lock has.

    With ``url`` it is what is at that address (its digest, in one read back from a lock), called ``source``: then its
    ``sha256`` (hex) and ``size`` in bytes are part of the recipe. ``None``: nobody has fetched it yet; a ``sha256``
    without a size is one that was asked for.
    """

    source: str
    destination: str
    folder: bool
    ignore: tuple[str, ...] = ()
    files: tuple[str, ...] | None = None
    code: bool = False
    owner: tuple[int, int] | None = None
    mode: int | None = None
    url: str | None = field(default=None, repr=False)
    sha256: str | None = None
    size: int | None = None

    def to_json(self) -> Json:
        out: dict[str, Json] = {
            "kind": "copy",
            "source": self.source,
            "destination": self.destination,
            "folder": self.folder,
        }
        if self.ignore:
            out["ignore"] = list(self.ignore)
        if self.owner is not None:
            out["owner"] = list(self.owner)
        if self.mode is not None:
            out["mode"] = self.mode
        if self.url is not None:
            out |= {"url": hidden(self.url), "sha256": self.sha256, "size": self.size}
        return out
