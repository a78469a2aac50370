"""A lock's wheels as one executable file: a PEX, for machines that have a Python and no containers (HPC clusters, say).

The ``pex`` tool is given the locked wheels as files and everything it could otherwise find out for itself: it asks no
index, resolves nothing, and does not look at this machine's interpreter, so that the file depends on the lock alone
(and on pex, whose runtime is in it: its version, and whether the Python that ran it is older than 3.12). Wheels go in
as they are, byte for byte, and nothing is compressed: a host's zlib has no say in the digest (law 3). They are unpacked
once, where the file first runs.

What is not Python is left out: Debian packages, environment variables, copied files and the image's user.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import cast
from zipfile import ZipFile

from ..kernel.canonical import Json
from ..kernel.errors import ArtifactError, InputError
from ..kernel.outputs import output, refusal_in
from ..kernel.pythons import is_threaded, plain
from ..kernel.reporting import Reporter
from ..locking.targets import target_of
from ..locking.wheels import Target
from ..locks.nouns import Lock, LockedWheel
from ..store.files import storing
from .rows import rows
from .wheels import put_wheels

__all__ = ["Entry", "left_out", "need_pex", "target_of", "write_pex"]

_MODULE = re.compile(r"[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*)?")
# Lines of what pex says that are shown: it names every wheel several times.
_SHOWN = 12
_SCRIPT = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the file runs: a console ``script`` of one of the wheels, a ``module`` (``a.b`` or ``a.b:function``), or
    Python itself, with neither. Raises :class:`InputError` for both, or for what can be neither."""

    script: str | None = None
    module: str | None = None

    def __post_init__(self) -> None:
        if self.script is not None and self.module is not None:
            raise InputError("expected a script or an entry point, found both", hint="drop -c or --entry-point")
        if self.script is not None and not _SCRIPT.fullmatch(self.script):
            raise InputError(f"-c: expected the name of a console script, found `{self.script}`")
        if self.module is not None and not _MODULE.fullmatch(self.module):
            raise InputError(f"--entry-point: expected `module` or `module:function`, found `{self.module}`")

    @property
    def options(self) -> list[str]:
        if self.script is not None:
            return [f"--console-script={self.script}"]
        return [f"--entry-point={self.module}"] if self.module is not None else []


def need_pex() -> None:
    """Raises :class:`InputError` where the ``pex`` tool is not installed in this Python's environment."""
    if find_spec("pex") is None:
        raise InputError(
            "`export pex` needs the pex tool, which is not installed beside flyte-build",
            hint="install it with `pip install 'flyte-build[pex]'`",
        )


def left_out(lock: Lock, platform: str) -> list[str]:
    """What the image has and the PEX has not, in words."""
    recipe = cast("dict[str, Json]", lock.recipe)
    steps = cast("list[dict[str, Json]]", recipe.get("steps") or [])
    kinds = {"copy": "copied files", "env": "environment variables"}
    said = [words for kind, words in kinds.items() if any(step.get("kind") == kind for step in steps)]
    asked = sorted(deb.name for deb in lock.platforms[platform].debs if not deb.base)
    return [*(["Debian packages"] if asked else []), *said]


def write_pex(
    lock: Lock,
    platforms: Sequence[str],
    wheels: Mapping[LockedWheel, Path],
    out: Path,
    *,
    entry: Entry,
    scratch: Path,
    reporter: Reporter,
) -> Path:
    """Write the PEX of ``lock`` for ``platforms`` to ``out``; replaces what is there, whole or not at all.

    ``wheels``: those of these platforms, with files that hold their bytes. ``scratch``: an empty folder. Raises
    :class:`InputError` for a script that no wheel has and where pex is missing, :class:`ArtifactError` for what pex
    refuses.
    """
    need_pex()
    _check_script(entry, wheels.values())
    put_wheels(scratch / "wheels", wheels)
    # Every one with its version: pex has no choice to make.
    wanted = [f"{r.name}=={r.version}" + (f" ; {r.marker}" if r.marker else "") for r in rows(lock, platforms)]
    (scratch / "requirements.txt").write_text("".join(f"{line}\n" for line in wanted), encoding="utf-8")
    options = [
        *("--no-pypi", "--no-build", "--pre-resolved-dists", "wheels", "--requirement", "requirements.txt"),
        *("--no-compress", "--no-pre-install-wheels", "--no-compile", "--no-use-system-time", "--layout", "zipapp"),
        *("--build-property", f'python="{lock.python}"', "--python-shebang", f"/usr/bin/env python{lock.python}"),
        *entry.options,
    ]
    for number, platform in enumerate(platforms):
        name = f"platform-{number}.json"
        (scratch / name).write_text(_complete_platform(target_of(lock, platform)), encoding="utf-8")
        options += ["--complete-platform", name]
    with reporter.work("write the PEX", None):
        _run([*options, "--output-file", "made.pex"], scratch)
        kind = "CPython+t" if is_threaded(lock.python) else "CPython"
        _constrain(scratch / "made.pex", scratch / "constrained.pex", f"{kind}=={plain(lock.python)}.*")
    return _publish(scratch / "constrained.pex", out)


def _check_script(entry: Entry, wheels: Iterable[Path]) -> None:
    """Raises :class:`InputError` for a console script that none of the wheels has, with those that there are."""
    if entry.script is None:
        return
    scripts: set[str] = set()
    for wheel in wheels:
        with ZipFile(wheel) as archive:
            for name in archive.namelist():
                folder, _, file = name.partition("/")
                if folder.endswith(".dist-info") and file == "entry_points.txt":
                    scripts |= _console_scripts(archive.read(name).decode("utf-8", "replace"))
                elif folder.endswith(".data") and file.startswith("scripts/"):
                    scripts.add(file.removeprefix("scripts/"))
    if entry.script not in scripts:
        raise InputError(
            f"-c: none of the wheels has the script `{entry.script}`; there are: {', '.join(sorted(scripts)) or 'none'}"
        )


def _console_scripts(text: str) -> set[str]:
    """The names in an entry_points.txt (PyPA, "Entry points specification"); none in one that is malformed."""
    found = ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    with suppress(ConfigError):
        found.read_string(text)
    return set(found["console_scripts"]) if found.has_section("console_scripts") else set()


def _complete_platform(target: Target) -> str:
    """What pex would ask the target's interpreter: its markers, and the tags it takes, the most specific first."""
    ranked = sorted(target.tags, key=lambda tag: target.tags[tag])
    return json.dumps({"marker_environment": target.markers, "compatible_tags": [str(tag) for tag in ranked]})


def _run(options: Sequence[str], scratch: Path) -> None:
    """Run pex in ``scratch``, with no configuration but ours, and nothing kept outside."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PEX", "PIP_", "PYTHON", "SOURCE_DATE_EPOCH"))}
    environment = {**clean, "PEX_ROOT": str(scratch / "root"), "HOME": str(scratch), "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "pex", *options],
        cwd=scratch,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().replace(f"{scratch}/", "")
        lines = said.splitlines()
        with storing(scratch):
            refusal_in(said)
        raise ArtifactError(
            f"pex ended with exit code {done.returncode}",
            detail="\n".join(
                [*lines[:_SHOWN], f"({len(lines) - _SHOWN} more lines)"] if len(lines) > _SHOWN else lines
            ),
            hint="the wheels are those of the lock; if pex refuses one of them, lock another version",
        )


def _constrain(made: Path, out: Path, constraint: str) -> None:
    """Write the constraint on the interpreter that runs the file into its PEX-INFO.

    pex takes it as an option only together with interpreters of this machine, which it then resolves for as well; so it
    is put in afterwards. It is among the build properties from the start, so that the hash by which pex's runtime knows
    a file covers it.
    """
    with ZipFile(made) as old, open(made, "rb") as raw, open(out, "wb") as file:
        # What lies before the archive is the line that names the interpreter.
        file.write(raw.read(min(info.header_offset for info in old.infolist())))
        with ZipFile(file, "w") as new:
            for info in old.infolist():
                if info.filename == "PEX-INFO":
                    found = {**json.loads(old.read(info)), "interpreter_constraints": [constraint]}
                    new.writestr(info, json.dumps(found, sort_keys=True, separators=(",", ":")))
                    continue
                with old.open(info) as source, new.open(copy(info), "w", force_zip64=info.file_size >= 2**31) as target:
                    shutil.copyfileobj(source, target, 1 << 20)


def _publish(made: Path, out: Path) -> Path:
    """Give the finished file its name, in one step."""
    with open(made, "rb") as source, output(out, made.stat().st_size, 0o777) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    return out
