"""What uv is shown in place of what it must not write to, or cannot find: a copy of a project's tree, and a Python."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tomllib
from pathlib import Path

from ...recipe.uv_projects import UvFiles

__all__ = ["mirrored", "stand_in", "with_version"]

_STAND_IN = """\
import sys
full, now, args = "{version}", "%d.%d.%d" % sys.version_info[:3], sys.argv[1:]
names = ("major", "minor", "micro", "releaselevel", "serial")
kind = type("version_info", (tuple,), {{n: property(lambda s, i=i: s[i]) for i, n in enumerate(names)}})
sys.version_info = sys.implementation.version = kind((*map(int, full.split(".")), "final", 0))
sys.version = sys.version.replace(now, full, 1)
if {threaded}:
    import sysconfig
    sysconfig.get_config_vars()["Py_GIL_DISABLED"] = 1
code = args.index("-c") + 1
sys.argv = ["-c", *args[code + 1:]]
exec(compile(args[code], "-c", "exec"))
"""


def stand_in(folder: Path, version: str, *, threaded: bool = False) -> str:
    """This interpreter under another version, or as a free-threaded build, for what is not for this one.

    uv wants to see a Python that fits before it says anything, and the image's need not be here.
    """
    program, path = folder / "stand_in.py", folder / f"python{version.rpartition('.')[0]}"
    program.write_text(_STAND_IN.format(version=version, threaded=threaded), encoding="utf-8")
    words = " ".join(shlex.quote(word) for word in (sys.executable, "-IS", str(program)))
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    path.chmod(0o700)
    return str(path)


def mirrored(files: UvFiles, copy: Path) -> Path:
    """The project's folders anew under ``copy``: what uv reads or writes as files of its own, the rest as links.
    Without a ``uv.lock`` local packages whose version is dynamic have one there.

    Gives the folder for which ``copy`` stands, which all of them are below.
    """
    written = {os.path.normpath(p.file): p.file for p in files.packages}
    unversioned = {os.path.normpath(p.file) for p in files.packages if files.lock is None and "version" in p.dynamic}
    folders = {str(p.file.parent) for p in files.packages} | {str(files.root)}
    named = (str(path.parent) for path in (*files.wheels, *files.archives))
    top = Path(os.path.commonpath([*folders, *named, *_local_indexes(files)]))
    real = {str(top)}
    for folder in folders:
        real |= {str(parent) for parent in (Path(folder), *Path(folder).parents) if parent.is_relative_to(top)}
    for folder in sorted(real):
        made = copy / os.path.relpath(folder, top)
        made.mkdir(parents=True, exist_ok=True)
        for entry in sorted(os.scandir(folder), key=lambda e: e.name):
            if entry.path in real or entry.name in ("uv.lock", ".venv", ".git"):
                continue
            if entry.path in written:
                data = Path(entry.path).read_bytes()
                (made / entry.name).write_bytes((entry.path in unversioned and with_version(data)) or data)
            elif entry.name != f"{files.main.file.name}.lock":
                (made / entry.name).symlink_to(entry.path)
    where = copy / os.path.relpath(files.folder, top)
    if not files.script and files.main.file.name != "pyproject.toml":
        (where / "pyproject.toml").unlink(missing_ok=True)
        (where / "pyproject.toml").write_bytes(files.main.file.read_bytes())
    if files.lock is not None:
        (copy / os.path.relpath(files.own_lock, top)).write_bytes(files.lock.read_bytes())
    return top


_TABLE = re.compile(r"(?ms)^\[project\][^\n]*\n(.*?)(?=^\[|\Z)")
_DYNAMIC = re.compile(r"(?ms)^dynamic\s*=\s*\[[^\]]*\]")


def with_version(data: bytes) -> bytes | None:
    """A ``pyproject.toml`` whose build backend alone knows the version, with one: 0. ``None`` where it cannot be said.

    uv wants a version of every local package before it answers, and it is in no answer, as none of them is installed.
    """
    text = data.decode()
    before = tomllib.loads(text)
    if (table := _TABLE.search(text)) is None:
        return None
    left = [name for name in before["project"]["dynamic"] if name != "version"]
    said = _DYNAMIC.sub(lambda _: f'version = "0"\ndynamic = {left}', table[1])
    changed = text[: table.start(1)] + said + text[table.end(1) :]
    try:
        after = tomllib.loads(changed)
    except tomllib.TOMLDecodeError:
        return None
    expected = {**before, "project": {**before["project"], "version": "0", "dynamic": left}}
    return changed.encode() if after == expected else None


def _local_indexes(files: UvFiles) -> list[str]:
    """The folders that ``[tool.uv]`` names as indexes, relative ones from their file."""
    out = []
    for package in files.packages:
        tables = package.uv.get("index")
        urls = [table.get("url") for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []
        links = package.uv.get("find-links")
        for url in (*urls, *(links if isinstance(links, list) else ())):
            if isinstance(url, str) and "://" not in url and not os.path.isabs(url):
                out.append(os.path.normpath(package.file.parent / url))
    return out
