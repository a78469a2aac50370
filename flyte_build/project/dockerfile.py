"""``Image.from_dockerfile(file)`` → a base and steps: the subset of a Dockerfile that means the same in ours.

``FROM`` (stages that stand on one another are one), ``RUN`` (a sealed step), ``COPY`` and ``ADD`` of files of the
context or of a here-document, ``ENV``, ``ARG`` with a default, ``WORKDIR``, ``SHELL``. What only speaks to an engine
(``CMD``, ``LABEL``, ``EXPOSE``, …) is left out, as tasks are started with a command of their own. All else is refused
by its line, with why (law 9). Reads the file and the context's names; runs nothing. Source: Dockerfile reference.
"""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from ..kernel.errors import LoadError, RefusedError
from ..recipe import CopyFiles, EnvVars, RegistryBase, RunCommands, SecretMount, Step, WorkDir
from ..recipe.dockerignore import DockerIgnore
from .dockerfile_text import HereDocument, exec_form, expanded, instructions, wanted

__all__ = ["read_dockerfile"]

_LEFT_OUT = frozenset(("CMD", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "STOPSIGNAL"))
_WHY: Mapping[str, str] = {
    "ENTRYPOINT": "a task's command would become its arguments",
    "ONBUILD": "it is about other images",
    "VOLUME": "what is written there belongs to no image",
    "USER": "commands are run, and files owned, as root and the base's user; only `USER root` means the same",
}
_HINT = (
    "leave the line out, build the image elsewhere and use `flyte.Image.from_base(…)`, say it with with_* methods, or "
    'leave it to flyte\'s own builder, unpinned: `policy = "delegate"`'
)
# What BuildKit gives to every build: here for the machine that the step is sealed on, which is that of its platform.
_MACHINE = '$(case "$(uname -m)" in x86_64) echo amd64;; aarch64) echo arm64;; *) uname -m;; esac)'
_GIVEN: Mapping[str, str] = {
    f"{of}{name}": value
    for of in ("TARGET", "BUILD")
    for name, value in (
        ("PLATFORM", f"linux/{_MACHINE}"),
        ("OS", "linux"),
        ("ARCH", _MACHINE),
        ("VARIANT", ""),
    )
}
_SAME_PLATFORM = re.compile(r"--platform=\$\{?(TARGET|BUILD)PLATFORM\}?")
# Caches that no layer keeps (the normal form of sealed steps): whether one is mounted there makes no difference.
_CACHES = re.compile(r"/root/\.(cache|npm)(/.*)?|/var/cache/(apt|dnf|yum|apk)(/.*)?|/var/lib/apt(/lists)?")
_WILD = re.compile(r"[*?\[]")


@dataclass
class _Reading:
    """One file on its way; ``relative`` writes a path of the context as recipes have it. ``outside``: the arguments
    that stand before the first stage; ``shell``: what runs commands (empty: /bin/sh -c); ``given``: which of
    BuildKit's own arguments were asked for."""

    owner: str
    file: Path
    relative: Callable[[Path], str]
    base: RegistryBase | None = None
    steps: list[Step] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    shell: tuple[str, ...] = ()
    given: set[str] = field(default_factory=set)

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
    for one in wanted(list(instructions(text))):
        _one(reading, one.line, one.name, one.rest, one.words, one.here)
    if reading.base is None:
        raise LoadError(f"{owner}: {file.name}: no FROM in it")
    return reading.base, tuple(reading.steps)


def _one(r: _Reading, line: int, name: str, rest: str, words: str, here: tuple[HereDocument, ...]) -> None:
    if name in _LEFT_OUT or (name == "ENTRYPOINT" and rest == "[]"):
        return
    if name == "FROM":
        _from(r, line, rest, words)
    elif name == "ARG":
        _argument(r, line, rest, words)
    elif r.base is None:
        raise r.refuse(line, words, "expected FROM before it")
    elif name == "RUN":
        _run(r, line, rest, words, here)
    elif name == "SHELL":
        found = exec_form(rest)
        if not found:
            raise r.refuse(line, words, "expected a JSON array: the program, and its arguments")
        r.shell = tuple(found)
    elif name == "ENV":
        _env(r, line, rest, words)
    elif name == "WORKDIR":
        r.steps.append(WorkDir(_known(r, line, rest, words)))
    elif name in ("COPY", "ADD"):
        if here:
            _written(r, line, rest, words, here)
        else:
            _copy(r, line, rest, words, added=name == "ADD")
    elif name != "USER" or rest not in ("root", "0", "0:0", "root:root"):
        raise r.refuse(line, words, _WHY.get(name, "no instruction that is known here"))


def _from(r: _Reading, line: int, rest: str, words: str) -> None:
    parts = [word for word in rest.split() if not _SAME_PLATFORM.fullmatch(word)]
    if not parts or parts[0].startswith("--") or parts[0] == "scratch":
        raise r.refuse(line, words, "expected the name of an image")
    r.base = RegistryBase(_known(r, line, parts[0], words))
    # What stands before is known to FROM alone, until the stage asks for it by name.
    r.outside, r.arguments = r.arguments, {}
    r.given.clear()


def _argument(r: _Reading, line: int, rest: str, words: str) -> None:
    for text in _split(r, line, rest, words):
        name, given, value = text.partition("=")
        if given:
            r.arguments[name] = _known(r, line, value, words)
        elif name in r.outside:
            r.arguments[name] = r.outside[name]
        elif name in _GIVEN:
            r.given.add(name)
        elif name not in r.arguments:
            raise r.refuse(line, words, "expected a default, as nobody gives build arguments")


def _run(r: _Reading, line: int, rest: str, words: str, here: tuple[HereDocument, ...]) -> None:
    secrets: list[SecretMount] = []
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        rest = rest.strip()
        if (secret := _mounted(r, line, flag, words)) is not None:
            secrets.append(secret)
    command = exec_form(rest)
    if here and rest == here[0].told and len(here) == 1:
        text = _script(r, here[0])
    else:
        text = rest + "".join(f"\n{one.body}{one.name}" for one in here) + ("\n" if here else "")
    if command is not None:
        text = shlex.join(command)
    elif r.shell:
        text = shlex.join((*r.shell, text))
    given = "".join(f"export {name}={shlex.quote(value)}; " for name, value in r.arguments.items() if name in text)
    given += "".join(f'export {name}="{_GIVEN[name]}"; ' for name in sorted(r.given) if name in text)
    last = r.steps[-1] if r.steps else None
    if isinstance(last, RunCommands) and last.secrets == tuple(secrets):
        r.steps[-1] = RunCommands((*last.commands, given + text), last.secrets)
    else:
        r.steps.append(RunCommands((given + text,), tuple(secrets)))


def _mounted(r: _Reading, line: int, flag: str, words: str) -> SecretMount | None:
    """What ``--mount=…`` comes to: a secret, or nothing."""
    said = dict(part.partition("=")[::2] for part in flag.removeprefix("--mount=").split(","))
    kind, target = said.get("type", "bind"), said.get("target", said.get("dst", said.get("destination", "")))
    if flag.startswith("--mount=") and kind == "cache" and _CACHES.fullmatch(target):
        return None
    if flag.startswith("--mount=") and kind == "secret" and (key := said.get("id")):
        if "env" in said:
            return SecretMount(key, env=said["env"])
        return SecretMount(key, path=target or f"/run/secrets/{key}")
    raise r.refuse(line, words, f"`{flag}` asks for what a sealed step has not")


def _script(r: _Reading, here: HereDocument) -> str:
    """A here-document that is run as it stands: by what its first line names, else by the shell."""
    if not here.body.startswith("#!"):
        return here.body
    return f"cat >/tmp/.run <<'{here.name}'\n{here.body}{here.name}\nchmod 700 /tmp/.run && /tmp/.run && rm /tmp/.run\n"


def _written(r: _Reading, line: int, rest: str, words: str, here: tuple[HereDocument, ...]) -> None:
    """``COPY <<EOF /path``: the file is what the here-document says."""
    parts = _split(r, line, rest, words)
    if len(here) != 1 or len(parts) != 2 or parts[0].startswith("--"):
        raise r.refuse(line, words, "expected one here-document, and the path of the file")
    target = _known(r, line, parts[1], words)
    if target.endswith("/"):
        target += here[0].name
    body, unknown = (here[0].body, []) if here[0].plain else expanded(here[0].body, r.arguments | r.variables)
    if unknown:
        raise r.refuse(line, words, f"nothing in the file sets ${unknown[0]}: quote the here-document's name")
    where = shlex.quote(target)
    text = f"mkdir -p \"$(dirname {where})\" && cat >{where} <<'{here[0].name}'\n{body}{here[0].name}\n"
    last = r.steps[-1] if r.steps else None
    if isinstance(last, RunCommands) and not last.secrets:
        r.steps[-1] = RunCommands((*last.commands, text))
    else:
        r.steps.append(RunCommands((text,)))


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
    made = [(name, expanded(value, r.arguments | r.variables)[0]) for name, value in pairs]
    r.steps.append(EnvVars(tuple(made)))
    r.variables |= dict(made)


def _copy(r: _Reading, line: int, rest: str, words: str, *, added: bool) -> None:
    flags = [word for word in rest.split() if word.startswith("--")]
    if [flag for flag in flags if flag != "--link"]:
        why = "another stage's files are not at hand: make them in this one" if flags[0].startswith("--from") else ""
        raise r.refuse(line, words, f"`{flags[0]}`: {why or 'is not known here'}")
    text = rest.replace("--link", "", 1).strip() if flags else rest
    listed = exec_form(text)
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


def _known(r: _Reading, line: int, text: str, words: str) -> str:
    found, unknown = expanded(text.strip("\"'"), r.arguments | r.variables)
    if unknown:
        raise r.refuse(line, words, f"nothing in the file sets ${unknown[0]}")
    return found
