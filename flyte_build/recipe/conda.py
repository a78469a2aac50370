"""An environment of conda packages, as a step of a recipe: what a pixi project installs, and where.

The canonical form has the digest of what its ``pixi.lock`` says for the environment, so that another lock is another
recipe; the packages themselves are the lock's, a row each. Never reads a file.
"""

from __future__ import annotations

from ..kernel.canonical import Json
from ..kernel.platforms import Platform
from ..kernel.values import dataclass, field

__all__ = ["CondaInstall", "CondaPackage"]


@dataclass(frozen=True, slots=True)
class CondaPackage:
    """One package: ``file`` is its name in the folder ``subdir`` of a channel, ``size`` in bytes, SHA-256 in hex.
    ``needs`` are the names of packages that it depends on, ``pypi`` those that its Python distributions have on an
    index. ``machine``: what it asks of the machine (conda's virtual packages, CEP 30), as stated (`__glibc >=2.28`);
    one read back from a lock has none."""

    name: str
    version: str
    build: str
    subdir: str
    file: str
    size: int
    sha256: str
    needs: tuple[str, ...] = ()
    pypi: tuple[str, ...] = ()
    machine: tuple[str, ...] = field(default=(), compare=False)

    def to_json(self) -> dict[str, Json]:
        out: dict[str, Json] = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "subdir": self.subdir,
            "file": self.file,
            "size": self.size,
            "sha256": self.sha256,
        }
        out |= {"needs": list(self.needs)} if self.needs else {}
        return out | ({"pypi": list(self.pypi)} if self.pypi else {})


@dataclass(frozen=True, slots=True)
class CondaInstall:
    """``environment`` of the pixi project whose manifest is ``file`` and whose lock is ``lock``, both relative to the
    project's root, installed at ``prefix``. ``python`` is the minor version of the Python in it (``"3.12"``), the same
    on every platform. ``locked`` is the digest of what the lock says of it. ``packages`` by
    platform, by name, are no part of the canonical form: one read back from a lock has none.
    """

    file: str
    lock: str
    environment: str
    prefix: str
    python: str
    locked: str
    packages: tuple[tuple[Platform, tuple[CondaPackage, ...]], ...] = field(default=(), compare=False)

    def to_json(self) -> Json:
        return {
            "kind": "conda",
            "file": self.file,
            "lock": self.lock,
            "environment": self.environment,
            "prefix": self.prefix,
            "python": self.python,
            "locked": self.locked,
        }

    def of(self, platform: str) -> tuple[CondaPackage, ...]:
        return next((packages for name, packages in self.packages if name == platform), ())
