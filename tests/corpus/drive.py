"""Tries every Flyte file below a folder with flyte-build, sorts the outcomes by kind, and prints the table.

Each file is a project by itself: its locks go to a folder of their own, and nothing is written below the folder that is
measured. A kind is what a user would have to do about an outcome, read off the exit code (``kernel.errors``) and, where
one code stands for several causes, off the message. Runs the users' files as planning does, and tasks only on request.
"""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Outcome", "flyte_files", "kind_of", "table", "try_all", "try_file"]

STAGES = ("lock", "plan", "check", "build", "run")
_SKIPPED = frozenset({".git", ".venv", "venv", "node_modules", "site-packages", "__pycache__", "lockfiles"})
# Exit code → kind, where the code says it all; messages of codes that do not are in _SAID.
_CODES = {
    0: "ok",
    1: "our fault",
    2: "wrong input",
    3: "does not load",
    4: "stale lock",
    5: "no solution",
    6: "unreachable",
    7: "refused",
    8: "bad artifact",
    9: "storage",
    10: "missing import",
    11: "no sandbox",
    12: "run failed",
    14: "unreachable",
    15: "other than pinned",
    16: "a sealed step failed",
    130: "interrupted",
}
_SAID: Sequence[tuple[int, str, str]] = (
    (3, r"no environment in this file", "no environment"),
    (3, r"holds no wheel of", "a wheel to build first"),
    (3, r"which may be why: install|install .* on this machine", "something to install here"),
    (3, r"No module named", "something to install here"),
    (5, r"cannot be reached|timed out|connect", "unreachable"),
    (7, r"_DockerLines|from_dockerfile|Dockerfile", "a Dockerfile"),
    (10, r"does not depend on", "missing depends_on"),
)
_UNLOCKED = re.compile(r": no lock \(")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file: ``stage`` is the last one tried, ``kind`` how that ended (``ok``: all went well), and
    ``message`` the first line of the error. ``seconds``: of the whole."""

    file: str
    stage: str
    kind: str
    message: str
    seconds: float


def flyte_files(folder: Path) -> list[Path]:
    """The files below ``folder`` that import flyte and make an environment, by name."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        if not _SKIPPED.intersection(path.relative_to(folder).parts) and _is_flyte(path):
            found.append(path)
    return found


def _is_flyte(path: Path) -> bool:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return False
    imports = any(
        (isinstance(n, ast.Import) and any(a.name.split(".")[0] == "flyte" for a in n.names))
        or (isinstance(n, ast.ImportFrom) and not n.level and (n.module or "").split(".")[0] == "flyte")
        for n in ast.walk(tree)
    )
    names = {
        n.attr if isinstance(n, ast.Attribute) else n.id
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute | ast.Name)
    }
    return imports and any(name.endswith("Environment") for name in names)


def kind_of(code: int | None, said: str, stage: str = "") -> str:
    """What an exit code and what was said mean; ``None``: it had to be killed. A file that is only to be read is well
    where a plan has nothing to say but that it has no lock."""
    if stage == "read" and code == 4 and _UNLOCKED.search(said):
        return "ok"
    if code is None:
        return "hang"
    if code < 0 or "this is a bug" in said or code not in _CODES:
        return "our fault"
    for known, pattern, kind in _SAID:
        if code == known and re.search(pattern, said):
            return kind
    return _CODES[code]


def try_file(
    file: Path, folder: Path, *, stages: Sequence[str] = STAGES[:3], timeout: float = 300, command: Sequence[str] = ()
) -> Outcome:
    """Take ``file`` through ``stages``, from ``folder``; it ends with the first that is not well."""
    program = [*(command or (sys.executable, "-m", "flyte_build"))]
    spent, stage = 0.0, stages[0]
    with tempfile.TemporaryDirectory(prefix="flyte-build-corpus-") as scratch:
        locks = ["--lockfiles", str(Path(scratch) / "lockfiles")]
        for stage in stages:
            words = _command(stage, file, locks)
            if words is None:
                continue
            code, said, seconds = _ran([*program, *words], folder, timeout)
            spent += seconds
            kind = kind_of(code, said, stage)
            if kind != "ok":
                return Outcome(str(file.relative_to(folder)), stage, kind, _headline(said), round(spent, 1))
    return Outcome(str(file.relative_to(folder)), stage, "ok", "", round(spent, 1))


def _command(stage: str, file: Path, locks: list[str]) -> list[str] | None:
    match stage:
        case "lock" | "build":
            return [stage, str(file), *locks]
        case "plan" | "read":
            return ["plan", str(file), *locks]
        case "check":
            return ["plan", str(file), "--check", *locks]
        case _:
            task = _first_task(file)
            return ["run", *locks, str(file), task] if task is not None else None


def _first_task(file: Path) -> str | None:
    """A task that can be called without arguments: ``main`` if there is one."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [
        n.name
        for n in tree.body
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
        and any("task" in ast.unparse(d) for d in n.decorator_list)
        and len(n.args.defaults) == len(n.args.args)
    ]
    return "main" if "main" in found else next(iter(found), None)


def _ran(words: list[str], folder: Path, timeout: float) -> tuple[int | None, str, float]:
    """Exit code, what was said, seconds; a program that takes too long is ended with all it started."""
    import time

    started = time.monotonic()
    process = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _, said = process.communicate(timeout=timeout)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        _, said = process.communicate()
        code = None
    return code, said or "", time.monotonic() - started


def _headline(said: str) -> str:
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    return lines[0].removeprefix("error: ") if lines else (said.strip().splitlines() or [""])[-1]


def try_all(
    files: Iterable[Path], folder: Path, *, jobs: int = 2, stages: Sequence[str] = STAGES[:3], timeout: float = 300
) -> list[Outcome]:
    """The outcomes of ``files``, in their order, ``jobs`` at a time; each is told as it comes."""

    def one(file: Path) -> Outcome:
        found = try_file(file, folder, stages=stages, timeout=timeout)
        print(f"{found.kind:24} {found.stage:6} {found.seconds:6.1f} s  {found.file}", file=sys.stderr, flush=True)
        return found

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, files))


def table(outcomes: Sequence[Outcome], *, examples: int = 2) -> str:
    """The outcomes by kind, most frequent first, as Markdown: how many, at which stage, and what was said."""
    counts = Counter(o.kind for o in outcomes)
    rows = ["| outcome | files | share | ends at | for example |", "|---|---|---|---|---|"]
    for kind, count in sorted(counts.items(), key=lambda x: (x[0] != "ok", -x[1], x[0])):
        ours = [o for o in outcomes if o.kind == kind]
        stages = ", ".join(dict.fromkeys(o.stage for o in ours)) if kind != "ok" else "–"
        said = "; ".join(list(dict.fromkeys(o.message for o in ours if o.message))[:examples]) or "–"
        rows.append(f"| {kind} | {count} | {100 * count / len(outcomes):.1f} % | {stages} | {said.replace('|', '/')} |")
    return "\n".join(rows)


def as_json(outcomes: Sequence[Outcome]) -> str:
    return json.dumps([asdict(o) for o in outcomes], indent=1)
