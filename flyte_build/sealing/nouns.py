"""The nouns of sealing: what is run, on what, and what came of it. Values only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["Below", "Copy", "Mount", "Network", "Outcome", "Secret", "Step"]

Network: TypeAlias = Literal["internet", "host", "none"]
"""What a step reaches: what this machine reaches but for its own loopback, all of it, or nothing."""


@dataclass(frozen=True, slots=True)
class Below:
    """One layer under a step: the blob's file on this machine, and the diff_id that it must have. ``passing``: no other
    step lies on it, so that it is not kept for one."""

    path: Path
    diff_id: str
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    """``value`` is seen by the programs as the variable ``env`` or in the file ``path``; it is never logged, and a
    layer that holds it is refused. ``name`` is what messages call it; ``mode`` and ``owner`` (uid and gid) are the
    file's."""

    name: str
    value: bytes = field(repr=False)
    env: str | None = None
    path: str | None = None
    mode: int = 0o400
    owner: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Mount:
    """What programs find at ``target``, and no layer holds: ``source`` of the step's root number ``root``, or an empty
    folder of the disk (``cache``) or of memory (``tmpfs``) with ``mode`` and ``owner`` (uid and gid)."""

    kind: Literal["bind", "cache", "tmpfs"]
    target: str
    root: int | None = None
    source: str = "/"
    writable: bool = True
    mode: int = 0o755
    owner: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Copy:
    """``sources`` (patterns of paths) of the step's root number ``root`` to ``destination``, as BuildKit copies.
    ``chown`` is ``USER:GROUP``, ``chmod`` a mode, each empty where there is none; ``unpack``: archives are unpacked.
    Without a source the folder ``destination`` is made."""

    root: int
    sources: tuple[str, ...]
    destination: str
    chown: str = ""
    chmod: str = ""
    unpack: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """``commands`` run one after the other by ``/bin/sh -c``, as ``user`` (a Dockerfile's USER; empty: root), in
    ``workdir``, with ``environment``; ``mounts`` are there meanwhile. ``copies`` are made before any. ``roots`` are
    what both take files from: layers, lowest first. ``made`` gives, for each run by its number, layers that somebody
    else has made, in the place of commands.

    ``lent`` are variables that the programs see besides and that nothing of the outcome should depend on: proxies,
    package indexes. Their values are kept out of the log. ``title`` is for people. ``platform``: whose programs they
    are, where that is not this machine's.
    """

    title: str
    commands: tuple[str, ...]
    environment: Mapping[str, str]
    workdir: str
    network: Network
    secrets: tuple[Secret, ...] = ()
    lent: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str = ""
    mounts: tuple[Mount, ...] = ()
    copies: tuple[Copy, ...] = ()
    roots: tuple[tuple[Below, ...], ...] = ()
    made: Callable[[int], Sequence[Below]] | None = None
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step changed. ``layer``: the blob (tar in gzip) with ``digest``, ``size`` in bytes and ``diff_id``.

    ``listing``: path → what is there. ``differs``: the paths that came out otherwise the second time; ``twice``:
    whether there was one. ``content``: the bytes of all files; ``seconds``: what the first run
    took; ``dropped``: what no layer holds (sockets, devices); ``network``: what it really reached.
    """

    layer: Path
    digest: str
    size: int
    diff_id: str
    listing: Mapping[str, str]
    content: int
    seconds: float
    network: Network
    twice: bool = True
    differs: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def reproducible(self) -> bool:
        """Whether it came out the same twice."""
        return self.twice and not self.differs
