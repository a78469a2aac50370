"""What a user's file holds, as nouns: tasks, environments, and the project they make. Pure values.

How they are read off the SDK's objects is :mod:`flyte_build.project.environments`'s business, how a file is imported
:mod:`flyte_build.project.loading`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..kernel.errors import FlyteBuildError, LoadError
from ..kernel.paths import shown
from ..kernel.values import dataclass, field
from ..recipe import Known, Recipe

__all__ = ["AskedSecret", "Asks", "Environment", "Project", "Task"]


@dataclass(frozen=True, slots=True)
class Asks:
    """What tasks ask of a machine, in the SDK's own words; empty where nothing is said.

    ``resources`` are amounts by name (``cpu``, ``memory``, ``disk``, ``shm``), ``accelerator`` a device and a count,
    ``replicas`` the fewest and the most of a reusable environment.
    """

    resources: Mapping[str, str] = field(default_factory=dict)
    accelerator: str = ""
    replicas: tuple[int, int] | None = None
    concurrency: int = 1
    queue: str = ""

    def to_json(self) -> dict[str, Any]:
        reuse = None
        if self.replicas is not None:
            reuse = {"replicas": list(self.replicas), "concurrency": self.concurrency}
        return {
            "resources": dict(self.resources),
            "accelerator": self.accelerator or None,
            "reuse": reuse,
            "queue": self.queue or None,
        }

    def __str__(self) -> str:
        """``cpu 1, memory 300Mi · A100:2 · reused 2–5 × 10 · queue slow``; empty where nothing is said."""
        words = [", ".join(f"{name} {amount}" for name, amount in self.resources.items()), self.accelerator]
        if self.replicas is not None:
            words.append(f"reused {'–'.join(map(str, dict.fromkeys(self.replicas)))} × {self.concurrency}")
        words.append(f"queue {self.queue}" if self.queue else "")
        return " · ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Task:
    """A task as a person calls it: ``name`` is the function's, ``full_name`` ``<environment>.<name>``.

    ``inline`` is its ``max_inline_io_bytes``: the most bytes that its inputs, or its outputs, may have. ``asks`` is
    what it asks of a machine, where that is not what its environment says.
    """

    name: str
    full_name: str
    environment: str
    location: str
    doc: str
    inputs: Mapping[str, tuple[Any, Any]] = field(repr=False, compare=False)
    template: Any = field(repr=False, compare=False)
    inline: int = 0
    asks: Asks | None = None


@dataclass(frozen=True, slots=True)
class AskedSecret:
    """A secret that an environment asks for, by name: ``env`` is the variable that it becomes; ``None``: a file."""

    key: str
    group: str = ""
    env: str | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """One ``flyte.Environment``: what its image asks for, or the reason why that cannot be answered.

    ``depends_on`` are names in the order written; ``location`` is where it was made (``file``). ``plain``: nobody put a
    layer on its image, so that Flyte finds it without a run's table of images. ``variables`` are its ``env_vars``;
    ``app`` is the SDK's object of an application environment, else ``None``. ``remark``: what of its image is chosen
    otherwise than the SDK on this machine would. ``again`` reads the image anew, with what only a lock knows of its
    Dockerfile; ``None``: it has none.
    """

    name: str
    depends_on: tuple[str, ...]
    location: str
    wish: Recipe | FlyteBuildError
    secrets: tuple[AskedSecret, ...] = ()
    plain: bool = False
    asks: Asks = field(default_factory=Asks)
    variables: Mapping[str, str] = field(default_factory=dict)
    app: Any = field(default=None, repr=False, compare=False)
    remark: str = ""
    again: Callable[[Known], Recipe | FlyteBuildError] | None = field(default=None, repr=False, compare=False)

    def read_again(self, known: Known) -> None:
        """Read the image of a Dockerfile again, now that this is known of it. The one thing that changes in an
        environment, and in place: what a command has in its hands has to be what its locks answer."""
        if self.again is not None and isinstance(self.wish, Recipe):
            object.__setattr__(self, "wish", self.again(known))

    @property
    def recipe(self) -> Recipe:
        """The recipe; raises the error that reading the image met."""
        if isinstance(self.wish, FlyteBuildError):
            raise self.wish
        return self.wish


@dataclass(frozen=True, slots=True)
class Project:
    """A loaded file: ``file`` and ``root`` are absolute, ``environments`` by name in order of discovery.

    ``stand_ins`` are the modules that are not installed here and were stood in for (:mod:`flyte_build.project.stubs`);
    ``to_install`` are the distributions that bring them.
    """

    file: Path
    root: Path
    environments: Mapping[str, Environment]
    tasks: tuple[Task, ...]
    stand_ins: tuple[str, ...] = ()
    to_install: tuple[str, ...] = ()

    def task(self, name: str) -> Task:
        """The task called ``name`` (``main``) or ``environment.name``; raises :class:`LoadError`."""
        found = [t for t in self.tasks if name in (t.name, t.full_name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise LoadError(
                f"{shown(self.file)}: {len(found)} tasks are called `{name}`: "
                + ", ".join(f"{t.full_name} ({t.location})" for t in found),
                hint=f"name it with its environment: `{found[0].full_name}`",
            )
        have = ", ".join(t.name for t in self.tasks) or "none"
        raise LoadError(f"{shown(self.file)}: no task `{name}`; there are: {have}", hint=self._no_task_hint(name))

    def _no_task_hint(self, name: str) -> str | None:
        if not self.tasks:
            return "a task is a function decorated with `@env.task`, where `env` is a `flyte.TaskEnvironment`"
        import difflib

        close = difflib.get_close_matches(name, [t.name for t in self.tasks], 1)
        return f"did you mean `{close[0]}`?" if close else None
