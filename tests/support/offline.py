"""Everything flyte-build asks of the world, on the loopback: a signed Debian archive and a package index of our own.

With it ``lock``, ``plan`` and ``build`` of a small workflow run as a user's do, in a second, and every fault can be
had on purpose. The base's packages hold next to nothing; the interpreter among them is a text.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flyte_build.cli import main
from flyte_build.locking.apt import index as apt_index
from flyte_build.locking.apt.lock import BASE
from flyte_build.sources import mirrors
from flyte_build.sources.apt_sources import HostApt

from .archive import Deb, Server, Signer, publish
from .index import SimpleIndex
from .wheels import build_wheel

__all__ = ["FLYTE", "Offline", "Ran", "publish_base", "snapshot", "workflow"]

FLYTE = importlib.metadata.version("flyte")
_PYTHON = "#!/bin/sh\n# stands where an interpreter would\n"
_locked: dict[str, dict[str, bytes]] = {}
_STRANGERS = ("PIP_", "UV_", "FLYTE_", "XDG_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


def publish_base(root: Path, signer: Signer) -> None:
    """Bookworm for amd64 and arm64 in ``root``: the base, Python 3.11, and git to ask for."""
    now = datetime.now(UTC)
    debs = []
    for architecture in ("amd64", "arm64"):
        debs += [Deb(name, "1.0", architecture=architecture) for name in BASE]
        files = {"usr/bin/python3.11": (0o755, _PYTHON.encode())}
        debs.append(Deb("python3.11", "3.11.2-6", {"Depends": "libc6"}, architecture, files=files))
        debs.append(Deb("libpython3.11-stdlib", "3.11.2-6", architecture=architecture, source="python3.11"))
        debs.append(Deb("libc6", "2.36-9", architecture=architecture, source="glibc"))
        debs.append(Deb("git", "1:2.39-1", {"Depends": "libc6"}, architecture))
    both = ("amd64", "arm64")
    publish(
        root / "debian",
        signer,
        "bookworm",
        debs,
        architectures=both,
        date=now - timedelta(days=30),
        valid=None,
        files=True,
    )
    publish(root / "debian", signer, "bookworm-updates", [], architectures=both, date=now - timedelta(hours=2))
    security = root / "debian-security"
    publish(
        security,
        signer,
        "bookworm-security",
        [],
        archive="debian-security",
        architectures=both,
        date=now - timedelta(hours=2),
    )


def workflow(*environments: str, body: str = "") -> str:
    """A user's file: each environment as ``name: package package`` or ``name(other): package`` (depends on other).

    The last one has the task ``main``, the others ``do_<name>``.
    """
    lines = [
        "import flyte",
        'base = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))',
    ]
    for number, text in enumerate(environments, 1):
        head, _, packages = text.partition(":")
        name, _, needs = head.strip().rstrip(")").partition("(")
        pip = "".join(f"{p!r}, " for p in packages.split())
        image = f"base.with_pip_packages({pip.rstrip(', ')})" if pip else "base"
        task = "main" if number == len(environments) else f"do_{name}"
        lines += [
            f'{name} = flyte.TaskEnvironment("{name}", image={image}, depends_on=[{needs}])',
            f"@{name}.task",
            f"def {task}(x: int, words: list[str] | None = None) -> int:",
            f'    """Do what {name} does."""',
            "    return x",
        ]
    return "\n".join([*lines, textwrap.dedent(body), ""])


@dataclass(frozen=True)
class Ran:
    """What a command came to: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass
class Offline:
    """A project folder, what is published to it, and the command line to use on it."""

    home: Path
    index: SimpleIndex
    archive: Server
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.home / "project"

    @property
    def lockfiles(self) -> Path:
        return self.project / "lockfiles"

    @property
    def store(self) -> Path:
        return self.home / "cache"

    def configure(self, keyring: Path) -> None:
        """Make this process see nothing but what is published here."""
        for name in list(os.environ):
            if name.startswith(_STRANGERS):
                self.patch.delenv(name)
        self.variables = {
            "FLYTE_BUILD_CACHE": str(self.store),
            "FLYTE_BUILD_STATE": str(self.home / "state"),
            mirrors.MAIN_MIRROR: f"{self.archive.url}/debian",
            mirrors.SNAPSHOT_MIRROR: "off",
            "FLYTE_BUILD_DEBIAN_KEYRING": str(keyring),
            "UV_DEFAULT_INDEX": self.index.url,
            "UV_CACHE_DIR": str(self.home / "uv"),
            "UV_HTTP_RETRIES": "0",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_CACHE_DIR": str(self.home / "pip"),
            "PIP_TOOLS_CACHE_DIR": str(self.home / "pip-tools"),
            "HOME": str(self.home),
            "NO_COLOR": "1",
        }
        for name, value in self.variables.items():
            self.patch.setenv(name, value)
        self.patch.setattr(mirrors, "_host_apt", HostApt)
        apt_index._scanned.clear()
        self.project.mkdir()
        self.patch.chdir(self.project)

    def publish(self, name: str, version: str = "1.0", **more: Any) -> Path:
        """A wheel into the index."""
        return build_wheel(self.index.folder, name, version, **more)

    def write(self, text: str, name: str = "flow.py") -> Path:
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def __call__(self, *arguments: str | Path) -> Ran:
        """One command, with the modules that it imported forgotten afterwards."""
        modules, path = set(sys.modules), list(sys.path)
        self.capture.readouterr()
        try:
            code = main([str(a) for a in arguments])
        finally:
            sys.path[:] = path
            for name in set(sys.modules) - modules:
                if str(self.home) in (getattr(sys.modules[name], "__file__", None) or ""):
                    del sys.modules[name]
        said = self.capture.readouterr()
        return Ran(code, said.out, said.err)

    def ok(self, *arguments: str | Path) -> Ran:
        done = self(*arguments)
        assert done.code == 0, done.err
        return done

    def locked(self) -> None:
        """``lock flow.py``, of which only the lock files are wanted.

        A lock says nothing of where it was made: what was locked before in this process, of the same files and from
        the same archive and index, is copied. Nothing else is left of the locking either way.
        """
        published = snapshot(self.home / "www") | snapshot(self.index.folder)
        facts = json.dumps([snapshot(self.project), published], sort_keys=True)
        if facts not in _locked:
            others = set(self.home.iterdir())
            self.ok("lock", "flow.py")
            _locked[facts] = {p.name: p.read_bytes() for p in self.lockfiles.iterdir()}
            for made in set(self.home.iterdir()) - others:
                shutil.rmtree(made)
        self.lockfiles.mkdir(exist_ok=True)
        for name, data in _locked[facts].items():
            (self.lockfiles / name).write_bytes(data)

    def refused(self, code: int, *arguments: str | Path) -> str:
        """The error message of a command that has to end with ``code``, and without a traceback of ours."""
        done = self(*arguments)
        assert done.code == code, f"exit code {done.code}\n{done.out}\n{done.err}"
        assert "this is a bug" not in done.err
        assert "flyte_build/" not in done.err, "our own files are no help to a user"
        assert sum(line.startswith("error: ") for line in done.err.splitlines()) == 1, done.err
        return done.err

    def verified(self) -> None:
        """The store holds what its names say."""
        done = self("store", "verify")
        assert done.code == 0, done.out + done.err


def snapshot(folder: Path) -> Mapping[str, str]:
    """Every file below ``folder`` by its path, with its hash."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
