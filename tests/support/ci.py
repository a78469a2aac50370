"""A team whose images a CI makes: a repository of the test's own, and runners that start from nothing but a clone.

Every runner is a fresh machine: its own home, its own store. The registry is shared, and so is what may be fetched,
which the runner says afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .offline import Ran

__all__ = ["PIPELINE", "Runner", "commit", "git"]

PIPELINE = Path(__file__).parents[2] / "examples" / "ci" / "pipeline.sh"
TIMEOUT = 540


def git(*words: str | Path, cwd: Path) -> str:
    """What git says, with nobody's configuration."""
    who = {"NAME": "dev", "EMAIL": "dev@team.example"}
    alone = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in who.items()}
    alone |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", *map(str, words)], cwd=cwd, env=os.environ | alone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commit(repository: Path, message: str) -> None:
    """All that is there, committed; a repository is made where there is none."""
    if not (repository / ".git").exists():
        git("init", "-q", cwd=repository)
    git("add", "-A", cwd=repository)
    git("commit", "-q", "-m", message, cwd=repository)


@dataclass(frozen=True)
class Runner:
    """A machine that has just started: ``checkout`` is a clone, ``variables`` all its environment says."""

    home: Path
    origin: Path
    variables: Mapping[str, str]
    program: str = str(Path(sys.executable).parent / "flyte-build")
    more: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True)
        git("clone", "-q", self.origin, self.checkout, cwd=self.home)

    @property
    def checkout(self) -> Path:
        return self.home / "checkout"

    @property
    def store(self) -> Path:
        return self.home / "cache"

    def environment(self) -> dict[str, str]:
        mine = {
            "HOME": str(self.home),
            "FLYTE_BUILD_CACHE": str(self.store),
            "FLYTE_BUILD_STATE": str(self.home / "state"),
            "DOCKER_CONFIG": str(self.home / "docker"),
            "UV_CACHE_DIR": str(self.home / "uv"),
            "PIPELINE_COMMAND": self.program,
        }
        return {**self.variables, **mine, **self.more}

    def pipeline(self, *arguments: str, steps: str | None = None, shell: str = "sh", **variables: str) -> Ran:
        """The recipe, as a CI runs it."""
        asked = {} if steps is None else {"PIPELINE_STEPS": steps}
        done = subprocess.run(
            [*shell.split(), str(PIPELINE), *arguments],
            cwd=self.checkout,
            env=self.environment() | asked | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str, steps: str | None = None, **variables: str) -> Ran:
        done = self.pipeline(*arguments, steps=steps, **variables)
        assert done.code == 0, f"exit code {done.code}\n{done.out}\n{done.err}"
        return done

    @property
    def artifacts(self) -> int:
        """Wheels and .debs that it fetched."""
        folder = self.store / "artifacts" / "sha256"
        return sum(1 for _ in folder.iterdir()) if folder.exists() else 0

    @property
    def changes(self) -> str:
        """What git finds changed in the checkout."""
        return git("status", "--porcelain", cwd=self.checkout)
