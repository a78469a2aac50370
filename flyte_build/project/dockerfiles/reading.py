"""What is known of a Dockerfile while it is read: its arguments, variables, user and shell, and the stages it asks for.

``Reading`` is of the whole file, ``State`` of one stage on its way. Judges no instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...kernel.canonical import Json
from ...kernel.errors import RefusedError
from ...recipe import CopyFiles, Known, RegistryBase, RunCommands, Scratch, Stage, Step
from ...recipe.docker_words import deferred, known, words_of
from .text import Instruction, StageText

__all__ = ["GIVEN", "ElsewhereError", "Reading", "State"]

_HINT = (
    "leave the line out, build the image elsewhere and use `flyte.Image.from_base(…)`, say it with with_* methods, or "
    'leave it to flyte\'s own builder, unpinned: `policy = "delegate"`'
)
# What BuildKit gives to every build: here for the machine that the step is sealed on, which is that of its platform.
_MACHINE = '$(case "$(uname -m)" in x86_64) echo amd64;; aarch64) echo arm64;; *) uname -m;; esac)'
_PARTS = (("PLATFORM", f"linux/{_MACHINE}"), ("OS", "linux"), ("ARCH", _MACHINE), ("VARIANT", ""))
GIVEN: Mapping[str, str] = {f"{of}{name}": value for of in ("TARGET", "BUILD") for name, value in _PARTS}
"""BuildKit's own arguments, as a shell finds them out."""


class ElsewhereError(RefusedError):
    """A line that no step means, and that another builder may know what to do with."""


@dataclass
class Reading:
    """``relative`` writes a path of the context as recipes have it; ``platforms``: those of the image. ``outside``: the
    arguments that stand before the first stage; ``stages``: what is copied from, each after those that it takes from;
    ``made``: which of the file's stages they are, by number. ``known``: what a lock knows of it; ``begun``: what the
    images that it stands on have it begin with (``ONBUILD``), by name."""

    owner: str
    file: Path
    relative: Callable[[Path], str]
    platforms: Sequence[str]
    texts: Sequence[StageText] = ()
    outside: dict[str, str] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    made: dict[int, int] = field(default_factory=dict)
    known: Known = field(default_factory=Known)
    begun: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def context(self) -> Path:
        return self.file.parent

    @property
    def given(self) -> dict[str, str]:
        """The values of BuildKit's own arguments, where there is one platform only."""
        if len(self.platforms) != 1:
            return {}
        system, _, machine = self.platforms[0].partition("/")
        values = {"PLATFORM": self.platforms[0], "OS": system, "ARCH": machine, "VARIANT": ""}
        return {f"{of}{name}": value for of in ("TARGET", "BUILD") for name, value in values.items()}

    def refuse(self, one: Instruction, why: str, *, elsewhere: bool = False) -> RefusedError:
        kind = ElsewhereError if elsewhere else RefusedError
        of = f" (ONBUILD of {one.of})" if one.of else ""
        return kind(f"{self.owner}: {self.file.name}:{one.line}: `{one.words}`{of}: {why}", hint=_HINT)

    def added(self, stage: Stage) -> int:
        """The number of a stage, which is one of those from now on."""
        if stage not in self.stages:
            self.stages.append(stage)
        return self.stages.index(stage)

    def split(self, one: Instruction, text: str) -> list[str]:
        """The words of ``text``, with their quotes."""
        try:
            return words_of(text)
        except ValueError as e:
            raise self.refuse(one, f"cannot be read: {e}") from None


@dataclass
class State:
    """``number``: of the stage, from 0. ``arguments`` and ``variables`` are those in force, ``asked`` which of
    BuildKit's own were asked for, ``unset`` which have no value, ``shell`` what runs commands (empty: /bin/sh -c),
    ``user`` who (empty: the base's; ``None``: root). ``settings``: fields of the image's configuration. ``below``: the
    stage that it stands on."""

    r: Reading
    number: int
    base: RegistryBase | Scratch
    steps: list[Step] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    unset: set[str] = field(default_factory=set)
    shell: tuple[str, ...] = ()
    user: str | None = ""
    settings: dict[str, Json] = field(default_factory=dict)
    below: int | None = None

    def above(self, number: int) -> State:
        """What a stage that stands on this one begins with."""
        return State(
            self.r, number, self.base, list(self.steps), dict(self.arguments), dict(self.variables), set(self.asked),
            set(self.unset), self.shell, self.user, dict(self.settings), self.number,
        )  # fmt: skip

    @property
    def values(self) -> dict[str, str]:
        """What variables come to in an instruction."""
        given = {name: value for name, value in self.r.given.items() if name in self.asked}
        return dict.fromkeys(self.unset, "") | given | self.arguments | self.variables

    def known(self, one: Instruction, word: str, *, quotes: bool = True) -> str:
        """The word, of whose variables each has to be set in the file."""
        try:
            found, unknown = known(word, self.values, quotes=quotes)
        except ValueError as e:
            raise self.r.refuse(one, str(e)) from None
        if unknown:
            more = "" if quotes else ": quote the here-document's name"
            raise self.r.refuse(one, f"nothing in the file sets ${unknown[0]}{more}", elsewhere=True)
        return found

    def later(self, one: Instruction, word: str) -> str:
        """The word, whose unknown variables are filled in with the base's, once that is known."""
        try:
            return deferred(word, self.values)
        except ValueError as e:
            raise self.r.refuse(one, str(e)) from None

    def run(self, step: RunCommands) -> None:
        """Put commands or copies behind those that are there: into one step, where nothing parts them."""
        last = self.steps[-1] if self.steps else None
        if isinstance(last, RunCommands) and _alike(last, step):
            step = RunCommands(
                (*last.commands, *step.commands), step.secrets, step.user, step.mounts, step.offline,
                (*last.copies, *step.copies), based=step.based,
            )  # fmt: skip
            self.steps.pop()
        self.steps.append(step)

    def ran(self) -> Iterable[RunCommands]:
        """What ran in this stage so far."""
        return (step for step in self.steps if isinstance(step, RunCommands) and step.commands)

    def copied(self, steps: Iterable[CopyFiles]) -> int:
        """The number of a stage that has nothing but files of the project."""
        return self.r.added(Stage("the Dockerfile's folder", Scratch(), tuple(steps)))


def _alike(last: RunCommands, step: RunCommands) -> bool:
    kinds = [(bool(x.copies), x.secrets, x.mounts, x.offline, x.user, x.based) for x in (last, step)]
    return kinds[0] == kinds[1]
