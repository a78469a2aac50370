"""One import against one image: is everything there that it needs, and from which distributions.

The rules of PEP 420 and of the import statement, asked of the locked wheels' own contents. Knows an image, but neither
tasks nor environments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, cast

from ....kernel.pythons import numbers
from ....kernel.values import dataclass
from ....locks.nouns import Lock, LockedWheel
from ....locks.seals import ANY_MODULE
from ....project.conditions import Target
from ....project.source_files import Sources
from ....project.statements import Import
from ..wheels.conda import as_wheels
from ..wheels.contents import ImageModules
from ..wheels.modules import ModulesOf
from .stdlib import debian_package, is_standard, removed_in

__all__ = ["Image", "Problem"]

_MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}

Kind: TypeAlias = Literal["absent", "debian", "inside", "removed", "unknown"]


@dataclass(frozen=True, slots=True)
class Problem:
    """``module`` cannot be imported (``absent``, ``removed`` from the standard library, in a Debian package that the
    image has not), perhaps not (``inside`` a package that is there), or nobody knows (``unknown``). ``more``: what."""

    kind: Kind
    module: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class _Base:
    """What a registry base brings, and what sealed steps added; nothing for an image on our own Debian without any."""

    modules: frozenset[str] = frozenset()
    debs: frozenset[str] = frozenset()
    known: bool = True
    debians_python: bool = True

    @classmethod
    def of(cls, lock: Lock, platform: str) -> _Base:
        held = lock.platforms[platform]
        base, added = held.base, [module for seal in held.seals for module in seal.modules]
        if held.conda:
            # Its Python is whole, and sees nothing of what lies beside it.
            return cls(frozenset(added), known=ANY_MODULE not in added, debians_python=False)
        if base is None:
            return cls(frozenset(added), known=ANY_MODULE not in added, debians_python=held.python is None)
        if base.facts is None:
            return cls(known=False, debians_python=False)
        facts = base.facts
        raw = cast("dict[str, dict[str, object]]", lock.recipe)
        # The environment that is made on an official image does not see what lies beside it.
        modules = () if raw["base"].get("official") else facts.modules
        debs = frozenset(row.split(" ")[0] for row in facts.debs or ())
        everything = frozenset((*modules, *added))
        return cls(
            everything, debs, ANY_MODULE not in added, debians_python=(facts.python or "").startswith("/usr/bin/")
        )

    def may_have(self, module: str) -> bool:
        """Whether the base has the top-level ``module``, as far as is known; what is below it, nobody looked."""
        return not self.known or module in self.modules


class Image:
    """A locked image on one platform."""

    def __init__(self, lock: Lock, platform: str, modules_of: ModulesOf, sources: Sources) -> None:
        held = lock.platforms[platform]
        # A base that nobody looked into may have any Python, and any package.
        self.python = numbers(lock.python or "3.13")
        self._base = _Base.of(lock, platform)
        self.target = Target(self.python, _MACHINES.get(platform))
        self.modules = ImageModules((*held.wheels, *as_wheels(held)), modules_of)
        self._debs = {d.name for d in held.debs} | self._base.debs
        self._sources = sources
        self._judged: dict[tuple[str, tuple[str, ...]], tuple[tuple[Problem, ...], tuple[LockedWheel, ...]]] = {}

    def happens(self, what: Import) -> bool:
        """Whether the import is made at all, given what its ``try`` statement finds in this image."""
        return all(any(not self.has(i) for i in group) for group in what.when_missing) and all(
            self.has(i) for i in what.when_present
        )

    def has(self, what: Import) -> bool:
        """Whether the import succeeds, as far as is known."""
        if self._sources.find(what.module) is not None:
            return True
        problems, _ = self.judge(what)
        return not any(p.kind in ("absent", "debian", "removed") for p in problems)

    def judge(self, what: Import) -> tuple[Sequence[Problem], Sequence[LockedWheel]]:
        """What is wrong with the import, and the distributions that it is served from."""
        key = (what.module, what.names)
        if key not in self._judged:
            self._judged[key] = self._judge(what)
        return self._judged[key]

    def _judge(self, what: Import) -> tuple[tuple[Problem, ...], tuple[LockedWheel, ...]]:
        top = what.module.partition(".")[0]
        if top in ("__main__", "builtins"):
            return (), ()
        if is_standard(top, self.python):
            return self._standard(what.module, top), ()
        answer = self.modules.find(what.module)
        if answer.state != "found" and self._base.may_have(top):
            return (), ()
        if answer.state == "absent":
            if removed_in(top) is not None:
                return self._removed(top), ()
            return (Problem("absent", what.module),), ()
        if answer.state == "unknown":
            return (Problem("unknown", what.module, self._unread()),), ()
        if answer.state == "inside":
            wheel = answer.wheels[0]
            return (Problem("inside", what.module, f"{wheel.name} {wheel.version}"),), answer.wheels
        problems: list[Problem] = []
        wheels = list(answer.wheels) if answer.state == "found" else []
        # A module may have any attribute; a namespace package has nothing but modules.
        for name in what.names if answer.state == "namespace" else ():
            inner = self.modules.find(f"{what.module}.{name}")
            if inner.state == "found":
                wheels += inner.wheels
            elif inner.state == "unknown":
                problems.append(Problem("unknown", f"{what.module}.{name}", self._unread()))
            elif inner.state != "namespace":
                problems.append(Problem("absent", f"{what.module}.{name}"))
        return tuple(problems), tuple(dict.fromkeys(wheels))

    def _standard(self, module: str, top: str) -> tuple[Problem, ...]:
        package = debian_package(top, self.python) if self._base.debians_python else None
        if package is None or package in self._debs or (top == "distutils" and self._distutils(module)):
            return ()
        return (Problem("debian", top, package),)

    def _removed(self, top: str) -> tuple[Problem, ...]:
        gone = removed_in(top)
        assert gone is not None
        if top == "distutils" and self._distutils(top):
            return ()
        return (Problem("removed", top, f"{gone[0]}.{gone[1]}"),)

    def _distutils(self, module: str) -> bool:
        """setuptools puts its own copy in place; Debian leaves the bare package in."""
        return self.modules.has("setuptools") is not None or (module == "distutils" and self.python < (3, 12))

    def _unread(self) -> str:
        names = [f"{w.name} {w.version}" for w in self.modules.unreadable]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
