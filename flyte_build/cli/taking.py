"""The project that a command is about: as it was read before, where that is sure to be the same for what is asked of
it, else read now. The output is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..kernel import tracing
from ..workbench.as_read import Kept, Meant
from .options import introduce, opened

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from ..kernel.reporting import Reporter
    from ..planning.recording import Recording
    from ..workbench import Named, Workbench
    from ..workbench.as_read import AsRead

__all__ = ["Taking", "meant_by", "named_lock", "taken"]


def meant_by(asked: dict[str, Any]) -> Meant:
    """What ``build``, ``push`` and ``load`` mean by their options."""
    return Meant(asked["task"], asked["env"], asked.get("platform"), "refuse" if asked["check"] else "")


class Taking:
    """The project of one command, by its options, for which ``meant`` is asked of it."""

    def __init__(self, file: Path | None, root: Path | None, lockfiles: Path | None, meant: Meant) -> None:
        self._words = (file, root, lockfiles)
        self._meant = meant
        self._kept = Kept(*self._words)

    def watched(
        self, watching: ExitStack, *, quiet: bool = False, reporter: Reporter | None = None
    ) -> tuple[Workbench, Recording]:
        """The project, and what is watched of it until the end of ``watching``."""
        from ..workbench.watching import watched

        file, root, lockfiles = self._words
        if (bench := self._taken(quiet, reporter)) is not None:
            return bench, watching.enter_context(watched(file, root, (bench.root, bench.record)))
        record = watching.enter_context(watched(file, root))
        return opened(file, root, lockfiles, quiet=quiet, reporter=reporter), record

    def alone(self, *, quiet: bool = False) -> Workbench:
        """The project, for a command that keeps nothing."""
        return self._taken(quiet, None) or opened(*self._words, quiet=quiet)

    def keep(self, bench: Workbench, record: Recording) -> None:
        """Keep the project for other commands, if it was read now."""
        self._kept.keep(record, bench)

    def _taken(self, quiet: bool, reporter: Reporter | None) -> AsRead | None:
        # Who wants to see what is done wants to see all of it.
        if tracing.active():
            return None
        from .progress import make_reporter

        bench = self._kept.bench(self._meant, reporter or make_reporter(quiet))
        if bench is not None:
            introduce(bench)
        return bench


def taken(
    file: Path | None,
    root: Path | None,
    lockfiles: Path | None,
    task: str | None = None,
    env: tuple[str, ...] = (),
    *,
    quiet: bool = False,
) -> Workbench:
    """The project, for a command that needs no more of it than these environments and their locks."""
    return Taking(file, root, lockfiles, Meant(task, env)).alone(quiet=quiet)


def named_lock(file: Path | None, env: str | None, root: Path | None, lockfiles: Path | None) -> Named:
    """The lock that ``file`` (a Python file, or a lock) and ``--env`` name; raises where that is not exactly one."""
    if file is not None and file.suffix == ".json":
        from ..workbench.named_lock import of_file

        return of_file(file, env, root)
    return taken(file, root, lockfiles, env=(env,) if env is not None else ()).named_lock(env)
