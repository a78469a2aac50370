"""Steps that run programs, or copy what only a sandbox can see: what they are asked to do, as values.

Each is a *sealed step*: it is run once, when the image is locked, over exactly what is below it. Knows no sandbox.
"""

from __future__ import annotations

from typing import Literal

from ..kernel.canonical import Json
from ..kernel.values import dataclass, field

__all__ = ["Delegation", "Mount", "RunCommands", "SecretMount", "TreeCopy"]


@dataclass(frozen=True, slots=True)
class SecretMount:
    """A secret that commands see while they run, and nothing else of the image ever: as the variable ``env``, or in the
    file ``path``, with ``mode`` and ``owner`` (uid and gid) where they are said. Its value is never part of a recipe.
    """

    key: str
    group: str | None = None
    env: str | None = None
    path: str | None = None
    mode: int | None = None
    owner: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """As messages and the variable that holds it have it: ``GROUP_KEY``."""
        return "_".join(part for part in (self.group, self.key) if part)

    def to_json(self) -> Json:
        fields: dict[str, Json] = {"key": self.key, "group": self.group, "env": self.env, "path": self.path}
        fields |= {"mode": self.mode, "owner": list(self.owner) if self.owner is not None else None}
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Mount:
    """What commands find at ``target`` while they run, and no layer holds: an empty folder of the machine's disk
    (``cache``) or memory (``tmpfs``), with ``mode`` and ``owner`` (uid and gid), or ``source`` of the recipe's stage
    number ``stage`` (``bind``), which is ``writable`` where changes are to be taken and forgotten."""

    kind: Literal["bind", "cache", "tmpfs"]
    target: str
    stage: int | None = None
    source: str = "/"
    writable: bool = True
    mode: int = 0o755
    owner: tuple[int, int] = (0, 0)

    def to_json(self) -> Json:
        out: dict[str, Json] = {"kind": self.kind, "target": self.target}
        if self.stage is not None:
            return out | {"stage": self.stage, "source": self.source, "writable": self.writable}
        return out | {"mode": self.mode, "owner": list(self.owner)}


@dataclass(frozen=True, slots=True)
class TreeCopy:
    """``COPY --from``: ``sources`` of the recipe's stage number ``stage`` (patterns of paths, from its root), to
    ``destination``, as BuildKit copies. ``chown`` is ``USER:GROUP`` by names or numbers, ``chmod`` a mode, both empty
    where what is copied keeps its own. ``unpack``: archives are unpacked, as ADD does. Without a source the
    folder ``destination`` is made, for ``chown``."""

    stage: int
    sources: tuple[str, ...]
    destination: str
    chown: str = ""
    chmod: str = ""
    unpack: bool = False

    @property
    def title(self) -> str:
        """What a person sees."""
        if not self.sources:
            return f"mkdir {self.destination}"
        return f"copy {' '.join(self.sources)} {self.destination}"

    def to_json(self) -> Json:
        out: dict[str, Json] = {"stage": self.stage, "sources": list(self.sources), "destination": self.destination}
        more: dict[str, Json] = {"chown": self.chown, "chmod": self.chmod, "unpack": self.unpack}
        return out | {name: value for name, value in more.items() if value}


@dataclass(frozen=True, slots=True)
class Delegation:
    """A whole Dockerfile that another builder builds: ``file``, relative to the project, whose text has the digest
    ``text``. ``images``: the numbers of the stages that are the images it names, ``context`` of the one that has its
    folder; ``other``: in another language than Docker's own. ``why`` is for people: which line no step means."""

    file: str
    text: str
    images: tuple[int, ...]
    context: int
    other: bool = False
    why: str = field(default="", compare=False)

    def to_json(self) -> Json:
        out: dict[str, Json] = {"file": self.file, "text": self.text, "images": list(self.images)}
        out["context"] = self.context
        return out | {"other": True} if self.other else out


@dataclass(frozen=True, slots=True)
class RunCommands:
    """Shell commands, run one after the other over what the steps before them made, or copies: a sealed step.

    ``user`` runs the commands, as a Dockerfile's USER names one (``None``: root; empty: whoever the base says).
    ``mounts`` are there meanwhile; ``offline``: without a network, whatever the settings say. ``copies`` are made in
    the place of commands, and so is ``delegation``. ``based``: the commands are for the shell that the base names.
    """

    commands: tuple[str, ...]
    secrets: tuple[SecretMount, ...] = ()
    user: str | None = None
    mounts: tuple[Mount, ...] = ()
    offline: bool = False
    copies: tuple[TreeCopy, ...] = ()
    delegation: Delegation | None = None
    based: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """What is done, each in a line or so."""
        if self.delegation is not None:
            return (f"build {self.delegation.file}",)
        return self.commands or tuple(one.title for one in self.copies)

    @property
    def stages(self) -> tuple[int, ...]:
        """The numbers of the stages that something is taken from."""
        numbers = {one.stage for one in self.copies if one.sources} | {m.stage for m in self.mounts}
        if self.delegation is not None:
            numbers |= {*self.delegation.images, self.delegation.context}
        return tuple(sorted(number for number in numbers if number is not None))

    def to_json(self) -> Json:
        out: dict[str, Json] = {"kind": "commands", "commands": list(self.commands)}
        if self.secrets:
            out["secrets"] = [secret.to_json() for secret in self.secrets]
        if self.user is not None:
            out["user"] = self.user
        if self.mounts:
            out["mounts"] = [mount.to_json() for mount in self.mounts]
        if self.offline:
            out["offline"] = True
        if self.copies:
            out["copies"] = [copy.to_json() for copy in self.copies]
        if self.delegation is not None:
            out["delegation"] = self.delegation.to_json()
        if self.based:
            out["based"] = True
        return out
