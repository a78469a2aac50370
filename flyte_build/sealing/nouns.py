"""The nouns of sealing: what is run, on what, and what came of it. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["Below", "Network", "Outcome", "Secret", "Step"]

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
    layer that holds it is refused. ``name`` is what messages call it."""

    name: str
    value: bytes = field(repr=False)
    env: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """``commands`` run one after the other by ``/bin/sh -c``, as root, in ``workdir``, with ``environment``.

    ``lent`` are variables that the programs see besides and that nothing of the outcome should depend on: proxies,
    package indexes. Their values are kept out of the log. ``title`` is for people.
    """

    title: str
    commands: tuple[str, ...]
    environment: Mapping[str, str]
    workdir: str
    network: Network
    secrets: tuple[Secret, ...] = ()
    lent: Mapping[str, str] = field(default_factory=dict, repr=False)


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
