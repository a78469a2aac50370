"""``Image.from_dockerfile(file)`` → a base, steps, and the stages that they take files from.

The last stage is the image; stages that it stands on are one with it, those that it copies from are stages of the
recipe, and the others are not read. A stage begins with what its base has for it (``ONBUILD``), which is known once
somebody has read the base. What no step means is refused by its line, with why (law 9). Reads the file and
the context's names; runs nothing. Source: Dockerfile reference; where that leaves it open, BuildKit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...kernel.errors import LoadError
from ...recipe import ImageSettings, Known, RegistryBase, Scratch, Stage, Step
from .copies import copy
from .delegated import delegated
from .reading import GIVEN, ElsewhereError, Reading, State
from .settings import SETTERS, UNTRIGGERED
from .steps import env, run, shell, user, workdir
from .text import Instruction, directives, instructions, staged

__all__ = ["DockerImage", "read_dockerfile"]

_PLATFORM = re.compile(r"--platform=\$\{?(TARGET|BUILD)PLATFORM\}?")
_STANDARD = re.compile(r"(docker\.io/)?docker/dockerfile(-upstream)?(:[\w.-]+)?(@sha256:\w+)?")


@dataclass(frozen=True, slots=True)
class DockerImage:
    """What a Dockerfile says, as a recipe has it."""

    base: RegistryBase
    steps: tuple[Step, ...]
    stages: tuple[Stage, ...]
    triggers: tuple[tuple[str, tuple[str, ...]], ...] = ()


def read_dockerfile(
    file: Path,
    owner: str,
    relative: Callable[[Path], str],
    platforms: Sequence[str] = ("linux/amd64",),
    *,
    elsewhere: bool = True,
    known: Known | None = None,
) -> DockerImage:
    """What ``file`` says, whose folder is the context, as the SDK's builder has it; ``platforms``: the image's.
    ``elsewhere``: with a line that no step means, the whole file is one for another builder. ``known``: what a
    lock knows of it.

    Raises :class:`LoadError` for a file that cannot be read and :class:`RefusedError` for a line that has no place in a
    lock; both name the line.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise LoadError(f"{owner}: {file}: cannot be read: {e}") from None
    try:
        return _read(Reading(owner, file, relative, platforms, known=known or Known()), text)
    except ElsewhereError as e:
        found = delegated(Reading(owner, file, relative, platforms), text, e) if elsewhere else None
        if found is None:
            raise
        return DockerImage(*found)


def _read(r: Reading, text: str) -> DockerImage:
    for name, value in directives(text).items():
        said = Instruction(1, f"# {name}={value}")
        if name == "syntax" and not _STANDARD.fullmatch(value):
            raise r.refuse(said, "another language than Docker's own has a builder of its own", elsewhere=True)
        if name == "escape" and value != "\\":
            raise r.refuse(said, "lines are continued by backslashes", elsewhere=True)
    head, r.texts = staged(list(instructions(text)))
    outside = State(r, -1, Scratch(), asked=set(r.given))
    for one in head:
        if one.name != "ARG":
            raise r.refuse(one, "expected FROM before it")
        _argument(outside, one)
    r.outside = outside.values
    if not r.texts:
        raise LoadError(f"{r.owner}: {r.file.name}: no FROM in it")
    last = _stage(r, len(r.texts) - 1)
    if not isinstance(last.base, RegistryBase):
        raise r.refuse(
            r.texts[-1].first, "a task needs a system and a Python to start in: expected the name of an image"
        )
    steps = tuple(last.steps)
    if last.settings:
        steps += (ImageSettings(json.dumps(last.settings, sort_keys=True, ensure_ascii=False)),)
    return DockerImage(last.base, steps, tuple(r.stages), tuple(sorted(r.begun.items())))


def _stage(r: Reading, number: int) -> State:
    """Stage ``number`` with all that it stands on."""
    text = r.texts[number]
    s = _from(r, number, text.first)
    for one in (*_begins(s, text.first), *text.rest):
        _READERS[one.name](s, one) if one.name in _READERS else _unknown(s, one)
    return s


def _from(r: Reading, number: int, one: Instruction) -> State:
    parts = [word for word in one.rest.split() if not _PLATFORM.fullmatch(word)]
    if (
        parts
        and parts[0].startswith("--platform=")
        and parts[0].partition("=")[2] in r.platforms
        and len(r.platforms) == 1
    ):
        parts = parts[1:]
    if not parts or parts[0].startswith("--"):
        raise r.refuse(one, "expected the name of an image")
    named = State(r, number, Scratch(), arguments=dict(r.outside)).known(one, parts[0])
    if (below := _numbered(r, number, named, of_numbers=False)) is not None:
        return _stage(r, below).above(number)
    if not named:
        raise r.refuse(one, "expected the name of an image")
    return State(r, number, Scratch() if named == "scratch" else RegistryBase(named))


def _begins(s: State, first: Instruction) -> list[Instruction]:
    """What the stage's base has for it: of an image as far as that is known, of a stage of the file what it says."""
    held = s.settings.pop("OnBuild", None)
    if isinstance(held, list):
        name, texts = _stage_name(s), tuple(map(str, held))
    elif s.below is not None or isinstance(s.base, Scratch):
        return []
    else:
        name = s.base.reference
        texts = s.r.begun[name] = s.r.known.triggers.get(name, ())
    found = [replace(one, line=first.line, of=name) for text in texts for one in instructions(text)]
    for one in found:
        if one.name in UNTRIGGERED:
            raise s.r.refuse(one, "no instruction that an image can have for those that stand on it")
    return found


def _stage_name(s: State) -> str:
    return (s.r.texts[s.below].name if s.below is not None else "") or f"stage {s.below}"


def _numbered(r: Reading, before: int, name: str, *, of_numbers: bool = True) -> int | None:
    """Which of the stages before this one is meant; the last of a name."""
    for number in reversed(range(before)):
        if r.texts[number].name == name.lower() and name:
            return number
    return int(name) if of_numbers and name.isascii() and name.isdigit() and int(name) < before else None


def taken(s: State, one: Instruction, name: str) -> int:
    """The number, among the recipe's stages, of what ``--from=name`` or ``from=name`` means: a stage, or an image."""
    r, word = s.r, s.known(one, name)
    number = _numbered(r, s.number, word)
    if number is None:
        if not word or word.isdigit() or word == "scratch":
            raise r.refuse(one, f"no stage before it is called `{word}`, and no image can be")
        return r.added(Stage(word, RegistryBase(word)))
    if number not in r.made:
        found = _stage(r, number)
        r.made[number] = r.added(Stage(r.texts[number].name or str(number), found.base, tuple(found.steps)))
    return r.made[number]


def _argument(s: State, one: Instruction) -> None:
    for text in s.r.split(one, one.rest):
        name, given, value = text.partition("=")
        if given:
            s.arguments[name] = s.known(one, value)
        elif name in s.r.outside and s.number >= 0 and name not in GIVEN:
            s.arguments[name] = s.r.outside[name]
        elif name in GIVEN:
            s.asked.add(name)
        elif name not in s.arguments:
            # Nobody gives build arguments.
            s.unset.add(name)


def _unknown(s: State, one: Instruction) -> None:
    raise s.r.refuse(one, "no instruction that is known here")


_READERS: Mapping[str, Callable[[State, Instruction], None]] = {
    "ARG": _argument,
    "ENV": env,
    "RUN": lambda s, one: run(s, one, taken),
    "SHELL": shell,
    "USER": user,
    "WORKDIR": workdir,
    "COPY": lambda s, one: copy(s, one, taken),
    "ADD": lambda s, one: copy(s, one, taken),
    **SETTERS,
}
