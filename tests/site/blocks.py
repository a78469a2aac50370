"""The blocks of a page as a reader follows them: files to write, commands to type, and what is said to come of them.

A ``python`` or ``toml`` block whose first line is ``# NAME`` is that file. In a ``console`` block a line behind ``$``
is a command, those below it are lines of its output: in any order, blanks as they come; a number is any number, ``…``
is anything.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Command", "follow", "steps"]

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")
_MARK = "\x1e"


@dataclass(frozen=True)
class Command:
    """One command of a page, and the lines that the page shows of its output."""

    typed: str
    shown: tuple[str, ...]

    def missing(self, output: str) -> list[str]:
        """Those of the shown lines that the output has not."""
        lines = output.splitlines()
        return [line for line in self.shown if not any(_pattern(line).fullmatch(said.strip()) for said in lines)]


def steps(markdown: str) -> list[Command | tuple[str, str]]:
    """Commands, and files as ``(name, text)``, in the order of the page."""
    out: list[Command | tuple[str, str]] = []
    for kind, body in _FENCE.findall(markdown):
        if kind in ("python", "toml") and (named := _NAMED.match(body)):
            out.append((named[1], body[named.end() :]))
        elif kind == "console":
            for piece in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                typed, _, shown = piece.partition("\n")
                lines = (line.strip() for line in shown.splitlines())
                out.append(Command(typed, tuple(line for line in lines if line.strip("….") or line == "---")))
    return out


def follow(markdown: str, folder: Path, environment: Mapping[str, str]) -> list[tuple[Command, str]]:
    """Does what a page says in ``folder``, in one shell; each command with what it printed. A failure ends it."""
    script, commands = ["set -e"], []
    for number, step in enumerate(steps(markdown)):
        if isinstance(step, Command):
            commands.append(step)
            script += [step.typed, f"printf '{_MARK}'"]
        else:
            (folder / f".step{number}").write_text(step[1], encoding="utf-8")
            script.append(f"mkdir -p $(dirname {step[0]}) && mv .step{number} {step[0]}")
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    said = done.stdout.split(_MARK)
    assert done.returncode == 0, f"`{commands[len(said) - 1].typed}`: exit code {done.returncode}\n{said[-1]}"
    return list(zip(commands, said, strict=False))


def _pattern(line: str) -> re.Pattern[str]:
    pieces = re.split(r"(…|\s+|\d[\d.,]*)", line)
    regex = "".join(
        ".*" if p == "…" else r"\s+" if p.isspace() else r"\d[\d.,]*" if p[:1].isdigit() else re.escape(p)
        for p in pieces
    )
    return re.compile(regex)
