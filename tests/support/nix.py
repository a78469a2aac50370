"""Nix with a store of its own, and clean clones for its flakes, which see nothing but what git tracks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.daemons import shell
from tests.support.tools import need

__all__ = ["CONFIGURATION", "Nix", "clean_clone", "commit", "image_digest"]

CONFIGURATION = "\n".join(
    (
        "experimental-features = nix-command flakes",
        "sandbox = true",
        # Without this, Nix 2.8 builds outside of a sandbox where it cannot make one.
        "sandbox-fallback = false",
        "substituters =",
        # Root without a daemon builds as itself.
        "build-users-group =",
    )
)
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Nix:
    """Nix on the store below ``folder``, whose paths read ``/nix/store`` inside.

    ``wrapper`` goes before each command (``setpriv …``), ``variables`` over this process's own.
    """

    folder: Path
    wrapper: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NIX_", "FLYTE_BUILD_"))}
        home = {"HOME": str(self.folder / "home"), "XDG_CACHE_HOME": str(self.folder / "cache"), "TMPDIR": "/tmp"}
        store = {"NIX_CONFIG": CONFIGURATION, "NIX_REMOTE": f"local?root={self.folder}"}
        return kept | home | store | dict(self.variables)

    def run(self, *arguments: str | Path, cwd: Path, network: bool = False) -> subprocess.CompletedProcess[str]:
        """``nix ARGUMENTS``; without ``network``, in a network that has nothing in it."""
        alone = [] if network else [need("unshare", "util-linux"), "--user", "--map-current-user", "--net"]
        if os.geteuid() == 0 and not self.wrapper:
            alone = alone[:1] + alone[3:]
        command = [*self.wrapper, *alone, need("nix", "nix-bin"), *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )

    def ok(self, *arguments: str | Path, cwd: Path, network: bool = False) -> str:
        done = self.run(*arguments, cwd=cwd, network=network)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def real(self, link: Path) -> Path:
        """Where ``result`` is on this machine."""
        return self.folder / os.readlink(link).lstrip("/")


def image_digest(layout: Path) -> str:
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    return str(entry["digest"])


def clean_clone(folder: Path) -> Path:
    """The files of this checkout that git tracks or would, in a repository of their own.

    Not `git clone`: what is tested is what lies here, also where it is not committed yet, and Nix 2.8 takes no
    repository whose history is cut off.
    """
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = shell(need("git"), "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    shell("git", "-C", folder, "init", "-q")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    shell("git", "-C", folder, "add", "--all")
    author = ("-c", "user.name=test", "-c", "user.email=test@mirror.example")
    shell("git", "-C", folder, *author, "commit", "-q", "--allow-empty", "-m", "all")
