"""A Dockerfile's text → its instructions: comments, continuations, here-documents, and which of them count.

Of several stages those count that the last one stands on (``FROM name``), in their order; the others are not read
further. Reads texts only, and judges no instruction. Source: Dockerfile reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["HereDocument", "Instruction", "exec_form", "expanded", "instructions", "wanted"]

_VARIABLE = re.compile(r"\\\$|\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))")
_HERE = re.compile(r"<<(-?)([\"']?)(\w+)\2(?=\s|$)")
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
    """``line`` is the first of its lines, from 1; ``words`` all that it says, here-documents apart."""

    line: int
    words: str
    here: tuple[HereDocument, ...] = ()

    @property
    def name(self) -> str:
        return self.words.partition(" ")[0].upper()

    @property
    def rest(self) -> str:
        return self.words.partition(" ")[2].strip()


def instructions(text: str) -> Iterator[Instruction]:
    """Each instruction of ``text``, as Docker has them."""
    lines = text.splitlines()
    held, start, at = "", 0, 0
    while at < len(lines):
        line, at = lines[at], at + 1
        stripped = line.strip()
        if stripped.startswith("#") or (not stripped and not held):
            continue
        start = start if held else at
        if line.rstrip().endswith("\\"):
            held += line.rstrip()[:-1].lstrip() if not held else line.rstrip()[:-1]
            continue
        words = (held + line if held else stripped).strip()
        held, here = "", []
        if words.partition(" ")[0].upper() in _HAVE_HERE:
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


def wanted(every: Sequence[Instruction]) -> list[Instruction]:
    """What stands before the first stage, then the stages that the last one stands on, lowest first. Of a ``FROM`` that
    names a stage nothing is left, as what it names is there."""
    first = next((at for at, one in enumerate(every) if one.name == "FROM"), len(every))
    stages: list[list[Instruction]] = []
    for one in every[first:]:
        if one.name == "FROM":
            stages.append([])
        stages[-1].append(one)
    names: dict[str, int] = {}
    below: list[int | None] = []
    for number, stage in enumerate(stages):
        parts = [word for word in stage[0].rest.split() if not word.startswith("--")]
        below.append(names.get(parts[0].lower()) if parts else None)
        if len(parts) == 3 and parts[1].upper() == "AS":
            names[parts[2].lower()] = number
    chain: list[Instruction] = []
    at = len(stages) - 1 if stages else None
    while at is not None:
        chain = [*(stages[at] if below[at] is None else stages[at][1:]), *chain]
        at = below[at]
    return [*every[:first], *chain]


def exec_form(text: str) -> list[str] | None:
    """A JSON array of strings; ``None`` where it is none."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(x, str) for x in found) else None


def expanded(text: str, known: Mapping[str, str]) -> tuple[str, list[str]]:
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
