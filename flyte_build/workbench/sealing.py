"""Locks with their sealed steps: what ``lock`` runs, and what it keeps. Joins deriving, building and sealing.

A seal whose step would run on exactly what it ran on before is kept, whoever made it. The others are made now, lowest
first, and an environment that shares a step with another on the same layers shares its seal (law 7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.emulation import foreign
from ..kernel.errors import InputError, LockError
from ..kernel.quantities import counted, duration, size
from ..kernel.reporting import Reporter
from ..locks.lockfile import read
from ..locks.nouns import Lock, LockedPlatform, LockedSeal
from ..locks.seals import CONFIGURED, SealRun
from ..recipe import Recipe
from ..sealing.sketching import first_difference
from ..store import Store

if TYPE_CHECKING:
    from ..building.sealed import Sealer
    from ..deriving.nouns import FileEntry, ImageDerivation
    from ..deriving.sealed import Question
    from ..remote.cache import RemoteCache
    from ..sealing import Stages
    from ..settings import Settings

__all__ = ["Sealing", "foreign"]

_SHOWN = 3


@dataclass
class Sealing:
    """The sealed steps of one ``lock``. ``again``: numbers of steps (from 1) that are run although their seal holds,
    with ``all`` every one. ``configures`` says of whose packages dpkg has to run the scripts. ``runs`` is what was run.
    """

    root: Path
    lockfiles: Path
    store: Store
    settings: Settings
    reporter: Reporter
    again: Sequence[str] = ()
    configures: Callable[[LockedPlatform], bool] = lambda _: False
    runs: list[SealRun] = field(default_factory=list)
    _fresh: set[str] = field(default_factory=set)

    def complete(self, recipes: Mapping[str, Recipe], locks: Mapping[str, Lock]) -> dict[str, Lock]:
        """``locks`` with a seal for each sealed step, on every platform whose programs run here.

        Raises :class:`~flyte_build.kernel.errors.SealError` where a step fails, and what building what is below it
        raises.
        """
        from ..building.sealed import keeping
        from ..remote.connecting import connected

        self._check_again(recipes)
        known = self._known(recipes)
        out = dict(locks)
        with connected(self.settings, self.reporter) as shared, keeping(self.store) as stages:
            for name, recipe in recipes.items():
                for platform in recipe.platforms:
                    out[name] = self._platform(recipes, out, name, platform, known, shared, stages)
        return out

    def _check_again(self, recipes: Mapping[str, Recipe]) -> None:
        steps = {str(index + 1) for recipe in recipes.values() for index in recipe.sealed_steps}
        steps |= {str(CONFIGURED + 1)} if any(recipe.apt_packages for recipe in recipes.values()) else set()
        for wanted in self.again:
            if wanted != "all" and wanted not in steps:
                have = ", ".join(sorted(steps, key=int)) or "none"
                raise InputError(f"--reseal: no sealed step `{wanted}`; there are: {have}")

    def _known(self, recipes: Mapping[str, Recipe]) -> dict[str, LockedSeal]:
        """The seals of the locks that are there, by what they ran on."""
        found: dict[str, LockedSeal] = {}
        for name in recipes:
            try:
                lock = read(self.lockfiles, name)
            except LockError:
                continue  # locking has said so by now
            for platform in lock.platforms.values() if lock else ():
                found |= {seal.on: seal for seal in platform.every_seal}
        return found

    def _platform(
        self,
        recipes: Mapping[str, Recipe],
        locks: Mapping[str, Lock],
        name: str,
        platform: str,
        known: dict[str, LockedSeal],
        shared: RemoteCache,
        stages: Stages,
    ) -> Lock:
        """The lock with the seals of one platform: stages first, each after those that it takes from."""
        from ..building.repositories import base_repositories
        from ..building.sealed import Sealer, limits_of
        from ..deriving.derivation import stage_of
        from ..deriving.local_files import snapshot
        from ..sources.locators import project_locator

        recipe, lock = recipes[name], locks[name]
        held = lock.platforms[platform]
        files = snapshot(recipe, self.root, held.base, held.stages)

        def sealer(below: ImageDerivation) -> Sealer:
            return Sealer(
                self.store,
                self.root,
                lambda: project_locator(recipes, locks, self.root, store=self.store),
                self.reporter,
                shared,
                base_repositories([below], locks),
                self.settings.seal_network,
                stages=stages,
                limits=limits_of(self.settings),
            )

        for number in range(len(recipe.stages)):
            low, part, copied = stage_of(lock, recipe, platform, files, number)
            low, whole = self._sealed(low, part, platform, copied, part.sealed_steps, known, sealer, numbered=False)
            held = lock.platforms[platform]
            rows = list(held.stages)
            rows[number] = replace(rows[number], seals=low.platforms[platform].seals)
            lock = replace(lock, platforms={**lock.platforms, platform: replace(held, stages=tuple(rows))})
            if not whole:
                return lock
        places = (*self._configured(recipe, lock, platform, known), *recipe.sealed_steps)
        return self._sealed(lock, recipe, platform, files, places, known, sealer)[0]

    def _sealed(
        self,
        lock: Lock,
        recipe: Recipe,
        platform: str,
        files: Mapping[int, Sequence[FileEntry]],
        places: Sequence[int],
        known: dict[str, LockedSeal],
        sealer: Callable[[ImageDerivation], Sealer],
        *,
        numbered: bool = True,
    ) -> tuple[Lock, bool]:
        """The lock of one image with the seals of its ``places``, and whether all are there. ``numbered``: its steps
        are those that a user may name by number."""
        from ..building.sealed import ready
        from ..deriving.derivation import derive, taken_by
        from ..deriving.sealed import question

        for index in places:
            below = derive(lock, recipe, platform, files, below=index)
            hashes = [layer.hash for layer in below.layers]
            taken = taken_by(lock, recipe, platform, files, index) if index != CONFIGURED else None
            asked = question(lock.environment, recipe, lock.platforms[platform], platform, index, hashes, taken or ())
            wanted = {"all", str(index + 1)} if numbered else {"all"}
            seal = known.get(asked.on)
            if seal is None or (asked.on not in self._fresh and wanted & {*self.again}):
                if (machine := foreign(platform, lent=True)) is not None:
                    self.reporter.warn(
                        f"{lock.environment}: `{asked.title}` is not sealed for {platform}: this machine is {machine}; "
                        "lock there, too, or leave the platform out: nothing can be built for it"
                    )
                    return lock, False
                part = lock.platforms[platform] if index == CONFIGURED else None
                one = sealer(below)
                ready(below, index, recipe, lock, files, one)
                seal = known[asked.on] = self._made(one, below, asked, index, seal, part)
            held = lock.platforms[platform]
            done = replace(held, seals=(*held.seals, replace(seal, step=index)))
            lock = replace(lock, platforms={**lock.platforms, platform: done})
        return lock, True

    def _configured(
        self, recipe: Recipe, lock: Lock, platform: str, known: Mapping[str, LockedSeal]
    ) -> tuple[int, ...]:
        """The place of dpkg's layer, if the image has one; packages are looked into only where no lock tells."""
        from ..deriving.derivation import derive
        from ..deriving.sealed import question

        part = lock.platforms[platform]
        if not recipe.apt_packages or part.base is not None:
            return ()
        below = [layer.hash for layer in derive(lock, recipe, platform, below=CONFIGURED).layers]
        on = question(lock.environment, recipe, part, platform, CONFIGURED, below).on
        return (CONFIGURED,) if on in known or self.configures(part) else ()

    def _made(
        self,
        sealer: Sealer,
        below: ImageDerivation,
        asked: Question,
        index: int,
        before: LockedSeal | None,
        part: LockedPlatform | None,
    ) -> LockedSeal:
        """Run the step, and say what came of it."""
        number, title = len(asked.step.words), asked.title
        copies = f"{number} {'copy' if number == 1 else 'copies'}"
        what = copies if asked.step.copies else counted(number, "command")
        self.reporter.note(f"{below.environment}: sealing `{title}` ({below.platform}): {what}")
        seal, outcome, log = sealer.seal(below, asked, index, part=part)
        self._fresh.add(asked.on)
        run = SealRun(
            below.environment, below.platform, index + 1, title, asked.step.words, seal.network, outcome.seconds,
            len(outcome.listing), outcome.content, seal.size, seal.digest, seal.reproducible, outcome.differs, str(log),
        )  # fmt: skip
        self.runs.append(run)
        self.reporter.note(
            f"{run.environment}: sealed `{title}`: {duration(run.seconds)}, {counted(run.paths, 'path')}, "
            f"{size(run.content)} ({size(run.size)} packed), network {run.network}; its output is in {log}"
        )
        if run.differs:
            shown = ", ".join(f"`{path}`" for path in run.differs[:_SHOWN])
            more = len(run.differs) - _SHOWN
            self.reporter.warn(
                f"{run.environment}: `{title}` is not reproducible: {shown}"
                + (f" and {more} more" if more > 0 else "")
                + " came out otherwise the second time. The first outcome is sealed: keep it in a cache, a registry or "
                "a bundle, as no other machine may be able to make it again"
            )
        if outcome.dropped:
            self.reporter.warn(
                f"{run.environment}: `{title}` left what no layer holds (sockets, pipes, devices): "
                + ", ".join(f"`{path}`" for path in outcome.dropped[:_SHOWN])
            )
        if before is not None and before.diff_id != seal.diff_id:
            where = first_difference(before.sketch, outcome.listing)
            self.reporter.note(
                f"{run.environment}: `{title}` was {before.digest}; the first difference: {where or 'its headers'}"
            )
        return seal
