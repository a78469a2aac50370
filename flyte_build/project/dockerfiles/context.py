"""A Dockerfile's folder: which of its files an instruction means, and what ``.dockerignore`` leaves out."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ...kernel.errors import LoadError
from ...recipe.dockerignore import DockerIgnore
from .reading import State
from .text import Instruction

__all__ = ["found", "ignored", "patterns"]

_WILD = re.compile(r"[*?\[]")


def found(s: State, one: Instruction, source: str) -> list[Path]:
    """What ``source`` names, which may be a pattern that nothing fits; raises for a name of nothing."""
    plain = source.lstrip("/") or "."
    if ".." in Path(plain).parts:
        raise s.r.refuse(one, f"`{source}` is not in the Dockerfile's folder")
    wild = _WILD.search(plain) is not None
    names = sorted(glob.glob(plain, root_dir=s.r.context, include_hidden=True)) if wild else [plain]
    paths = [s.r.context / name for name in names]
    paths = [path for path in paths if not (wild and path.is_file() and ignored(s, path))]
    missing = [path for path in paths if not path.exists()]
    if missing:
        where = f"{s.r.owner}: {s.r.file.name}:{one.line}: `{one.words}`"
        raise LoadError(f"{where}: {s.r.context / plain}: nothing is there to copy")
    if not wild and paths[0].is_file() and ignored(s, paths[0]):
        raise s.r.refuse(one, ".dockerignore leaves it out")
    return paths


def ignored(s: State, path: Path) -> bool:
    return DockerIgnore(_lines(s)).ignores("/".join(path.relative_to(s.r.context).parts))


def patterns(s: State, folder: Path) -> tuple[str, ...]:
    """The patterns of ``.dockerignore`` as they are for what is in ``folder``."""
    inside = folder.relative_to(s.r.context).parts
    return tuple(left for p in _lines(s) if (left := _below(p, inside)) is not None)


def _lines(s: State) -> tuple[str, ...]:
    """The patterns of the context's .dockerignore, or of the file's own (``NAME.dockerignore``)."""
    for path in (s.r.context / f"{s.r.file.name}.dockerignore", s.r.context / ".dockerignore"):
        if path.is_file():
            lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
            return tuple(line for line in lines if line and not line.startswith("#"))
    return ()


def _below(pattern: str, folder: Sequence[str]) -> str | None:
    """A pattern of the context as it is for a folder in it; ``None`` where it says nothing of what is there."""
    back, plain = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    for name in folder:
        if parts[:1] == ["**"]:
            return back + "/".join(parts)
        if not parts or not fnmatchcase(name, parts[0]):
            return None
        parts = parts[1:]
    return back + ("/".join(parts) or "**")
