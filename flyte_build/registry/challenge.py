"""``WWW-Authenticate``: which schemes a server takes, and with which parameters (RFC 9110, section 11.6.1).

The field is a list of challenges whose parameters are separated by the same comma as the challenges are, so it is read
token by token. What does not follow the grammar ends the reading; what was read before counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Challenge", "parse_challenges"]

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}(?:[/:=@]+{_TOKEN})*))\s*(?=,|$)')
_SCHEME = re.compile(rf"\s*({_TOKEN})(?:\s+|\s*(?=,|$))")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*\s*(?=,|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in: ``scheme`` in lower case (``basic``, ``bearer``, …), parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(fields: Iterable[str]) -> list[Challenge]:
    """The challenges of all ``fields`` of that name, in order."""
    found = []
    for text in fields:
        found += _read(text)
    return found


def _read(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    at = 0
    parameters: dict[str, str] | None = None
    while at < len(text):
        if text[at] in ", \t":
            at += 1
            continue
        parameter = _PARAMETER.match(text, at)
        if parameter and parameters is not None:
            name, quoted, plain = parameter.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            parameters.setdefault(name.lower(), value)
            at = parameter.end()
            continue
        scheme = _SCHEME.match(text, at)
        if not scheme:
            break
        parameters = {}
        found.append(Challenge(scheme[1].lower(), parameters))
        at = scheme.end()
        opaque = _TOKEN68.match(text, at)
        if opaque and not _PARAMETER.match(text, at):
            at = opaque.end()
    return found
