"""What an image starts from, as values: our own Debian, an image of a registry, or nothing. Knows no registry."""

from __future__ import annotations

from typing import TypeAlias

from ..kernel.canonical import Json
from ..kernel.values import dataclass

__all__ = ["Base", "DebianBase", "RegistryBase", "Scratch"]


@dataclass(frozen=True, slots=True)
class DebianBase:
    """``Image.from_debian_base()``: Debian assembled from locked .debs.

    ``suite`` is the Debian release whose ``python3`` is the image's Python (3.11 is bookworm's, 3.13
    trixie's, 3.14 forky's). ``standalone``: the Python is the relocatable build that uv installs, on that suite.
    """

    suite: str
    standalone: bool = False

    def to_json(self) -> Json:
        out: dict[str, Json] = {"kind": "debian", "suite": self.suite}
        return out | {"standalone": True} if self.standalone else out


@dataclass(frozen=True, slots=True)
class RegistryBase:
    """``Image.from_base(reference)``: an image of a registry, whose layers are referenced and never made anew.

    ``official``: it stands under ``from_debian_base()``, so that the image gets what the SDK's default image has
    besides: the user ``flyte``, its folders and the environment's variables.
    """

    reference: str
    official: bool = False

    def to_json(self) -> Json:
        out: dict[str, Json] = {"kind": "registry", "reference": self.reference}
        return out | {"official": True} if self.official else out


@dataclass(frozen=True, slots=True)
class Scratch:
    """``FROM scratch``: nothing at all. Only stages stand on it."""

    def to_json(self) -> Json:
        return {"kind": "scratch"}


Base: TypeAlias = DebianBase | RegistryBase | Scratch
