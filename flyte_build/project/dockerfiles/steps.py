"""``RUN``, ``ENV``, ``SHELL``, ``USER`` and ``WORKDIR`` of a Dockerfile → steps."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Mapping

from ...recipe import CopyFiles, EnvVars, Mount, RunCommands, SecretMount, TreeCopy, WorkDir
from .context import found, patterns
from .reading import GIVEN, State
from .text import HereDocument, Instruction, exec_form

__all__ = ["Taken", "env", "flags_of", "run", "shell", "user", "workdir"]

Taken = Callable[[State, Instruction, str], int]
"""The number of the recipe's stage that a name means."""

# Caches that no layer keeps (the normal form of sealed steps): whether one is mounted there makes no difference.
_CACHES = re.compile(r"/root/\.(cache|npm)(/.*)?|/var/cache/(apt|dnf|yum|apk)(/.*)?|/var/lib/apt(/lists)?")
_ROOT = frozenset(("root", "0", "0:0", "root:root", "root:0", "0:root"))
_ID, _MODE = re.compile(r"\d{1,10}"), re.compile(r"0?[0-7]{3,4}")
_YES: Mapping[str, bool] = {"": True, "true": True, "1": True, "false": False, "0": False}


def flags_of(s: State, one: Instruction) -> tuple[list[tuple[str, str]], str]:
    """The options of an instruction, with their values, and what stands behind them."""
    flags, rest = [], one.rest
    while rest.startswith("--") and rest[2:3] not in ("", " ", "\t"):
        word, *more = rest.split(None, 1)
        name, _, value = word[2:].partition("=")
        flags.append((name, value))
        rest = more[0] if more else ""
    return flags, rest


# -- RUN ------------------------------------------------------------------------------------------------


def run(s: State, one: Instruction, taken: Taken) -> None:
    """A sealed step, or more of the one before."""
    flags, rest = flags_of(s, one)
    secrets: list[SecretMount] = []
    mounts: list[Mount] = []
    offline = False
    for name, value in flags:
        if name == "mount":
            made = _mounted(s, one, value, taken)
            secrets += [made] if isinstance(made, SecretMount) else []
            mounts += [made] if isinstance(made, Mount) else []
        elif name == "network" and value in ("none", "default"):
            offline = value == "none"
        elif (name, value) != ("security", "sandbox"):
            raise s.r.refuse(one, f"`--{name}={value}` asks for what a sealed step has not", elsewhere=True)
    # What is a list, or names its own interpreter, is for no shell.
    itself = exec_form(rest) is not None or (len(one.here) == 1 and one.here[0].body.startswith("#!"))
    text = _exported(s, _command(s, rest, one.here))
    based = not s.shell and not itself
    s.run(RunCommands((text,), tuple(secrets), s.user, tuple(mounts), offline, based=based))


def _command(s: State, rest: str, here: tuple[HereDocument, ...]) -> str:
    """What a shell is given to run."""
    command = exec_form(rest)
    if command is not None:
        return shlex.join(command)
    if here and rest == here[0].told and len(here) == 1:
        text = _script(here[0])
    else:
        text = rest + "".join(f"\n{one.body}{one.name}" for one in here) + ("\n" if here else "")
    return shlex.join((*s.shell, text)) if s.shell else text


def _exported(s: State, text: str) -> str:
    """With the arguments that it speaks of, as variables of it alone; one of the image's own counts more."""
    mine = {name: shlex.quote(value) for name, value in s.arguments.items()}
    given = {name: f'"{GIVEN[name]}"' for name in sorted(s.asked) if name not in mine}
    rows = [(n, v) for n, v in (mine | given).items() if n in text and n not in s.variables]
    return "".join(f"export {name}={value}; " for name, value in rows) + text


def _script(here: HereDocument) -> str:
    """A here-document that is run as it stands: by what its first line names, else by the shell."""
    if not here.body.startswith("#!"):
        return here.body
    return f"cat >/tmp/.run <<'{here.name}'\n{here.body}{here.name}\nchmod 700 /tmp/.run && /tmp/.run && rm /tmp/.run\n"


def _mounted(s: State, one: Instruction, value: str, taken: Taken) -> SecretMount | Mount | None:
    """What ``--mount=…`` comes to: a secret, a mount, or nothing."""
    said: dict[str, str] = {}
    for part in value.split(","):
        key, _, word = part.partition("=")
        said[{"dst": "target", "destination": "target", "src": "source"}.get(key, key)] = s.known(one, word)
    kind = said.pop("type", "bind")
    strange = sorted(said.keys() - _KNOWN.get(kind, frozenset()))
    if kind not in _KNOWN or strange:
        what = f"`{strange[0]}` of a mount of type {kind}" if kind in _KNOWN else f"a mount of type `{kind}`"
        raise s.r.refuse(one, f"`--mount={value}` asks for what a sealed step has not: {what}", elsewhere=True)
    mode = _number(s, one, said, "mode", _MODE, 8)
    ids = _number(s, one, said, "uid", _ID, 10), _number(s, one, said, "gid", _ID, 10)
    owner = (ids[0] or 0, ids[1] or 0) if ids != (None, None) else None
    if kind == "secret":
        return _secret(s, one, said, mode, owner)
    target = said.get("target", "")
    if not target:
        raise s.r.refuse(one, f"`--mount={value}`: expected a target")
    if kind == "cache":
        plain = said.keys() <= {"target", "id", "sharing"}
        if plain and _CACHES.fullmatch(target) and s.user in (None, ""):
            return None
        return Mount("cache", target, mode=0o755 if mode is None else mode, owner=owner or (0, 0))
    if kind == "tmpfs":
        return Mount("tmpfs", target)
    writable = _YES.get(said.get("rw", said.get("readwrite", "false")), False)
    source = posixpath.normpath("/" + said.get("source", "").lstrip("/"))
    if "from" in said:
        return Mount("bind", target, taken(s, one, said["from"]), source, writable)
    return Mount("bind", target, _context(s, one, source), source, writable)


_KNOWN: Mapping[str, frozenset[str]] = {
    "bind": frozenset(("target", "source", "from", "rw", "readwrite", "ro", "readonly")),
    "cache": frozenset(("target", "id", "sharing", "mode", "uid", "gid")),
    "tmpfs": frozenset(("target", "size")),
    "secret": frozenset(("id", "target", "env", "required", "mode", "uid", "gid")),
}


def _number(
    s: State, one: Instruction, said: Mapping[str, str], key: str, of: re.Pattern[str], radix: int
) -> int | None:
    if key not in said:
        return None
    if not of.fullmatch(said[key]):
        raise s.r.refuse(one, f"{key}={said[key]}: expected a number")
    return int(said[key], radix)


def _secret(
    s: State, one: Instruction, said: Mapping[str, str], mode: int | None, owner: tuple[int, int] | None
) -> SecretMount:
    target = said.get("target", "")
    key = said.get("id") or posixpath.basename(target)
    if not key:
        raise s.r.refuse(one, "a secret is called by its id: expected `id=NAME`")
    if "env" in said and not target:
        return SecretMount(key, env=said["env"] or key)
    path = target if target.startswith("/") or not target else f"/run/secrets/{target}"
    return SecretMount(key, env=said.get("env"), path=path or f"/run/secrets/{key}", mode=mode, owner=owner)


def _context(s: State, one: Instruction, source: str) -> int:
    """The stage that holds ``source`` of the Dockerfile's folder, at its place."""
    inside = source.strip("/")
    (path,) = found(s, one, inside or ".")
    if path.is_dir():
        step = CopyFiles(s.r.relative(path), f"/{inside}", True, patterns(s, path), owner=(0, 0))
    else:
        step = CopyFiles(s.r.relative(path), f"/{inside}", False, owner=(0, 0))
    return s.copied([step])


# -- the others -----------------------------------------------------------------------------------------


def env(s: State, one: Instruction) -> None:
    """All of an instruction's variables see the values from before it."""
    first = one.rest.split()[0] if one.rest else ""
    pairs: list[tuple[str, str]] = []
    if "=" in first:
        for text in s.r.split(one, one.rest):
            name, given, value = text.partition("=")
            if not given:
                raise s.r.refuse(one, f"expected NAME=VALUE, found `{text}`")
            pairs.append((name, value))
    elif one.rest[len(first) :].strip():
        pairs.append((first, one.rest[len(first) :].strip()))
    else:
        raise s.r.refuse(one, "expected NAME=VALUE")
    # What only the base sets is filled in where the base is known.
    made = [(name.strip("\"'"), s.later(one, value)) for name, value in pairs]
    s.steps.append(EnvVars(tuple(made)))
    for name, value in made:
        s.arguments.pop(name, None)
        s.variables.pop(name, None)
        s.unset.discard(name)
        plain = value.replace("\\$", "")
        if "$" not in plain:
            s.variables[name] = value.replace("\\$", "$")


def shell(s: State, one: Instruction) -> None:
    found = exec_form(one.rest)
    if not found:
        raise s.r.refuse(one, "expected a JSON array: the program, and its arguments")
    s.shell = tuple(found)


def user(s: State, one: Instruction) -> None:
    """Who runs the commands from here on, and in the end the image."""
    named = s.later(one, one.rest)
    if not named or " " in named:
        raise s.r.refuse(one, "expected a user's name or number, and perhaps a group after a colon")
    s.user = None if named in _ROOT else named
    s.settings["User"] = named


def workdir(s: State, one: Instruction) -> None:
    """The folder is made, where it is not there, for the user in force."""
    path = s.later(one, one.rest)
    if not path:
        raise s.r.refuse(one, "expected a path")
    if s.user:
        s.run(RunCommands((), copies=(TreeCopy(0, (), path, chown=s.user),)))
        s.steps.append(WorkDir(path, made=True))
    else:
        s.steps.append(WorkDir(path, (0, 0) if s.user is None else None))
