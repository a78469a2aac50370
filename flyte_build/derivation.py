"""Lock → derivation: what an image is made of, as data with a hash. Pure: no I/O.

A derivation is canonical JSON that the assembler executes as it stands (``python -m
flyte_build.assemble PLAN OUT``), here as from Nix and Bazel. It names bytes by SHA-256 only, so it
covers everything that can change the image and nothing else (law 2). Each layer has a derivation of
its own: equal layers of different images have equal hashes, which is all that sharing is (law 7).

Layer kinds (every layer object carries ``"assembler"``, the version of the rules that make its bytes,
and ``"title"``, which is shown in the image's history):

``debian``   ``{"debs": [{"file", "sha256"}]}``: the files of these packages, merged
``system``   ``{"suite", "debs": [all of the image's], "python", "venv", "user": {"name", "uid", "gid", "home"}}``:
             what maintainer scripts would have made, the user, and the venv's skeleton
``wheels``   ``{"python", "venv", "wheels": [{"file", "sha256"}]}``: these wheels, installed
``files``    ``{"files": [{"path", "mode", "uid", "gid", and "sha256"+"size" | "link" | "dir": true}]}``

An image is ``{"schema", "platform", "layers", "config", "annotations"}``; ``config`` holds the OCI image
configuration's ``config`` object (OCI image-spec v1.1, config.md).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from .assemble.version import ASSEMBLER
from .canonical import Json, digest
from .locking.lockfile import Lock, LockedDeb, LockedPlatform, LockedWheel
from .recipe import CopyFiles, EnvVars, Recipe, WorkDir

__all__ = ["Artifact", "FileEntry", "ImageDerivation", "LayerDerivation", "derive"]

VENV = "/opt/venv"
USER: dict[str, Json] = {"name": "flyte", "uid": 1000, "gid": 1000, "home": "/home/flyte"}
# A wheel of at least this size is worth a layer of its own: it is fetched, stored and pulled alone.
LARGE_WHEEL = 4 << 20
# OCI sets no limit; overlayfs and the engines do (127 in Docker, ~125 in podman). Room is left for children.
MAX_LAYERS = 100
# The base has these, with owners and modes of its own.
SYSTEM_FOLDERS = frozenset({
    "bin", "boot", "dev", "etc", "home", "home/flyte", "lib", "mnt", "opt", "proc", "root", "run", "sbin", "srv",
    "sys", "tmp", "usr", "usr/local", "var", "var/tmp",
})  # fmt: skip
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Artifact:
    """Bytes an image needs: a locked wheel or .deb, or a local file. ``size`` in bytes."""

    sha256: str
    size: int
    file: str
    source: LockedWheel | LockedDeb | None = None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One entry of a copied tree: exactly one of ``sha256`` (a file), ``link`` (a symlink) or neither (a folder)."""

    path: str
    mode: int
    sha256: str | None = None
    size: int = 0
    link: str | None = None


@dataclass(frozen=True, slots=True)
class LayerDerivation:
    """One layer: ``spec`` is what the assembler executes, ``artifacts`` the bytes it needs."""

    spec: Mapping[str, Json]
    artifacts: tuple[Artifact, ...]
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        # The title says what a person sees in the history; it is part of the image, not of the layer's bytes.
        identity = {k: v for k, v in self.spec.items() if k != "title"}
        object.__setattr__(self, "hash", digest(cast(Json, identity)))

    @property
    def kind(self) -> str:
        return str(self.spec["kind"])

    @property
    def title(self) -> str:
        return str(self.spec["title"])

    @property
    def fetch_size(self) -> int:
        """Bytes of all artifacts, as fetched."""
        return sum(a.size for a in self.artifacts)


@dataclass(frozen=True, slots=True)
class ImageDerivation:
    """One environment's image on one platform."""

    environment: str
    platform: str
    layers: tuple[LayerDerivation, ...]
    spec: Mapping[str, Json]
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", digest(cast(Json, self.spec)))

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """Everything the image needs, by SHA-256."""
        return {a.sha256: a for layer in self.layers for a in layer.artifacts}


def derive(
    lock: Lock, recipe: Recipe, platform: str, files: Mapping[int, Sequence[FileEntry]] | None = None
) -> ImageDerivation:
    """The derivation of ``recipe``'s image on ``platform`` under ``lock``.

    ``files`` holds, for each :class:`CopyFiles` step by its index in ``recipe.steps``, the entries to
    copy, with paths in the image (see ``flyte_build.localfiles``). ``lock`` must answer ``recipe``.
    """
    if not lock.answers(recipe):
        raise ValueError(f"the lock of {lock.environment} does not answer this recipe")
    locked = lock.platforms[platform]
    layers = [
        *_debian_layers(locked, recipe),
        *_wheel_layers(locked, recipe),
        *_file_layers(recipe, files or {}),
    ]
    spec: dict[str, Json] = {
        "schema": 1,
        "platform": platform,
        "layers": [dict(layer.spec) for layer in layers],
        "config": _config(recipe),
        "annotations": {},
    }
    return ImageDerivation(lock.environment, platform, tuple(layers), spec)


def _layer(kind: str, title: str, artifacts: Sequence[Artifact], **fields: Json) -> LayerDerivation:
    return LayerDerivation({"kind": kind, "assembler": ASSEMBLER, "title": title, **fields}, tuple(artifacts))


def _named(artifacts: Sequence[Artifact]) -> Json:
    return [{"file": a.file, "sha256": a.sha256} for a in artifacts]


def _debs(debs: Sequence[LockedDeb]) -> list[Artifact]:
    ordered = sorted(debs, key=lambda d: (d.name, d.architecture))
    return [Artifact(d.sha256, d.size, d.file, d) for d in ordered]


def _debian_layers(locked: LockedPlatform, recipe: Recipe) -> list[LayerDerivation]:
    base = _debs([d for d in locked.debs if d.base])
    asked = _debs([d for d in locked.debs if not d.base])
    layers = [_layer("debian", f"debian {locked.suite}", base, debs=_named(base))]
    if asked:
        names = " ".join(sorted(recipe.apt_packages))
        layers.append(_layer("debian", f"apt {names}", asked, debs=_named(asked)))
    everything = _debs(locked.debs)
    layers.append(
        _layer(
            "system",
            "system files, user and venv",
            everything,
            suite=locked.suite,
            debs=_named(everything),
            python=recipe.python,
            venv=VENV,
            user=cast(Json, USER),
        )
    )
    return layers


def _wheels(title: str, wheels: Sequence[LockedWheel], recipe: Recipe) -> LayerDerivation:
    ordered = sorted(wheels, key=lambda w: (w.name, w.file))
    artifacts = [Artifact(w.sha256, w.size, w.file, w) for w in ordered]
    return _layer("wheels", title, artifacts, python=recipe.python, venv=VENV, wheels=_named(artifacts))


def _wheel_layers(locked: LockedPlatform, recipe: Recipe) -> list[LayerDerivation]:
    """The runtime; then, step by step, one layer for each large wheel and one for the small ones together.

    A step's small wheels share a layer because a hundred small layers cost more (requests, mounts) than the
    bytes that one change re-sends. Where the total would pass ``MAX_LAYERS``, the smallest of the large
    wheels go with the small ones, whichever step they are of.
    """
    steps = sorted({w.step for w in locked.wheels})
    copies = sum(isinstance(s, CopyFiles) for s in recipe.steps)
    room = MAX_LAYERS - 3 - len(steps) - copies
    large = sorted((w for w in locked.wheels if w.step > 0 and w.size >= LARGE_WHEEL), key=lambda w: (-w.size, w.name))
    alone = {w.name for w in large[: max(room, 0)]}
    layers: list[LayerDerivation] = []
    for step in steps:
        members = sorted((w for w in locked.wheels if w.step == step), key=lambda w: w.name)
        layers.extend(_wheels(f"{w.name} {w.version}", [w], recipe) for w in members if w.name in alone)
        small = [w for w in members if w.name not in alone]
        if small:
            if step == 0:
                flyte = next((w for w in small if w.name == "flyte"), None)
                title = f"flyte runtime {flyte.version}" if flyte else "runtime"
            else:
                title = ", ".join(f"{w.name} {w.version}" for w in small)
            layers.append(_wheels(title, small, recipe))
    return layers


def _file_layers(recipe: Recipe, files: Mapping[int, Sequence[FileEntry]]) -> list[LayerDerivation]:
    layers = _workdir_layers(recipe, files)
    for index, step in enumerate(recipe.steps):
        if not isinstance(step, CopyFiles):
            continue
        entries = sorted(files[index], key=lambda e: e.path)
        artifacts = [Artifact(e.sha256, e.size, e.path) for e in entries if e.sha256 is not None]
        rows: list[Json] = []
        for e in entries:
            row: dict[str, Json] = {"path": e.path, "mode": e.mode, "uid": USER["uid"], "gid": USER["gid"]}
            if e.sha256 is not None:
                row |= {"sha256": e.sha256, "size": e.size}
            elif e.link is not None:
                row["link"] = e.link
            else:
                row["dir"] = True
            rows.append(row)
        layers.append(_layer("files", f"copy {step.source}", artifacts, files=rows))
    return layers


def _workdir_layers(recipe: Recipe, files: Mapping[int, Sequence[FileEntry]]) -> list[LayerDerivation]:
    """The working directories that no copy makes, as WORKDIR makes them, but the user's own: code is unpacked there."""
    copied = {entry.path for entries in files.values() for entry in entries}
    asked = sorted({d.strip("/") for d in working_directories(recipe)} - {*copied, *SYSTEM_FOLDERS, ""})
    owner: dict[str, Json] = {"mode": 0o755, "uid": USER["uid"], "gid": USER["gid"], "dir": True}
    rows: list[Json] = [{"path": path, **owner} for path in asked]
    return [_layer("files", "workdir " + " ".join(f"/{p}" for p in asked), [], files=rows)] if asked else []


_VARIABLE = re.compile(r"\\\$|\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))")


def expand(value: str, known: Mapping[str, str]) -> str:
    """``$NAME``, ``${NAME}``, ``${NAME:-word}`` and ``${NAME:+word}`` as a Dockerfile's ENV expands them."""

    def one(m: re.Match[str]) -> str:
        if m[0] == r"\$":
            return "$"
        found = known.get(m[1] or m[4], "")
        if m[2] == "-":
            return found or m[3]
        if m[2] == "+":
            return m[3] if found else ""
        return found

    return _VARIABLE.sub(one, value)


def working_directories(recipe: Recipe) -> list[str]:
    """The working directory in force at each step, then the final one: ``len(steps) + 1`` absolute paths."""
    current = str(USER["home"])
    out = []
    for step in recipe.steps:
        out.append(current)
        if isinstance(step, WorkDir):
            current = posixpath.normpath(posixpath.join(current, step.path))
    return [*out, current]


def _config(recipe: Recipe) -> Json:
    env = {
        "PATH": f"{VENV}/bin:{_SYSTEM_PATH}",
        "LANG": "C.UTF-8",
        "VIRTUAL_ENV": VENV,
        "PYTHONPATH": "/root",
    }
    for step in recipe.steps:
        if isinstance(step, EnvVars):
            # One ENV instruction sees the values from before it, not its own (Dockerfile reference, ENV).
            env |= {name: expand(value, dict(env)) for name, value in step.variables}
    return {
        "User": str(USER["name"]),
        "Env": [f"{k}={v}" for k, v in env.items()],
        "Cmd": ["python"],
        "WorkingDir": working_directories(recipe)[-1],
        "Labels": {},
    }
