"""One small suite of Debian for tests, and locking from it with everything of the machine replaced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flyte_build.kernel.reporting import Recorder
from flyte_build.locking.apt import Debian, DebianResolution
from flyte_build.locking.apt.lock import BASE
from flyte_build.sources.apt_sources import HostApt
from flyte_build.sources.mirrors import MAIN_MIRROR, SNAPSHOT_MIRROR, Mirrors, configured

from .archive import NOW, Deb, Server, Signer

__all__ = ["MAIN", "SECURITY", "UPDATES", "lock", "places", "versions"]

SOURCES = {"libgcc-s1": "gcc-12", "libstdc++6": "gcc-12", "libc-bin": "glibc", "python3.11": "python3.11"}
MAIN = [
    *(Deb(n, "1.0", {"Depends": "libc6 (>= 2)"}, source=SOURCES.get(n)) for n in BASE if n not in ("grep", "dash")),
    Deb("grep", "3.8", {"Pre-Depends": "dpkg (>= 1.15), libc6", "Essential": "yes"}),
    Deb("dash", "0.5", {"Depends": "debianutils, dpkg"}),
    Deb("debianutils", architecture="all"),
    Deb("dpkg", "1.21", {"Depends": "tar", "Essential": "yes"}),
    Deb("login", "4", {"Essential": "yes"}),
    Deb("libc6", "2.36", source="glibc"),
    Deb("python3.11", "3.11.2", {"Depends": "libpython3.11-stdlib (= 3.11.2), mime"}),
    Deb("python3.12", "3.12.0"),
    Deb("libpython3.11-stdlib", "3.11.2", source="python3.11"),
    Deb("media-types", "10", {"Provides": "mime"}, architecture="all"),
    Deb("git", "1:2.39", {"Depends": "libc6, libcurl, perl"}),
    Deb("perl", "5.36", {"Depends": "perl-base (= 5.36), dpkg"}),
    Deb("perl-base", "5.36", {"Essential": "yes"}),
    Deb("libcurl", "7.88"),
    Deb("exim", "4", {"Provides": "mta"}),
    Deb("postfix", "3", {"Provides": "mta"}),
    Deb("only", "3", {"Provides": "sole"}),
]
UPDATES = [Deb("tzdata", "1.1", architecture="all")]
SECURITY = [Deb("libcurl", "7.88+deb12u1")]


def places(server: Server, snapshots: bool = False, settings: dict[str, str] | None = None) -> Mirrors:
    env = {
        MAIN_MIRROR: f"{server.url}/debian",
        SNAPSHOT_MIRROR: f"{server.url}/snapshot" if snapshots else "off",
    }
    return configured(env, HostApt(settings=settings or {}))


def lock(
    server: Server,
    signer: Signer,
    tmp_path: Path,
    packages: Sequence[str] = (),
    *,
    cutoff: str | None = None,
    reporter: Recorder | None = None,
    mirrors: Mirrors | None = None,
    suite: str = "bookworm",
    python: str = "3.11",
    **options: Any,
) -> DebianResolution:
    with Debian(
        cutoff=cutoff,
        reporter=reporter or Recorder(),
        mirrors=mirrors or places(server),
        cache=tmp_path / "cache",
        rings=[signer.keyring],
        now=lambda: NOW,
        **options,
    ) as debian:
        return debian.lock(suite, "amd64", python, packages)


def versions(found: DebianResolution) -> dict[str, str]:
    """Version by name."""
    return {d.name: d.version for d in found.debs}
