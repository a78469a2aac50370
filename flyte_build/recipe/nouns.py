"""What the user asked for: an image, before anything is resolved.

A recipe is pure data, read off a ``flyte.Image`` by ``images.py`` (part of the SDK's edge) and
answered by a lock. Its canonical form is stored in the lock, so that a stale lock can say *what*
changed; its fingerprint is what is compared.

Locations never enter the canonical form: an index URL is represented by its digest (a change is
noticed, the host is not written down), a local file by its path relative to the project.
"""

from __future__ import annotations

import json
from typing import TypeAlias, cast

from ..kernel.canonical import Json, digest
from ..kernel.platforms import Platform
from ..kernel.values import dataclass
from .bases import Base, DebianBase, RegistryBase, Scratch
from .conda import CondaInstall
from .copying import CopyFiles
from .located import SourceTree, hidden
from .running import Delegation, Mount, RunCommands, SecretMount, TreeCopy

__all__ = [
    "AptInstall",
    "Base",
    "CondaInstall",
    "CopyFiles",
    "DebianBase",
    "Delegation",
    "EnvVars",
    "ImageSettings",
    "Mount",
    "PipInstall",
    "Platform",
    "Recipe",
    "RegistryBase",
    "RunCommands",
    "Scratch",
    "SecretMount",
    "SourceTree",
    "Stage",
    "Step",
    "TreeCopy",
    "UvProject",
    "WorkDir",
]


@dataclass(frozen=True, slots=True)
class UvProject:
    """A uv project or script: what is installed is what uv says of it (:mod:`flyte_build.recipe.uv_projects`).

    ``file`` is its ``pyproject.toml`` or script and ``lock`` a ``uv.lock`` that is not uv's own, relative to the
    project's root. ``asked`` is the digest of what its files ask, ``locked`` that of the ``uv.lock`` (``None``: there
    is none). ``options`` are ``uv export``'s. ``indexes``: the names of the indexes that a package may be asked of,
    where ``[tool.uv.sources]`` names any; what those are, only the project says. ``installs``: the project's own code
    is installed, and not only what it requires; ``trees``: the digest of the source trees that are built for it.
    """

    file: str
    asked: str
    locked: str | None = None
    lock: str | None = None
    options: tuple[str, ...] = ()
    indexes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    installs: bool = False
    trees: str | None = None

    def to_json(self) -> dict[str, Json]:
        out: dict[str, Json] = {"file": self.file, "asked": self.asked, "locked": self.locked}
        if self.lock is not None:
            out["lock"] = self.lock
        if self.options:
            out["options"] = list(self.options)
        if self.indexes:
            out["indexes"] = [[name, list(names)] for name, names in self.indexes]
        if self.installs:
            out["installs"] = True
        if self.trees is not None:
            out["trees"] = self.trees
        return out


@dataclass(frozen=True, slots=True)
class PipInstall:
    """Requirements (PEP 508, as the user wrote them, normalised) installed into ``/opt/venv``.

    ``index`` replaces the configured index, ``extra_indexes`` are asked besides it. ``constraints``
    hold for this and every later step (exact pins of a uv.lock, say). ``wheels`` are local wheel
    files, as paths relative to the project, installed by their own hash. ``hashes`` are the SHA-256 that
    a hashed requirements file allows for a distribution (pip's ``--hash``); what is locked must be among them.
    ``sources`` are built (:mod:`flyte_build.recipe.located`). ``secrets`` log in to its indexes and addresses
    (:mod:`flyte_build.sources.lent`), and are no part of the canonical form.
    With ``uv`` uv answers the step, and ``requirements`` and ``constraints`` are empty.
    """

    requirements: tuple[str, ...]
    index: str | None = None
    extra_indexes: tuple[str, ...] = ()
    pre: bool = False
    constraints: tuple[str, ...] = ()
    wheels: tuple[str, ...] = ()
    hashes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    uv: UvProject | None = None
    sources: tuple[SourceTree, ...] = ()
    secrets: tuple[SecretMount, ...] = ()

    def to_json(self) -> Json:
        out: dict[str, Json] = {"kind": "pip", "requirements": list(self.requirements)}
        if self.index is not None:
            out["index"] = hidden(self.index)
        if self.extra_indexes:
            out["extra_indexes"] = [hidden(url) for url in self.extra_indexes]
        if self.pre:
            out["pre"] = True
        if self.constraints:
            out["constraints"] = list(self.constraints)
        if self.wheels:
            out["wheels"] = list(self.wheels)
        if self.hashes:
            out["hashes"] = [[name, list(allowed)] for name, allowed in self.hashes]
        if self.uv is not None:
            out["uv"] = self.uv.to_json()
        if self.sources:
            out["sources"] = [source.to_json() for source in self.sources]
        return out


@dataclass(frozen=True, slots=True)
class AptInstall:
    """Debian packages by name, with the closure of their dependencies (not their recommendations). ``secrets`` are for
    the addresses of other people's sources, and no part of the canonical form."""

    packages: tuple[str, ...]
    secrets: tuple[SecretMount, ...] = ()

    def to_json(self) -> Json:
        return {"kind": "apt", "packages": list(self.packages)}


@dataclass(frozen=True, slots=True)
class EnvVars:
    """Environment variables in the order written; values may refer to earlier ones as ``$NAME``."""

    variables: tuple[tuple[str, str], ...]

    def to_json(self) -> Json:
        return {"kind": "env", "variables": [[k, v] for k, v in self.variables]}


@dataclass(frozen=True, slots=True)
class WorkDir:
    """The working directory from here on; relative paths are relative to the one before. It is made where it is not
    there, for ``owner`` (uid and gid; ``None``: the image's user), unless the step before has (``made``)."""

    path: str
    owner: tuple[int, int] | None = None
    made: bool = False

    def to_json(self) -> Json:
        out: dict[str, Json] = {"kind": "workdir", "path": self.path}
        out |= {"owner": list(self.owner)} if self.owner is not None else {}
        return out | {"made": True} if self.made else out


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Fields of the image's configuration (image-spec v1.1, config.md, the ``config`` object) that a Dockerfile sets.
    Labels, ports and volumes join those of the base, all else takes the place of the base's. ``settings`` is canonical
    JSON, so that a step can be compared."""

    settings: str

    def to_json(self) -> Json:
        return {"kind": "settings", "settings": cast("Json", json.loads(self.settings))}


Step: TypeAlias = PipInstall | CondaInstall | AptInstall | EnvVars | WorkDir | CopyFiles | RunCommands | ImageSettings


@dataclass(frozen=True, slots=True)
class Stage:
    """An image that is made for what others take of it (a Dockerfile's stage, an image that is copied from, or files of
    the project), and that is part of none. ``name`` is for people. What its steps take is of stages before it."""

    name: str
    base: RegistryBase | Scratch
    steps: tuple[Step, ...] = ()

    def to_json(self) -> Json:
        return {"name": self.name, "base": self.base.to_json(), "steps": [step.to_json() for step in self.steps]}


@dataclass(frozen=True, slots=True)
class Recipe:
    """One environment's image as asked for.

    ``python`` is ``"3.11"``, ``None`` where it is whatever the registry base has; ``flyte`` the version of the flyte
    package that the runtime step installs (``None``: the user brings it, or not). ``steps`` are in the order of the
    ``with_*`` calls. ``layer_ceiling``: the bytes that a layer of wheels may have, where they are not the default.
    ``bytecode``: Python's modules have theirs in layers of its own. ``stages``: what steps take files from, by number.
    ``triggers``: by the names of the images that its Dockerfile stands on, what they have such images begin with
    (``ONBUILD``), as ``steps`` and ``stages`` were read with it; a lock has to say the same of its bases.
    """

    base: Base
    platforms: tuple[Platform, ...]
    python: str | None
    flyte: str | None
    steps: tuple[Step, ...] = ()
    layer_ceiling: int | None = None
    bytecode: bool = False
    stages: tuple[Stage, ...] = ()
    triggers: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def to_json(self) -> Json:
        """The canonical form: everything a lock has to answer, and nothing about where things come from."""
        more: dict[str, Json] = {} if self.layer_ceiling is None else {"layer_ceiling": self.layer_ceiling}
        more |= {"bytecode": "layer"} if self.bytecode else {}
        more |= {"stages": [stage.to_json() for stage in self.stages]} if self.stages else {}
        begun: dict[str, Json] = {name: list(texts) for name, texts in self.triggers if texts}
        more |= {"triggers": begun} if begun else {}
        return {
            "base": self.base.to_json(),
            "platforms": list(self.platforms),
            "python": self.python,
            "flyte": self.flyte,
            "steps": [step.to_json() for step in self.steps if not (isinstance(step, CopyFiles) and step.code)],
            **more,
        }

    @property
    def fingerprint(self) -> str:
        return digest(self.to_json())

    @property
    def as_is(self) -> bool:
        """Whether the image is the registry base itself, with nothing added."""
        return isinstance(self.base, RegistryBase) and not self.base.official and not self.steps and self.flyte is None

    @property
    def installs(self) -> bool:
        """Whether Python packages are installed."""
        return bool(self.runtime_requirements) or any(
            s.requirements or s.wheels or s.uv or s.sources for s in self.pip_steps
        )

    @property
    def pip_steps(self) -> tuple[PipInstall, ...]:
        """The pip steps in order; step *k* of a locked wheel is ``pip_steps[k - 1]``, 0 the flyte runtime."""
        return tuple(step for step in self.steps if isinstance(step, PipInstall))

    @property
    def conda(self) -> CondaInstall | None:
        """The environment of conda packages that tasks run in, and that Python packages are installed into."""
        return next((step for step in self.steps if isinstance(step, CondaInstall)), None)

    @property
    def apt_packages(self) -> tuple[str, ...]:
        """All Debian packages asked for by name, in order, without repeats."""
        return tuple(dict.fromkeys(n for step in self.steps if isinstance(step, AptInstall) for n in step.packages))

    @property
    def apt_secrets(self) -> tuple[SecretMount, ...]:
        return tuple(secret for step in self.steps if isinstance(step, AptInstall) for secret in step.secrets)

    @property
    def sealed_steps(self) -> tuple[int, ...]:
        """The places in ``steps`` of those that run programs, and are sealed."""
        return tuple(i for i, step in enumerate(self.steps) if isinstance(step, RunCommands))

    def stage(self, number: int) -> Recipe:
        """The recipe of the stage's own image, which knows the stages before it."""
        found = self.stages[number]
        return Recipe(found.base, self.platforms, None, None, found.steps, stages=self.stages[:number])

    @property
    def runtime_requirements(self) -> tuple[str, ...]:
        """Step 0: what ``install_flyte=True`` asks for."""
        return (f"flyte=={self.flyte}",) if self.flyte is not None else ()
