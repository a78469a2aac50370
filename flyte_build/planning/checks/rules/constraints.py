"""The two constraints on calls between environments, proven for a loaded project before anything is built.

1. The caller's environment must reach the callee's by ``depends_on``; otherwise its image is not prepared.
2. The caller's image must have everything that the callee's module imports, because calling a task by its function
   imports that module into the caller's container; remote tasks are exempt.

And the third that goes without saying: an image has what its own tasks import. Every answer about modules comes from
the locked wheels' contents. Runs no task and builds nothing; what cannot be decided is a note.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ....kernel.errors import FlyteBuildError, LoadError
from ....locks.nouns import Lock, LockedWheel
from ....project.source_files import Sources
from ....recipe import CopyFiles, Recipe
from ..interpreter.calls import Call, CallGraph, Reach
from ..interpreter.imports import Need
from ..interpreter.rounds import TooMuch
from ..interpreter.uses import Certainty
from ..wheels.modules import ModulesOf
from .advice import Advice
from .findings import Finding, Severity, in_order
from .judging import Image, Problem
from .reaching import Images, Reaching, needs_of
from .wording import SEVERITY, VERB, hint, short, verdict, version

if TYPE_CHECKING:
    from ....project.loading import Environment, Project, Task

__all__ = ["check"]


def check(
    project: Project,
    environments: Iterable[Environment],
    locks: Mapping[str, Lock],
    platform: str,
    modules_of: ModulesOf,
    *,
    load: Callable[[str], types.ModuleType] | None = None,
) -> list[Finding]:
    """Everything that is wrong with the calls of ``environments``' tasks on ``platform`` (``linux/amd64``), in order.

    ``locks`` by environment; more than those of ``environments`` make better messages, and an environment without one
    is judged by constraint 1 only, with a note. ``modules_of`` gives the modules of locked wheels
    (``wheels.contents.Contents``). ``load`` imports a module of the project that only a task would import.
    Deterministic; raises nothing of its own.
    """
    return _Check(project, list(environments), locks, platform, modules_of, load).run()


class _Check:
    def __init__(
        self,
        project: Project,
        environments: Sequence[Environment],
        locks: Mapping[str, Lock],
        platform: str,
        modules_of: ModulesOf,
        load: Callable[[str], types.ModuleType] | None,
    ) -> None:
        self.project = project
        self.environments = {e.name: e for e in environments}
        self.sources = Sources(project.root, map(Path, sys.path))
        self.graph = CallGraph(self.sources, self._loading)
        self.images = Images(locks, platform, modules_of, self.sources)
        self.reaching = Reaching(self.sources, self.graph)
        self.advice = Advice(self.sources)
        self.findings: list[Finding] = []
        self._load = load
        self._covered: set[tuple[str, str, str, int]] = set()
        self._closures: dict[str, frozenset[str]] = {}

    def run(self) -> list[Finding]:
        tasks = [t for t in self.project.tasks if t.environment in self.environments]
        reaches = [(task, reach) for task in tasks if (reach := self._reach(task)) is not None]
        for name in dict.fromkeys(task.environment for task in tasks):
            self._unlocked(self.environments[name])
        for task, reach in reaches:
            for call in reach.calls:
                self._first(task, call)
                self._second(task, call)
            for left in reach.undecided:
                at = left.way[0]
                self._find("note", "undecided-call", f"{task.name}: {left.text}", at.file, at.line, task.environment)
        for task, reach in reaches:
            with self._bounded(task):
                self._own(task, reach)
        for bad in self.sources.unreadable.values():
            self._find("warning", "module-unreadable", bad.reason, self.sources.show(bad.file), bad.line, "")
        return in_order(self.findings)

    def _reach(self, task: Task) -> Reach | None:
        with self._bounded(task):
            return self.graph.of_task(task.template, task.full_name)

    @contextmanager
    def _bounded(self, task: Task) -> Iterator[None]:
        """What takes more work than a check may is not decided, and said to be."""
        try:
            yield
        except TooMuch:
            text = f"{task.name}: not decided: following what it calls takes more work than a check may"
            file, _, line = task.location.rpartition(":")
            if not any(f.code == "undecided-call" and f.message == text for f in self.findings):
                self._find("note", "undecided-call", text, file, int(line) if line.isdigit() else 0, task.environment)

    def _find(
        self,
        severity: Severity,
        code: str,
        message: str,
        file: str,
        line: int,
        environment: str,
        hint: str | None = None,
    ) -> None:
        self.findings.append(Finding(severity, code, message, file, line, environment, hint))

    def _loading(self, name: str) -> types.ModuleType | None:
        try:
            if self._load is not None:
                return self._load(name)
            from ....project.loading import load_module

            return load_module(self.project, name)
        except LoadError as e:
            local = self.sources.find(name)
            file = self.sources.show(local.file) if local is not None and local.file is not None else name
            self._find("warning", "module-unreadable", e.message, file, 0, "", e.hint)
            return None

    def _unlocked(self, environment: Environment) -> None:
        if self.images.of(environment.name) is not None:
            return
        refused = isinstance(environment.wish, FlyteBuildError)
        why = f"its image cannot be locked: {environment.wish}" if refused else "it has no lock"
        message = f"{environment.name}: what its tasks import on {self.images.platform} was not checked: {why}"
        way_out = None if refused else "run `flyte-build lock`"
        self._find("note", "not-checked", message, environment.location, 0, environment.name, way_out)

    def _named(self, template: object) -> str:
        return self.advice.image_of(template, self.graph.file_of(template))

    def _recipe(self, environment: str | None) -> Recipe | None:
        known = self.project.environments.get(environment) if environment is not None else None
        return known.wish if known is not None and isinstance(known.wish, Recipe) else None

    # -- constraint 1 ------------------------------------------------------------------------------

    def _closure(self, environment: str) -> frozenset[str]:
        if environment not in self._closures:
            seen: set[str] = set()
            pending = [environment]
            while pending:
                name = pending.pop()
                if name not in seen:
                    seen.add(name)
                    known = self.project.environments.get(name)
                    pending.extend(known.depends_on if known is not None else ())
            self._closures[environment] = frozenset(seen)
        return self._closures[environment]

    def _first(self, task: Task, call: Call) -> None:
        if call.remote:
            return
        at, ours, theirs = call.place, task.environment, call.environment
        who = f"{task.name} ({ours}) {VERB[call.certainty]} {short(call)}"
        if theirs is None:
            message = f"{who}{call.through}, which belongs to no environment"
            self._find("note", "task-without-environment", message, at.file, at.line, ours)
        elif theirs not in self._closure(ours):
            if self._runs_anyway(task, call, who):
                return
            code = "depends-on-missing" if call.certainty > Certainty.PERHAPS else "undecided-call"
            message = f"{who} ({theirs}){call.through}, but {ours} does not depend on {theirs}"
            way_out = self.advice.depends_on(task.template, call.template)
            self._find(SEVERITY[call.certainty], code, message, at.file, at.line, ours, way_out)

    def _runs_anyway(self, task: Task, call: Call, who: str) -> bool:
        """Whether Flyte finds the callee's image without ``depends_on`` of the caller's environment; a note says how.

        The table of images is made for the run's root and goes along to all it calls.
        """
        at, ours, theirs = call.place, task.environment, call.environment
        assert theirs is not None
        roots = [name for name in self.environments if {ours, theirs} <= self._closure(name)]
        known = self.project.environments.get(theirs)
        if roots:
            why = f"works in runs that start in {', '.join(sorted(roots))}, as {ours} does not depend on {theirs}"
        elif known is not None and known.plain:
            why = f"works as its image is found by name, though {ours} does not depend on {theirs}"
        else:
            return False
        way_out = self.advice.depends_on(task.template, call.template)
        message = f"{who} ({theirs}){call.through}: {why}"
        self._find("note", "depends-on-missing", message, at.file, at.line, ours, way_out)
        return True

    # -- constraint 2 ------------------------------------------------------------------------------

    def _second(self, task: Task, call: Call) -> None:
        if call.remote or call.environment in (None, task.environment) or call.certainty == Certainty.PERHAPS:
            return
        assert call.environment is not None
        image, module = self.images.of(task.environment), self.reaching.module_of(call.template)
        if image is None or module is None:
            return
        theirs = self.images.of(call.environment)
        for need in needs_of(self.reaching.importing(image, module), image):
            problems, wheels = image.judge(need.what)
            for problem in problems if need.required else ():
                self._lacks(task, call, need, problem, theirs)
            for wheel in wheels:
                self._differs(task, call, wheel, theirs)

    def _who(self, task: Task, call: Call) -> str:
        return f"{task.environment} {VERB[call.certainty]} {short(call)} ({call.environment}), whose module imports"

    def _lacks(self, task: Task, call: Call, need: Need, problem: Problem, theirs: Image | None) -> None:
        label, wheel = self.images.owner(problem, theirs)
        self._covered.add((task.environment, label, need.file, need.what.line))
        code, ends = verdict(problem, self._named(task.template))
        severity: Severity = "warning" if need.what.conditional else SEVERITY[call.certainty]
        via = "" if len(need.modules) == 1 else f" through {need.modules[-1]}"
        self._find(
            severity if code == "import-missing" else "note",
            code,
            f"{self._who(task, call)} {label}{version(wheel)}{via}: {ends}",
            call.place.file,
            call.place.line,
            task.environment,
            hint(problem, self.advice, task.template, call.template, self._recipe(call.environment), wheel),
        )

    def _differs(self, task: Task, call: Call, wheel: LockedWheel, theirs: Image | None) -> None:
        other = theirs.modules.has(wheel.name) if theirs is not None else None
        if other is None or other.version == wheel.version:
            return
        have = f"{self._named(task.template)} has {wheel.version}, {self._named(call.template)} has {other.version}"
        message = f"{self._who(task, call)} {wheel.name}: {have}"
        way_out = f"lock both together (`flyte-build lock`), or pin `{wheel.name}` the same in both"
        at = call.place
        self._find("warning", "version-differs", message, at.file, at.line, task.environment, way_out)

    # -- an image's own ----------------------------------------------------------------------------

    def _own(self, task: Task, reach: Reach) -> None:
        image, module = self.images.of(task.environment), self.reaching.module_of(task.template)
        if image is None or module is None:
            return
        found = [*self.reaching.importing(image, module), *self.reaching.running(image, reach)]
        for need in needs_of(found, image):
            for problem in image.judge(need.what)[0]:
                self._own_lacks(task, need, problem)
        for part in found:
            for file, unknown in part.dynamic:
                text = f"`{unknown.text}`: which module this imports cannot be told before it runs"
                self._find("note", "undecided-call", text, file, unknown.line, task.environment)

    def _own_lacks(self, task: Task, need: Need, problem: Problem) -> None:
        label, wheel = self.images.owner(problem, None)
        if (task.environment, label, need.file, need.what.line) in self._covered:
            return
        name = self._named(task.template)
        code, ends = verdict(problem, name)
        severity: Severity = "warning" if need.what.conditional else "error"
        copied = self._copied(task.environment, label)
        if copied is not None and code == "import-missing":
            code = "import-unknown"
            ends = f"{name} has a copy of `{copied}`, and whether Python finds it there depends on PYTHONPATH"
        if code != "import-missing" or not need.required:
            severity = "note"
        how = "imports" if need.required else "would import"
        message = f"{task.environment}: {need.modules[-1]} {how} {label}{version(wheel)}: {ends}"
        way_out = hint(problem, self.advice, task.template, None, None, wheel) if severity != "note" else None
        self._find(severity, code, message, need.file, need.what.line, task.environment, way_out)

    def _copied(self, environment: str, module: str) -> str | None:
        """The folder that the image copies and that has the module, where there is one."""
        recipe = self._recipe(environment)
        top = module.partition(".")[0]
        for step in recipe.steps if recipe is not None else ():
            if isinstance(step, CopyFiles) and step.folder:
                folder = self.project.root / step.source
                if (folder / top).is_dir() or (folder / f"{top}.py").is_file():
                    return f"{step.source}/{top}"
                if PurePosixPath(step.destination).name == top and any(folder.glob("*.py")):
                    return step.source
        return None
