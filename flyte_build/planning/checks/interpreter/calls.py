"""Which tasks each task calls: directly, through helpers of the project, or perhaps.

Every function that a task reaches is walked once for each distinct set of arguments that matter; then each task follows
the edges between them. A reference to a task is never dropped: where it is not plainly called it counts as a call that
may happen, and a call whose target cannot be told is said to be one.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ....kernel.values import dataclass, replace
from ....project.source_files import Sources
from . import values as v
from .evaluate import Evaluator, Frame
from .strings import calls_in, made_in
from .uses import Certainty
from .walker import Walker

__all__ = ["Call", "CallGraph", "Certainty", "Hop", "Reach", "Undecided"]


@dataclass(frozen=True, slots=True)
class Hop:
    """A step of the way: in ``function``, at ``line`` of ``file`` (relative to the root), the next one is called."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line})"


@dataclass(frozen=True, slots=True)
class Call:
    """``caller`` (a task's full name) calls the task ``callee`` of ``environment`` (``None``: of none).

    ``way`` starts in the caller's own body; what follows are the helpers in between.
    """

    caller: str
    callee: str
    environment: str | None
    certainty: Certainty
    way: tuple[Hop, ...]
    remote: bool
    template: object

    @property
    def place(self) -> Hop:
        return self.way[0]

    @property
    def through(self) -> str:
        """ " through helper (x.py:3)", or nothing for a direct call."""
        return " through " + ", ".join(map(str, self.way[1:])) if len(self.way) > 1 else ""


@dataclass(frozen=True, slots=True)
class Undecided:
    """Something that ``caller`` does whose meaning the source does not tell."""

    caller: str
    text: str
    way: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """Everything that running a function (or importing a module) reaches."""

    calls: tuple[Call, ...]
    undecided: tuple[Undecided, ...]
    frames: tuple[Frame, ...]


class CallGraph:
    """The calls of one project. ``load`` imports a module of the project that nothing has imported yet."""

    def __init__(self, sources: Sources, load: Callable[[str], types.ModuleType | None] = lambda _: None) -> None:
        self.sources = sources
        self.evaluator = Evaluator(sources, load)
        self._walker = Walker(self.evaluator)

    def of_task(self, template: object, name: str) -> Reach:
        """What the task called ``name`` reaches when it runs."""
        reach = self._reach(name, self.start(template))
        said = tuple(self._said(template, name))
        return Reach((*reach.calls, *said), reach.undecided, reach.frames) if said else reach

    def _said(self, template: object, caller: str) -> Iterator[Call]:
        """The calls of a task that is code, given as text."""
        file = made_in(template)
        for function, sure, line in calls_in(template):
            way = (Hop(caller, self.sources.show(file) if file else "", line),)
            certainty = Certainty.SURE if sure else Certainty.MAY
            if v.is_task(function) or v.is_remote(function):
                yield self._call(caller, function, certainty, way)
                continue
            inner = self._reach(caller, self.start_of(function))
            for call in inner.calls:
                yield replace(call, certainty=min(certainty, call.certainty), way=(*way, *call.way))

    def of_module(self, module: types.ModuleType) -> Reach:
        """What the functions reach that are called while ``module`` is imported; the module's own frame is left out."""
        frame = self.evaluator.module_frame(module)
        reach = self._reach(module.__name__, [frame] if frame is not None else [])
        return Reach(reach.calls, reach.undecided, tuple(f for f in reach.frames if f is not frame))

    def start(self, template: object) -> list[Frame]:
        """The frames of a task's body, a decorator of the project's around it included."""
        return self.start_of(getattr(template, "func", None))

    def start_of(self, function: object) -> list[Frame]:
        """The frames of a function, a decorator of the project's around it included."""
        return [f for target in self.evaluator.wrapped(function) for f in self.evaluator.frames(target)]

    def file_of(self, template: object) -> Path | None:
        """The file that defines the task's function; ``None`` where it is not the project's."""
        if (made := made_in(template)) is not None:
            return made if self.sources.owns(made) else None
        function = getattr(template, "func", None)
        inner = v.unwrapped(function, self.sources.owns)
        while (deeper := getattr(inner, "__wrapped__", None)) is not None and v.owned_code(deeper, self.sources.owns):
            inner = deeper
        code = getattr(inner, "__code__", None)
        file = Path(code.co_filename) if code is not None else None
        return file if file is not None and self.sources.owns(file) else None

    def _reach(self, caller: str, start: Iterable[Frame]) -> Reach:
        queues: dict[Certainty, deque[tuple[Frame, tuple[Hop, ...]]]] = {c: deque() for c in Certainty}
        queues[Certainty.SURE].extend((frame, ()) for frame in start)
        seen: set[tuple[object, ...]] = set()
        frames: list[Frame] = []
        calls: dict[tuple[str, str | None], Call] = {}
        undecided: dict[tuple[str, int, str], Undecided] = {}
        for level in sorted(Certainty, reverse=True):
            while queues[level]:
                frame, way = queues[level].popleft()
                if frame.key in seen:
                    continue
                seen.add(frame.key)
                if level > Certainty.PERHAPS:
                    frames.append(frame)
                shown = self.sources.show(frame.file)

                def at(
                    line: int, frame: Frame = frame, way: tuple[Hop, ...] = way, shown: str = shown
                ) -> tuple[Hop, ...]:
                    return (*way, Hop(frame.label, shown, line))

                found = self._walker.summary(frame)
                for use in found.uses:
                    call = self._call(caller, use.task, min(level, use.certainty), at(use.line))
                    known = calls.get((call.callee, call.environment))
                    if known is None or call.certainty > known.certainty:
                        calls[call.callee, call.environment] = call
                for edge in found.edges:
                    queues[min(level, edge.certainty)].append((edge.frame, at(edge.line)))
                for line, text in found.notes if level > Certainty.PERHAPS else ():
                    undecided.setdefault((shown, line, text), Undecided(caller, text, at(line)))
        return Reach(tuple(calls.values()), tuple(undecided.values()), tuple(frames))

    def _call(self, caller: str, task: object, certainty: Certainty, way: tuple[Hop, ...]) -> Call:
        remote = v.is_remote(task)
        name = str(getattr(task, "name", None) or "a remote task")
        return Call(caller, name, None if remote else v.environment_of(task), certainty, way, remote, task)
