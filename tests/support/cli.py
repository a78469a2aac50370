"""flyte-build as people run it: a process of its own, with a cache and a state that are the test's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Cli", "Done"]

TIMEOUT = 300


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output, which has to be one JSON document."""
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass(frozen=True)
class Cli:
    """Runs commands against the store and the runs in ``home``.

    ``wrapper`` goes before the interpreter (``setpriv …``), ``variables`` over this process's own; a command that takes
    more than ``seconds`` is killed.
    """

    home: Path
    python: str = sys.executable
    wrapper: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    seconds: float = TIMEOUT

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def runs(self) -> Path:
        return self.home / "state" / "runs"

    def environment(self) -> dict[str, str]:
        said = {k: v for k, v in os.environ.items() if not k.startswith("FLYTE_BUILD_")}
        mine = {"FLYTE_BUILD_CACHE": str(self.cache), "FLYTE_BUILD_STATE": str(self.home / "state"), "COLUMNS": "200"}
        return said | mine | dict(self.variables)

    def command(self, *arguments: str | Path) -> list[str]:
        return [*self.wrapper, self.python, "-m", "flyte_build", *map(str, arguments)]

    def __call__(self, *arguments: str | Path, cwd: Path | None = None) -> Done:
        """Run to the end, whatever that is."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=cwd,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=self.seconds,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str | Path, cwd: Path | None = None) -> Done:
        """Run, and succeed."""
        done = self(*arguments, cwd=cwd)
        assert done.code == 0, f"exit code {done.code}\n{done.out}\n{done.err}"
        return done

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Begin, in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
