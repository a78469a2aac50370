"""What uv's projects bring into an image, and how the image's other packages are chosen around it.

uv's word on its projects stands: their packages are in the image as uv says, whatever else the image asks for. The
others are resolved with stand-ins of them, wheels of a name and a version and nothing else, so that no resolver looks
for a project's package on an index that the project does not name.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ...kernel.reporting import Reporter
from ...locks.lockfile import LockedWheel
from ...recipe import PipInstall, Recipe, SourceTree
from ...sources.indexes import IndexSettings, WheelMetadata
from ...sources.uv_projects import ProjectClient, UvSources
from ..wheels import Target
from .choice import choose
from .closure import Distribution
from .question import Answer, NoSolution
from .sources import Built, Sources
from .uv_answers import spoken
from .uv_builds import UvBuilds
from .uv_lacking import Lacking
from .uv_projects import Exported, export
from .uv_repositories import UntoldError
from .uv_told import Told

__all__ = ["Held", "Projects"]


@dataclass(frozen=True, slots=True)
class _Wheel:
    wheel: LockedWheel
    metadata: WheelMetadata

    @property
    def extras(self) -> tuple[str, ...]:
        """The requirements that hold for some extra only; what the package itself requires uv has brought."""
        return tuple(text for text in self.metadata.requires if "extra" in text.partition(";")[2])


@dataclass(frozen=True, slots=True)
class Held:
    """The packages of an image that uv names, by name; ``stand_ins`` are files that resolvers are shown for them,
    ``builds`` how those of them were made that have no wheel; ``there``: the versions of those that conda packages
    bring."""

    wheels: Mapping[str, _Wheel] = field(default_factory=dict)
    stand_ins: tuple[Path, ...] = ()
    builds: Mapping[str, Built] = field(default_factory=dict)
    there: Mapping[str, str] = field(default_factory=dict)

    @property
    def brought(self) -> frozenset[str]:
        """The names of all that is settled."""
        return frozenset((*self.wheels, *self.there))

    def rest(self, recipe: Recipe) -> Recipe:
        """What else the image asks for. A flyte that uv names is the image's; the client's is not asked for then."""
        steps = tuple(PipInstall(()) if isinstance(s, PipInstall) and s.uv is not None else s for s in recipe.steps)
        return replace(recipe, steps=steps, flyte=None if "flyte" in self.wheels else recipe.flyte)

    def without(self, answer: Answer) -> Answer:
        """``answer`` without the stand-ins."""
        return replace(answer, pins={n: pin for n, pin in answer.pins.items() if n not in self.brought})

    def distributions(self) -> dict[str, Distribution | Exception]:
        """For the closure of the others: these are there, with what their extras bring."""
        there: dict[str, Distribution | Exception] = {n: Distribution(n, v, ()) for n, v in self.there.items()}
        return there | {n: Distribution(n, w.wheel.version, w.extras) for n, w in self.wheels.items()}

    def locked(self) -> tuple[LockedWheel, ...]:
        return tuple(held.wheel for held in self.wheels.values())


class Projects:
    """Asks uv about every project once. ``folder`` is for stand-ins; the other arguments are ``solve_universe``'s."""

    def __init__(
        self,
        root: Path,
        settings: IndexSettings,
        cutoff: str | None,
        refresh: bool | tuple[str, ...],
        folder: Path,
        reporter: Reporter,
        sources: Sources,
    ) -> None:
        self._made = UvBuilds(root, folder, sources, reporter)
        self._lacking = Lacking(root, settings, sources, folder / "lacking")
        self._builds = sources.builds
        self._root, self._settings, self._cutoff, self._refresh = root, settings, cutoff, refresh
        self._folder, self._reporter = folder, reporter
        self._exported: dict[PipInstall, Exported] = {}
        self._held: dict[tuple[PipInstall, Target], dict[str, _Wheel]] = {}
        self._told: set[tuple[str, tuple[str, ...]]] = set()

    def held(self, environment: str, recipe: Recipe, target: Target) -> Held:
        """What the uv steps of ``recipe`` bring on ``target``, a later one's word before an earlier one's."""
        found: dict[str, _Wheel] = {}
        for number, step in enumerate(recipe.pip_steps, 1):
            if step.uv is None:
                continue
            for name, one in self._step(step, target, f"environment {environment}").items():
                if name not in found or found[name].wheel.sha256 != one.wheel.sha256:
                    found[name] = replace(one, wheel=replace(one.wheel, step=number))
        # Without a uv.lock only its step says whose a wheel is, and so where it may be had.
        if recipe.flyte is not None and all(s.uv is None or s.uv.locked is not None for s in recipe.pip_steps):
            found |= _runtime(found, target)
        made = {name: built for name in found if (built := self._made.of(found[name].wheel.sha256)) is not None}
        there = {n: version for n, version in conda_distributions(recipe, target.platform).items() if n not in found}
        held = [
            self._stand_in(found[name].wheel.name, found[name].wheel.version, found[name].extras)
            for name in sorted(found)
        ]
        return Held(found, (*held, *(self._stand_in(n, there[n], ()) for n in sorted(there))), made, there)

    def _step(self, step: PipInstall, target: Target, where: str) -> dict[str, _Wheel]:
        if (step, target) not in self._held:
            self._held[step, target] = self._ask(step, target, where)
        return self._held[step, target]

    def _ask(self, step: PipInstall, target: Target, where: str) -> dict[str, _Wheel]:
        assert step.uv is not None
        environment = where.removeprefix("environment ")
        if step not in self._exported:
            self._exported[step] = self._answer(step, target, environment)
            for warning in self._exported[step].warnings:
                self._reporter.warn(warning)
        said = spoken(self._exported[step], target, where, builds=self._builds, installs=step.uv.installs)
        if said.editable and (step.uv.file, said.editable) not in self._told:
            self._told.add((step.uv.file, said.editable))
            self._reporter.note(
                f"{step.uv.file}: the code of {', '.join(said.editable)} is not in the image, as an editable install "
                "leaves it where it is; the code bundle or with_source_folder brings it"
            )
        sources = UvSources(step, self._root, self._settings)
        client = ProjectClient(sources, said.registries)
        try:
            made = self._made.build(said, sources, target, environment, client)
            made = (*made, *self._made.noted(self._lacking.of(step, target, environment, said.answer)))
            chosen = choose(said.answer, target, client, made, self._reporter)
        finally:
            client.close()
        for found in chosen.distributions.values():
            if isinstance(found, Exception):
                raise found
        return {name: _Wheel(chosen.locked(name, 0), metadata) for name, (_, _, metadata) in chosen.wheels.items()}

    def _answer(self, step: PipInstall, target: Target, environment: str) -> Exported:
        """uv's, once all that it has to be shown was made."""
        assert step.uv is not None
        known: dict[str, Told] = {}

        def read(name: str, tree: SourceTree) -> None:
            sources = UvSources(step, self._root, self._settings)
            known[name] = self._made.told(name, tree, sources, target, environment)

        while True:
            links = self._lacking.links(step)
            try:
                with self._reporter.work(f"asking uv about {step.uv.file}"):
                    given = export(step, self._root, self._settings, self._cutoff, self._refresh, links, known)
                # What will be built anyway tells its own version.
                wanted = spoken(given, target, f"environment {environment}", builds=True) if given.guessed else None
                guessed = {n: tree for n, tree in given.guessed.items() if wanted is not None and n in wanted.trees}
                if not self._builds or not guessed:
                    return given
                for name, tree in guessed.items():
                    read(name, tree)
            except UntoldError as e:
                if not self._builds or e.tree is None or e.name in known:
                    raise
                read(e.name, e.tree)
            except NoSolution as e:
                if not self._lacking.more(step, e, target, environment):
                    raise

    def _stand_in(self, name: str, version: str, required: Sequence[str]) -> Path:
        """A wheel (binary distribution format) that holds a name, a version and what the extras require."""
        extras = {canonicalize_name(e) for text in required for e in _extras(text)}
        fields = [f"Name: {name}", f"Version: {version}"]
        fields += [f"Requires-Dist: {text}" for text in required] + [f"Provides-Extra: {e}" for e in sorted(extras)]
        metadata = "\n".join(["Metadata-Version: 2.1", *fields, "", ""])
        stem = f"{name.replace('-', '_')}-{version}"
        folder = self._folder / hashlib.sha256(metadata.encode()).hexdigest()[:16]
        path = folder / f"{stem}-py3-none-any.whl"
        if not path.exists():
            folder.mkdir(exist_ok=True)
            info = f"{stem}.dist-info"
            wheel = "Wheel-Version: 1.0\nGenerator: flyte-build\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr(f"{info}/METADATA", metadata)
                archive.writestr(f"{info}/WHEEL", wheel)
                archive.writestr(f"{info}/RECORD", "".join(f"{info}/{n},,\n" for n in ("METADATA", "WHEEL", "RECORD")))
        return path


def conda_distributions(recipe: Recipe, platform: str) -> dict[str, str]:
    """The versions of Python's distributions that the image's conda packages bring, by name.

    A version that is none of Python's (PEP 440) is left out: then the package is asked of an index, as pixi does.
    """
    out: dict[str, str] = {}
    for package in recipe.conda.of(platform) if recipe.conda is not None else ():
        for name in package.pypi:
            try:
                out[name] = str(Version(package.version))
            except InvalidVersion:
                continue
    return out


def _runtime(found: Mapping[str, _Wheel], target: Target) -> dict[str, _Wheel]:
    """Those that flyte needs, moved into step 0: the layer that images share where they agree on them."""
    seen: set[tuple[str, str]] = set()
    waiting = [("flyte", "")] if "flyte" in found else []
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for wanted in _requirements(found[name].metadata.requires):
            if wanted.marker is None or wanted.marker.evaluate({**target.markers, "extra": extra}):
                needed = canonicalize_name(wanted.name)
                waiting += [(needed, e) for e in ("", *wanted.extras)] if needed in found else []
    names = {name for name, _ in seen}
    return {name: replace(found[name], wheel=replace(found[name].wheel, step=0)) for name in names}


def _requirements(texts: Iterable[str]) -> Sequence[Requirement]:
    out = []
    for text in texts:
        try:
            out.append(Requirement(text))
        except InvalidRequirement:
            continue  # uv made sense of it, or left it out
    return out


def _extras(text: str) -> list[str]:
    marker = text.partition(";")[2]
    words = marker.replace("(", " ").replace(")", " ").replace("==", " == ").split()
    return [
        w.strip("'\"") for at, w in enumerate(words) if at >= 2 and words[at - 2] == "extra" and words[at - 1] == "=="
    ]
