"""``Image.from_dockerfile(file)`` → a base and steps: the subset of a Dockerfile that means the same in ours.

``FROM`` once, ``RUN`` (a sealed step), ``COPY`` and ``ADD`` of files of the context, ``ENV``, ``ARG`` with a default,
``WORKDIR``. What only speaks to an engine (``CMD``, ``LABEL``, ``EXPOSE``, …) is left out, as tasks are started with a
command of their own. All else is refused by its line, with why (law 9). Reads the file and the context's names; runs
nothing. Source: Dockerfile reference.
"""

from __future__ import annotations

import glob
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from ..kernel.errors import LoadError, RefusedError
from ..recipe import CopyFiles, EnvVars, RegistryBase, RunCommands, Step, WorkDir
from ..recipe.dockerignore import DockerIgnore

__all__ = ["read_dockerfile"]

_LEFT_OUT = frozenset(("CMD", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "STOPSIGNAL"))
_WHY: Mapping[str, str] = {
    "ENTRYPOINT": "a task's command would become its arguments",
    "ONBUILD": "it is about other images",
    "SHELL": "commands are run by /bin/sh",
    "VOLUME": "what is written there belongs to no image",
    "USER": "commands are run, and files owned, as root and the base's user; only `USER root` means the same",
}
_HINT = (
    "leave the line out, build the image elsewhere and use `flyte.Image.from_base(…)`, or say it with with_* methods"
)
_VARIABLE = re.compile(r"\\\$|\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))")
_HEREDOC = re.compile(r"<<-?\s*[\"']?\w+[\"']?(\s|$)")
_WILD = re.compile(r"[*?\[]")


@dataclass
class _Reading:
    """One file on its way; ``relative`` writes a path of the context as recipes have it."""

    owner: str
    file: Path
    relative: Callable[[Path], str]
    base: RegistryBase | None = None
    steps: list[Step] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def context(self) -> Path:
        return self.file.parent

    def refuse(self, line: int, words: str, why: str) -> RefusedError:
        return RefusedError(f"{self.owner}: {self.file.name}:{line}: `{words}`: {why}", hint=_HINT)


def read_dockerfile(file: Path, owner: str, relative: Callable[[Path], str]) -> tuple[RegistryBase, tuple[Step, ...]]:
    """The base and the steps of ``file``, whose folder is the context, as the SDK's builder has it.

    Raises :class:`LoadError` for a file that cannot be read and :class:`RefusedError` for a line that has no place in a
    lock; both name the line.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise LoadError(f"{owner}: {file}: cannot be read: {e}") from None
    reading = _Reading(owner, file, relative)
    for line, words in _instructions(text):
        name, _, rest = words.partition(" ")
        _one(reading, line, name.upper(), rest.strip(), words)
    if reading.base is None:
        raise LoadError(f"{owner}: {file.name}: no FROM in it")
    return reading.base, tuple(reading.steps)


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """Each instruction with the number of its first line; comments and continuations as Docker has them."""
    held, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#") or (not stripped and not held):
            continue
        start = start if held else number
        if line.rstrip().endswith("\\"):
            held += line.rstrip()[:-1].lstrip() if not held else line.rstrip()[:-1]
            continue
        yield start, (held + line if held else stripped).strip()
        held = ""
    if held.strip():
        yield start, held.strip()


def _one(r: _Reading, line: int, name: str, rest: str, words: str) -> None:
    if name in _LEFT_OUT:
        return
    if name == "FROM":
        _from(r, line, rest, words)
    elif name == "ARG":
        _argument(r, line, rest, words)
    elif r.base is None:
        raise r.refuse(line, words, "expected FROM before it")
    elif name == "RUN":
        _run(r, line, rest, words)
    elif name == "ENV":
        _env(r, line, rest, words)
    elif name == "WORKDIR":
        r.steps.append(WorkDir(_known(r, line, rest, words)))
    elif name in ("COPY", "ADD"):
        _copy(r, line, rest, words, added=name == "ADD")
    elif name != "USER" or rest not in ("root", "0", "0:0", "root:root"):
        raise r.refuse(line, words, _WHY.get(name, "no instruction that is known here"))


def _from(r: _Reading, line: int, rest: str, words: str) -> None:
    if r.base is not None:
        raise r.refuse(line, words, "only one stage is known here")
    parts = rest.split()
    if not parts or parts[0].startswith("--") or parts[0] == "scratch":
        raise r.refuse(line, words, "expected the name of an image")
    r.base = RegistryBase(_known(r, line, parts[0], words))


def _argument(r: _Reading, line: int, rest: str, words: str) -> None:
    for text in _split(r, line, rest, words):
        name, given, value = text.partition("=")
        if given:
            r.arguments[name] = _known(r, line, value, words)
        elif name not in r.arguments:
            raise r.refuse(line, words, "expected a default, as nobody gives build arguments")


def _run(r: _Reading, line: int, rest: str, words: str) -> None:
    if rest.startswith("--"):
        raise r.refuse(line, words, f"`{rest.split()[0]}` asks for what a sealed step has not")
    if _HEREDOC.search(rest):
        raise r.refuse(line, words.split("<<")[0] + "<<…", "here-documents are not read")
    command = _list(rest)
    text = shlex.join(command) if command is not None else rest
    given = "".join(f"export {name}={shlex.quote(value)}; " for name, value in r.arguments.items() if name in text)
    last = r.steps[-1] if r.steps else None
    if isinstance(last, RunCommands):
        r.steps[-1] = RunCommands((*last.commands, given + text))
    else:
        r.steps.append(RunCommands((given + text,)))


def _env(r: _Reading, line: int, rest: str, words: str) -> None:
    first = rest.split()[0] if rest else ""
    pairs: list[tuple[str, str]] = []
    if "=" in first:
        for text in _split(r, line, rest, words):
            name, given, value = text.partition("=")
            if not given:
                raise r.refuse(line, words, f"expected NAME=VALUE, found `{text}`")
            pairs.append((name, value))
    elif rest[len(first) :].strip():
        pairs.append((first, rest[len(first) :].strip()))
    else:
        raise r.refuse(line, words, "expected NAME=VALUE")
    # What only the base sets is filled in where the base is known.
    made = [(name, _expanded(value, r.arguments | r.variables)[0]) for name, value in pairs]
    r.steps.append(EnvVars(tuple(made)))
    r.variables |= dict(made)


def _copy(r: _Reading, line: int, rest: str, words: str, *, added: bool) -> None:
    flags = [word for word in rest.split() if word.startswith("--")]
    if [flag for flag in flags if flag != "--link"]:
        raise r.refuse(line, words, f"`{flags[0]}` is not known here")
    text = rest.replace("--link", "", 1).strip() if flags else rest
    if _HEREDOC.search(text):
        raise r.refuse(line, words, "here-documents are not read")
    listed = _list(text)
    parts = [_known(r, line, part, words) for part in (listed if listed is not None else _split(r, line, text, words))]
    if len(parts) < 2:
        raise r.refuse(line, words, "expected what to copy, and where to")
    *sources, target = parts
    found = [path for source in sources for path in _sources(r, line, source, words, added=added)]
    if len(found) > 1 and not target.endswith("/"):
        raise r.refuse(line, words, "several things are copied: expected a folder, with a slash at its end")
    patterns = _ignored(r)
    for path in found:
        inside = path.relative_to(r.context).parts
        if path.is_file() and DockerIgnore(patterns).ignores("/".join(inside)):
            raise r.refuse(line, words, ".dockerignore leaves it out")
        ignore = tuple(left for p in patterns if (left := _below(p, inside)) is not None) if path.is_dir() else ()
        r.steps.append(CopyFiles(r.relative(path), target, path.is_dir(), ignore))


def _sources(r: _Reading, line: int, source: str, words: str, *, added: bool) -> list[Path]:
    if added and ("://" in source or source.startswith("git@")):
        raise r.refuse(line, words, "what it downloads has no hash: fetch it with RUN")
    plain = source.lstrip("/") or "."
    if ".." in Path(plain).parts:
        raise r.refuse(line, words, f"`{source}` is not in the Dockerfile's folder")
    names = sorted(glob.glob(plain, root_dir=r.context, include_hidden=True)) if _WILD.search(plain) else [plain]
    paths = [r.context / name for name in names]
    missing = [path for path in paths if not path.exists()]
    if missing or not paths:
        raise LoadError(f"{r.owner}: {r.file.name}:{line}: `{words}`: {r.context / plain}: nothing is there to copy")
    if added and any(re.search(r"\.(tar(\.\w+)?|tgz|tbz2|txz)$", path.name) for path in paths):
        raise r.refuse(line, words, "ADD would unpack it: COPY it, and unpack it with RUN")
    return paths


def _ignored(r: _Reading) -> tuple[str, ...]:
    """The patterns of the context's .dockerignore, or of the file's own (``NAME.dockerignore``)."""
    for path in (r.context / f"{r.file.name}.dockerignore", r.context / ".dockerignore"):
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


def _split(r: _Reading, line: int, text: str, words: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as e:
        raise r.refuse(line, words, f"cannot be read: {e}") from None


def _list(text: str) -> list[str] | None:
    """The exec form: a JSON array of strings."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) and found and all(isinstance(x, str) for x in found) else None


def _expanded(text: str, known: Mapping[str, str]) -> tuple[str, list[str]]:
    """``text`` with the variables of ``known``, and the names of those that it has besides."""
    unknown: list[str] = []

    def one(m: re.Match[str]) -> str:
        name = m[1] or m[4]
        if name is None:
            return m[0]
        if name not in known:
            unknown.append(name)
            return m[0]
        if m[2] == "+":
            return m[3] if known[name] else ""
        return known[name] or (m[3] if m[2] == "-" else "")

    return _VARIABLE.sub(one, text), unknown


def _known(r: _Reading, line: int, text: str, words: str) -> str:
    found, unknown = _expanded(text.strip("\"'"), r.arguments | r.variables)
    if unknown:
        raise r.refuse(line, words, f"nothing in the file sets ${unknown[0]}")
    return found
