"""Programs that only Debian's unstable suite has: taken from the mirror that this machine's apt uses, and unpacked.

Nothing is installed: a program that needs the C library alone runs from where it was unpacked. What was fetched once
is kept in the user's cache folder. For programs with dependencies, see :mod:`tests.support.machine`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tests.support.daemons import shell
from tests.support.machine import mirror
from tests.support.tools import need

__all__ = ["sid_program"]


def sid_program(program: str, package: str | None = None) -> str:
    """The path of ``program``: installed here, or out of ``package`` (default: of the same name) of Debian sid."""
    if installed := shutil.which(program):
        return installed
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flyte-build-tests" / "sid"
    found = home / program / "usr/bin" / program
    if not found.exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as work:
            tree = _unpacked(Path(work), package or program)
            if not found.exists():
                os.replace(tree, home / program)
    return str(found)


def _unpacked(work: Path, package: str) -> Path:
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    (work / "lists/partial").mkdir(parents=True)
    (work / "cache/archives/partial").mkdir(parents=True)
    (work / "status").touch()
    (work / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror('bookworm')} sid main\n")
    options = [
        *("-o", f"Dir::Etc::SourceList={work}/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null"),
        *("-o", f"Dir::State::Lists={work}/lists", "-o", f"Dir::State::Status={work}/status"),
        *("-o", f"Dir::Cache={work}/cache", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"),
    ]
    apt = need("apt-get", "apt")
    shell(apt, "-q", *options, "update", timeout=300)
    shell("sh", "-c", 'cd "$0" && exec "$@"', work, apt, "-q", *options, "download", package, timeout=300)
    (deb,) = work.glob("*.deb")
    shell(need("dpkg-deb", "dpkg"), "-x", deb, work / "tree")
    return work / "tree"
