"""One wheel and one Debian package, as a lock has them. Values; how they are written is in ``rows``."""

from __future__ import annotations

from ..kernel.values import dataclass

__all__ = ["LockedDeb", "LockedWheel"]


@dataclass(frozen=True, slots=True)
class LockedWheel:
    """One wheel: ``name`` normalised (PEP 503), ``size`` in bytes, ``sha256`` in hex.

    ``step`` is the earliest pip step of the recipe whose closure holds it (0: the flyte runtime), which
    decides the layer it lies in, so that images that extend one another share layers (law 7).
    """

    name: str
    version: str
    file: str
    size: int
    sha256: str
    step: int


@dataclass(frozen=True, slots=True)
class LockedDeb:
    """One Debian package.

    ``archive`` is ``debian`` or ``debian-security``; with ``component``, ``source`` and ``file`` it gives
    the pool path on any mirror. Else it is the name of a source that the project's settings allow, and ``path`` is
    where the file lies below its root. ``base`` tells the base's packages from those asked for by name.
    """

    name: str
    version: str
    architecture: str
    file: str
    size: int
    sha256: str
    source: str
    archive: str
    component: str
    base: bool
    path: str | None = None

    @property
    def pool_path(self) -> str:
        """The path below an archive's root, by Debian's pool rule (``liba`` → ``liba``, else first letter)."""
        if self.path is not None:
            return self.path
        prefix = self.source[:4] if self.source.startswith("lib") else self.source[:1]
        return f"pool/{self.component}/{prefix}/{self.source}/{self.file}"
