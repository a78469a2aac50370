"""Artifacts into the Nix store, at the paths where the flake's derivations look for them.

What a lock names by SHA-256 is a fixed-output derivation in Nix, and such a path depends on a name and the hash alone
(Nix manual, "Store path specification"): whoever adds the file, Nix has no reason to fetch it any more. So an offline
machine, or one with mirrors of its own, builds with nothing but what is configured for flyte-build. The name rules are
``rules/nix/fetch.nix``'s. Uses the ``nix-store`` program; never writes to a Nix store by itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..deriving.derivation import Artifact
from ..kernel.errors import InputError, StoreError
from ..locks.nouns import CondaPackage, Lock, LockedDeb, LockedPython, LockedSeal, LockedWheel
from ..store.files import share, storing

__all__ = ["NixStore", "artifacts_of", "store_name", "store_path"]

_BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"
# A command line holds so many paths and some more.
_BATCH = 500


def store_name(file: str) -> str:
    """The name in a store path of a file called ``file``: a store allows few characters, and no dot in front."""
    plain = re.sub(rb"[^A-Za-z0-9+._?=-]", b"-", file.encode()).decode()
    return ("-" + plain if plain.startswith(".") else plain)[:200]


def store_path(file: str, sha256: str, store_dir: str = "/nix/store") -> str:
    """The path of a flat fixed-output file with this ``sha256`` (hex) in the store at ``store_dir``."""
    name = store_name(file)
    content = hashlib.sha256(f"fixed:out:sha256:{sha256}:".encode()).hexdigest()
    whole = hashlib.sha256(f"output:out:sha256:{content}:{store_dir}:{name}".encode()).digest()
    folded = bytearray(20)
    for i, byte in enumerate(whole):
        folded[i % 20] ^= byte
    return f"{store_dir}/{_base32(bytes(folded))}-{name}"


def _base32(data: bytes) -> str:
    """Nix's own: least significant bits last, in an alphabet without e, o, t and u."""
    value = int.from_bytes(data, "little")
    digits = len(data) * 8 // 5
    return "".join(_BASE32[value >> 5 * i & 31] for i in reversed(range(digits)))


def artifacts_of(locks: Iterable[Lock], platform: str | None = None) -> list[Artifact]:
    """All packages, Pythons and sealed layers of ``locks``, each once; of ``platform`` only, or of all."""
    found: dict[str, Artifact] = {}
    for lock in locks:
        for name, locked in sorted(lock.platforms.items()):
            if platform in (None, name):
                python = [locked.python] if locked.python is not None else []
                rows: list[LockedDeb | LockedPython | CondaPackage | LockedWheel | LockedSeal]
                rows = [*locked.debs, *python, *locked.conda, *locked.wheels, *locked.seals]
                for row in rows:
                    found.setdefault(row.sha256, Artifact(row.sha256, row.size, row.file, row))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class NixStore:
    """The store that ``nix-store`` uses here, as the caller's environment has it (``NIX_REMOTE``, ``NIX_CONFIG``)."""

    program: str
    folder: str = "/nix/store"

    @classmethod
    def here(cls) -> NixStore:
        """Raises :class:`InputError` where there is no Nix."""
        program = shutil.which("nix-store")
        if program is None:
            raise InputError("nix-store is not on the PATH", hint="install Nix, or its package `nix-bin` on Debian")
        return cls(program, os.environ.get("NIX_STORE_DIR", "/nix/store"))

    def path(self, artifact: Artifact) -> str:
        return store_path(artifact.file, artifact.sha256, self.folder)

    def missing(self, artifacts: Sequence[Artifact]) -> list[Artifact]:
        """Those that the store does not hold."""
        invalid: set[str] = set()
        for some in _batches(artifacts):
            # It tells the invalid ones, and ends with 1 where there is any in some versions, with 0 in others.
            told = self._run("--check-validity", "--print-invalid", *map(self.path, some), codes=(0, 1))
            invalid.update(told.split())
        return [a for a in artifacts if self.path(a) in invalid]

    def add(self, artifacts: Sequence[Artifact], paths: Mapping[str, Path], scratch: Path) -> int:
        """Add each artifact from ``paths`` (by SHA-256); returns their bytes. Raises :class:`StoreError`.

        ``scratch``: a new folder for the time of the call, on the disk where ``paths`` are, so that nothing is copied.
        """
        with storing(scratch):
            scratch.mkdir()
        try:
            for some in _batches(artifacts):
                named = [scratch / store_name(a.file) for a in some]
                for artifact, path in zip(some, named, strict=True):
                    # The name in the store is the file's. Two artifacts of one name take turns.
                    path.unlink(missing_ok=True)
                    share(paths[artifact.sha256], path)
                told = self._run("--add-fixed", "sha256", *map(str, named)).split()
                for artifact, found in zip(some, told, strict=True):
                    if found != self.path(artifact):
                        raise StoreError(
                            f"{artifact.file}: expected {self.path(artifact)} in the Nix store, is {found}"
                        )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return sum(a.size for a in artifacts)

    def _run(self, *arguments: str, codes: Sequence[int] = (0,)) -> str:
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, check=False)
        if done.returncode not in codes or (done.returncode and done.stderr.strip()):
            raise StoreError(
                f"`nix-store {arguments[0]}` ended with {done.returncode}",
                hint="a Nix without a daemon, run by root, needs `build-users-group =` in its configuration",
                detail=done.stderr.strip(),
            )
        return done.stdout


def _batches(artifacts: Sequence[Artifact]) -> Iterable[Sequence[Artifact]]:
    """In parts that fit on a command line, no two of one name in the same part."""
    part: dict[str, Artifact] = {}
    for artifact in artifacts:
        name = store_name(artifact.file)
        if len(part) == _BATCH or name in part:
            yield list(part.values())
            part = {}
        part[name] = artifact
    if part:
        yield list(part.values())
