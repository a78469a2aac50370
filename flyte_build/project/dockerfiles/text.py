"""A Dockerfile's text → its instructions and stages: comments, continuations, here-documents.

Reads texts only, and judges no instruction. Source: Dockerfile reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["HereDocument", "Instruction", "StageText", "directives", "exec_form", "instructions", "staged"]

_HERE = re.compile(r"(?<!<)<<(-?)([\"']?)(\w+)\2(?=\s|$)")
_HAVE_HERE = frozenset(("RUN", "COPY", "ADD"))


@dataclass(frozen=True, slots=True)
class HereDocument:
    """``plain``: variables in it are not filled in. ``told``: as it is written in the instruction."""

    name: str
    body: str
    plain: bool
    told: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """``line`` is the first of its lines, from 1; ``words`` all that it says, here-documents apart. ``of``: the image
    that has it for those that stand on it (``ONBUILD``), where it is not the file's own; ``line`` is then its
    ``FROM``'s."""

    line: int
    words: str
    here: tuple[HereDocument, ...] = ()
    of: str = ""

    @property
    def name(self) -> str:
        return self.words.split(None, 1)[0].upper()

    @property
    def rest(self) -> str:
        return "".join(self.words.split(None, 1)[1:]).strip()


_DIRECTIVE = re.compile(r"#\s*(\w+)\s*=\s*(.+?)\s*")


def directives(text: str) -> dict[str, str]:
    """What the comments at the head say to the parser: ``# syntax=…``, ``# escape=…``."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        m = _DIRECTIVE.fullmatch(line.strip())
        if m is None:
            break
        found.setdefault(m[1].lower(), m[2])
    return found


def instructions(text: str) -> Iterator[Instruction]:
    """Each instruction of ``text``, as Docker has them."""
    lines = text.splitlines()
    held, start, at = "", 0, 0
    while at < len(lines):
        line, at = lines[at], at + 1
        stripped = line.strip()
        if stripped.startswith("#") or not stripped:
            continue
        start = start if held else at
        if line.rstrip().endswith("\\"):
            held += line.rstrip()[:-1].lstrip() if not held else line.rstrip()[:-1]
            continue
        words = (held + line if held else stripped).strip()
        held, here = "", []
        first, *more = words.split(None, 2)[:2]
        if {first.upper(), *(word.upper() for word in more if first.upper() == "ONBUILD")} & _HAVE_HERE:
            for m in _HERE.finditer(words):
                body: list[str] = []
                while at < len(lines) and (lines[at].lstrip("\t") if m[1] else lines[at]) != m[3]:
                    body.append(lines[at].lstrip("\t") if m[1] else lines[at])
                    at += 1
                at += 1
                here.append(HereDocument(m[3], "".join(f"{row}\n" for row in body), bool(m[2]), m[0]))
        yield Instruction(start, words, tuple(here))
    if held.strip():
        yield Instruction(start, held.strip())


@dataclass(frozen=True, slots=True)
class StageText:
    """One stage: its ``FROM``, what follows it, and its ``name`` in small letters (empty: it has none)."""

    first: Instruction
    rest: tuple[Instruction, ...]
    name: str


def staged(every: Sequence[Instruction]) -> tuple[list[Instruction], list[StageText]]:
    """What stands before the first stage, and the stages."""
    starts = [at for at, one in enumerate(every) if one.name == "FROM"]
    stages = []
    for start, end in zip(starts, [*starts, len(every)][1:], strict=True):
        parts = [word for word in every[start].rest.split() if not word.startswith("--")]
        name = parts[2].lower() if len(parts) == 3 and parts[1].upper() == "AS" else ""
        stages.append(StageText(every[start], tuple(every[start + 1 : end]), name))
    return list(every[: starts[0] if starts else len(every)]), stages


def exec_form(text: str) -> list[str] | None:
    """A JSON array of strings; ``None`` where it is none."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(x, str) for x in found) else None
