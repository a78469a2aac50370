"""Which modules a locked wheel brings, read off the wheel itself: its list of files, never its name.

What is at hand is asked first: the artifact in the store, then the layer that it is in (``layers``). Only then is the
list taken from wherever configuration says the wheel lies: a zip archive's directory, a few kilobytes at its end. What
a wheel says itself is kept under the cache by its SHA-256. What is read here decides what a check says, never which
bytes are installed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from ....deriving.derivation import Artifact
from ....kernel.errors import FlyteBuildError
from ....kernel.files import write_whole
from ....kernel.reporting import Reporter, Silent
from ....kernel.users_code import asking
from ....locks.nouns import LockedWheel
from .conda import SUFFIXES, of_ranges
from .conda import of_file as of_conda
from .kept import kept_at
from .modules import FOLDER, ModulesOf, modules_among

if TYPE_CHECKING:
    from ....sources.places import Locator, Place
    from ....store import Store
    from .layers import WheelLayers

__all__ = ["Answer", "Contents", "ImageModules"]

SCHEMA = 2


class Contents:
    """Reads wheels' lists of files; ``layers``, then ``locator`` are asked for those that are not in the store.

    ``None``: nobody. ``unread`` are the wheels that could not be had, and why; none of them is asked for again.
    """

    def __init__(
        self,
        cache: Path,
        store: Store | None,
        locator: Locator | None,
        reporter: Reporter | None = None,
        layers: WheelLayers | None = None,
    ) -> None:
        self._cache = cache
        self._store = store
        self._locator = locator
        self._reporter = reporter or Silent()
        self._layers = layers
        self._known: dict[str, frozenset[str]] = {}
        self.unread: dict[LockedWheel, str] = {}

    def __call__(self, wheels: Sequence[LockedWheel]) -> Mapping[str, frozenset[str]]:
        missing = {w.sha256: w for w in wheels if w.sha256 not in self._known and w not in self.unread}
        if missing:
            with asking():
                self._learn(missing)
        return {w.sha256: self._known[w.sha256] for w in wheels if w.sha256 in self._known}

    def _learn(self, missing: dict[str, LockedWheel]) -> None:
        for sha256, wheel in missing.items():
            found = self._here(wheel)
            if found is not None:
                self._known[sha256] = found
        missing = {sha256: w for sha256, w in missing.items() if sha256 not in self._known}
        if missing and self._layers is not None:
            self._known |= self._layers(list(missing.values()), self._here)
            missing = {sha256: w for sha256, w in missing.items() if sha256 not in self._known}
        if missing and self._locator is not None:
            with self._reporter.work("reading wheels' lists of files", len(missing)) as progress:
                with ThreadPoolExecutor(max_workers=min(8, len(missing))) as pool:
                    for wheel, answer in zip(missing.values(), pool.map(self._fetched, missing.values()), strict=True):
                        if isinstance(answer, str):
                            self.unread[wheel] = answer
                        else:
                            self._known[wheel.sha256] = answer
                        progress.advance()
            self._locator.close()

    @property
    def consulted(self) -> frozenset[str]:
        """The wheels of which the modules were told, by SHA-256."""
        return frozenset(self._known)

    # -- what is here ------------------------------------------------------------------------------

    def _here(self, wheel: LockedWheel) -> frozenset[str] | None:
        """What the wheel itself said once, or says now."""
        found = self._cached(wheel.sha256)
        if found is None and (path := self._sound(wheel)):
            members = of_conda(path, wheel.file) if wheel.file.endswith(SUFFIXES) else _of_file(path)
            found = None if members is None else self._keep(wheel.sha256, members)
        return found

    def _sound(self, wheel: LockedWheel) -> Path | None:
        return self._store.sound(wheel.sha256, wheel.size, wheel.file) if self._store is not None else None

    def _cached(self, sha256: str) -> frozenset[str] | None:
        try:
            raw = json.loads(kept_at(self._cache, sha256).read_text(encoding="utf-8"))
            return frozenset(map(str, raw["modules"])) if raw["schema"] == SCHEMA else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def _keep(self, sha256: str, members: Iterable[str]) -> frozenset[str]:
        """Kept whole or not at all; a cache that cannot be written is none."""
        found = modules_among(members)
        try:
            path = kept_at(self._cache, sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            body = {"schema": SCHEMA, "modules": sorted(found)}
            write_whole(path, json.dumps(body))
        except OSError:
            pass
        return found

    # -- where wheels lie --------------------------------------------------------------------------

    def _fetched(self, wheel: LockedWheel) -> frozenset[str] | str:
        """The wheel's modules, or why they could not be had."""
        assert self._locator is not None
        artifact = Artifact(wheel.sha256, wheel.size, wheel.file, wheel)
        try:
            for place in self._locator.places(artifact):
                members = _of_place(place, wheel)
                if members is not None:
                    return self._keep(wheel.sha256, members)
        except FlyteBuildError as e:
            return e.message
        return f"{wheel.file}: what there is is not the wheel that was locked, or cannot be read"


def _of_file(path: Path) -> list[str] | None:
    from ....sources.indexes.metadata import damage

    try:
        with damage(), zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return None


def _of_place(place: Place, wheel: LockedWheel) -> list[str] | None:
    """The members of the wheel at ``place``; ``None`` where it cannot be had there, or is not the one locked."""
    from ....sources.indexes.metadata import members
    from ....sources.peeking import peek

    found = peek(place, wheel, of_ranges if wheel.file.endswith(SUFFIXES) else members)
    return found if isinstance(found, list) else None


# -- an image ------------------------------------------------------------------------------------------


class Answer:
    """What an image says to an import: ``state`` and the distributions that have the modules.

    ``found``; ``namespace``: only packages without a file of their own (PEP 420); ``inside``: a package of the name is
    there, but no file for what is below it; ``absent``; ``unknown``: absent as far as the contents of the wheels are
    known, and not all of them are.
    """

    __slots__ = ("state", "wheels")

    def __init__(self, state: str, wheels: Iterable[LockedWheel] = ()) -> None:
        self.state = state
        self.wheels = tuple(dict.fromkeys(wheels))


class ImageModules:
    """The modules that an image's locked wheels bring. Wheels are read only as far as an answer needs them."""

    def __init__(self, wheels: Sequence[LockedWheel], modules_of: ModulesOf) -> None:
        self.wheels = tuple(wheels)
        self._modules_of = modules_of
        self._read: set[str] = set()
        self._owners: dict[str, list[LockedWheel]] = {}
        self._spaces: dict[str, list[LockedWheel]] = {}
        self.unreadable: list[LockedWheel] = []

    def has(self, distribution: str) -> LockedWheel | None:
        """The locked wheel of a distribution (normalised name)."""
        return next((w for w in self.wheels if w.name == distribution), None)

    def find(self, module: str) -> Answer:
        """Where ``module`` (dotted) comes from."""
        # The wheel that is called like the module is likeliest; whether it has it, its own files say.
        likely = {canonicalize_name(prefix) for prefix in _prefixes(module)}
        self._load([w for w in self.wheels if w.name in likely])
        answer = self._answer(module)
        if answer.state != "found":
            self._load(self.wheels)
            answer = self._answer(module)
        return answer

    def _answer(self, module: str) -> Answer:
        if module in self._owners:
            return Answer("found", self._owners[module])
        if module in self._spaces:
            return Answer("namespace", self._spaces[module])
        for prefix in _prefixes(module)[1:]:
            if prefix in self._owners:
                return Answer("inside", self._owners[prefix])
        return Answer("unknown" if self.unreadable else "absent")

    def _load(self, wheels: Sequence[LockedWheel]) -> None:
        wanted = [w for w in wheels if w.sha256 not in self._read]
        if not wanted:
            return
        found = self._modules_of(wanted)
        for wheel in wanted:
            self._read.add(wheel.sha256)
            if wheel.sha256 not in found:
                self.unreadable.append(wheel)
                continue
            spaces: set[str] = set()
            for module in found[wheel.sha256]:
                if module.endswith(FOLDER):
                    spaces.add(module[: -len(FOLDER)])
                    continue
                self._owners.setdefault(module, []).append(wheel)
                space = module.rpartition(".")[0]
                while space and space not in spaces:
                    spaces.add(space)
                    space = space.rpartition(".")[0]
            for space in spaces:
                self._spaces.setdefault(space, []).append(wheel)


def _prefixes(module: str) -> list[str]:
    """``a.b.c`` → ``a.b.c``, ``a.b``, ``a``."""
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(len(parts), 0, -1)]
