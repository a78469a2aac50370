"""One stage for the steps of a command: layers that several of them lie on are unpacked once, and go at its end.

A lock that builds many wheels over one image would else unpack that image for each of them, twice and more. What is
kept is what steps lie on, never what they changed: every run has an upper folder of its own. A stage that did not
answer (an interrupt, a limit) is ended, and the next step begins with a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..kernel.errors import ArtifactError
from .nouns import Below
from .process import StageProcess

__all__ = ["Laid", "Stages"]


@dataclass(frozen=True, slots=True)
class Laid:
    """``over``: the folders of a step's layers, highest first; ``roots``: the same of what it takes files from.
    ``number``: of the step, in its stage."""

    stage: StageProcess
    over: tuple[str, ...]
    number: int
    roots: tuple[tuple[str, ...], ...] = ()


class Stages:
    """A context manager. ``place`` gives the path of a new folder for a stage when one is needed. One step at once."""

    def __init__(self, place: Callable[[], Path]) -> None:
        self._place = place
        self._stage: StageProcess | None = None
        self._held: dict[tuple[str, ...], str] = {}
        self._made = self._steps = 0

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        stage, self._stage = self._stage, None
        if stage is not None:
            stage.__exit__(kind, value, tb)

    @contextmanager
    def over(
        self,
        below: Sequence[Below],
        heard: Callable[[bytes], None],
        attach: Callable[[int], None],
        limit: float,
        roots: Sequence[Sequence[Below]] = (),
    ) -> Iterator[Laid]:
        """The stage with the layers ``below`` (lowest first), and those of ``roots``, for one step; see
        :meth:`StageProcess.serve`.

        Raises :class:`ArtifactError` for a layer that is none, and :class:`SandboxError` where there can be no stage.
        """
        stage = self._begun()
        stage.serve(heard, attach, limit)
        self._steps += 1
        number, passing = self._steps, list[tuple[str, ...]]()
        try:
            over = self._chain(stage, below, passing)
            yield Laid(stage, over, number, tuple(self._chain(stage, root, passing) for root in roots))
        finally:
            gone = [self._held.pop(chain) for chain in passing]
            if stage.lost:
                self._held.clear()
                self.__exit__(None, None, None)
            else:
                runs = [f"{kind}-{number}-{n}" for kind in ("root", "upper", "work", "more") for n in (1, 2)]
                stage.ask("remove", names=[*runs, *gone])

    def _chain(self, stage: StageProcess, below: Sequence[Below], passing: list[tuple[str, ...]]) -> tuple[str, ...]:
        """The folders of the layers ``below``, highest first; those that are to go are put to ``passing``."""
        chain: tuple[str, ...] = ()
        over: tuple[str, ...] = ()
        for one in below:
            chain = (*chain, one.diff_id)
            if chain not in self._held:
                self._held[chain] = self._unpacked(stage, one, over)
                passing += [chain] if one.passing else []
            over = (self._held[chain], *over)
        return over

    def _begun(self) -> StageProcess:
        if self._stage is None:
            self._stage = StageProcess(self._place()).__enter__()
        return self._stage

    def _unpacked(self, stage: StageProcess, one: Below, over: Sequence[str]) -> str:
        self._made += 1
        name = f"l{self._made}"
        with open(one.path, "rb") as blob:
            found = stage.ask("unpack", [blob], name=name, over=list(over), diff_id=one.diff_id)
        if "bad" in found:
            raise ArtifactError(f"layer {one.diff_id}: {found['bad']}", hint="run `flyte-build store verify`")
        return name
