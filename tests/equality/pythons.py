"""Interpreters of other versions to run the assembler with: this machine's, and all that a Debian suite has.

Each runs the assembler as Nix and Bazel do: isolated, without site-packages and without this process's environment.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.machine import Machine
from tests.support.tools import lacking

__all__ = ["Python", "of_suite", "on_path", "three"]

FLYTE_BUILD = Path(__file__).parents[2] / "flyte_build"
_WHICH = "import platform, sys; print(platform.python_version().partition(chr(43))[0], sys.executable, sep=chr(10))"
_ALL = """
set -e
names=$(apt-cache search --names-only '^python3[.][0-9]+$' | cut -d' ' -f1)
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $names >/dev/null 2>&1
for name in $names; do echo $($name -c '{which}'); done
"""


@dataclass(frozen=True)
class Python:
    """The interpreter at ``path``, of this machine or in ``machine``; ``version`` is such as ``3.11.7``."""

    version: str
    path: str
    machine: Machine | None = None

    def folder(self, home: Path) -> Path:
        """A folder that it can see: ``home`` if it can."""
        return (self.machine.root if self.machine else home) / "assembled"

    def assemble(self, plan: Path, out: Path, artifacts: Path) -> str:
        """``assemble PLAN OUT``, with what it is made of in the folder ``artifacts`` by hash; the digest."""
        run = self._run if self.machine is None else self._run_inside
        code, said, err = run(plan, out, artifacts)
        assert code == 0, f"Python {self.version}: {err}"
        return said.strip()

    def _run(self, plan: Path, out: Path, artifacts: Path) -> tuple[int, str, str]:
        words = map(str, (FLYTE_BUILD / "assemble", plan, out, "--artifacts", artifacts))
        command = [self.path, "-I", "-S", "-B", *words]
        done = subprocess.run(command, env={}, cwd="/", capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout, done.stderr

    def _run_inside(self, plan: Path, out: Path, artifacts: Path) -> tuple[int, str, str]:
        assert self.machine is not None
        root = self.machine.root
        paths = (root / "assembled" / "flyte_build" / "assemble", plan, out, artifacts)
        assembler, *given, folder = (f"'/{path.relative_to(root)}'" for path in paths)
        return self.machine.run(f"{self.path} -I -S -B {assembler} {' '.join(given)} --artifacts {folder}")


def on_path() -> dict[str, Python]:
    """By minor version: the interpreter that runs this, first, and those on PATH that are new enough."""
    found: dict[str, Python] = {}
    for name in (sys.executable, *(f"python3.{minor}" for minor in range(11, 20))):
        if path := shutil.which(name):
            done = subprocess.run([path, "-c", _WHICH], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                # What a name on PATH leads to may be a script that needs variables; this is the program itself.
                version, program = done.stdout.split("\n")[:2]
                found.setdefault(version.rpartition(".")[0], Python(version, program))
    return found


def of_suite(machine: Machine) -> dict[str, Python]:
    """By minor version: every Python of the Debian suite of ``machine``, which is given them all and the assembler."""
    code, out, err = machine.run(_ALL.format(which=_WHICH), timeout=300)
    assert code == 0, err
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(FLYTE_BUILD / "assemble", machine.root / "assembled/flyte_build/assemble", ignore=ignored)
    rows = [line.split() for line in out.splitlines()]
    return {version.rpartition(".")[0]: Python(version, path, machine) for version, path in rows}


def three(found: Mapping[str, Python]) -> list[Python]:
    """The first, which runs this, and the newest two of the others."""
    if len(found) < 3:
        lacking(f"expected three versions of Python, found {', '.join(found)}")
    first, *others = found.values()
    return [first, *sorted(others, key=lambda python: tuple(map(int, python.version.split("."))))[-2:]]
