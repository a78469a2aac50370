"""A package that was chosen → as a lock holds it: by hash, with what any mirror of its archive keeps it by."""

from __future__ import annotations

from ...kernel.errors import FetchError
from ...locks.lockfile import LockedDeb
from .package import Package

__all__ = ["locked_deb"]


def locked_deb(package: Package, *, base: bool) -> LockedDeb:
    """Raises :class:`FetchError` for one of Debian's that does not lie where its pool rule says."""
    debian = package.archive in ("debian", "debian-security")
    version = package.version.partition(":")[2] or package.version
    deb = LockedDeb(
        name=package.name,
        version=package.version,
        architecture=package.architecture,
        file=package.path.rsplit("/", 1)[-1] if debian else f"{package.name}_{version}_{package.architecture}.deb",
        size=package.size,
        sha256=package.sha256,
        source=package.source,
        archive=package.archive,
        component=package.component,
        base=base,
        path=None if debian else package.path,
    )
    if deb.pool_path != package.path:
        raise FetchError(
            f"{package}: expected the pool path {deb.pool_path}, found {package.path} in the index",
            hint="a lock names packages by Debian's pool rule; use a mirror that keeps it",
        )
    return deb
