"""What a Dockerfile says of the image's configuration alone: its command, labels, ports, volumes, health check.

Fields are those of the image specification's ``config`` object (image-spec v1.1, config.md); ``Healthcheck`` and
``OnBuild`` are Docker's own. Tasks are started with a command of their own, whatever is said here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ...kernel.canonical import Json
from .reading import State
from .text import Instruction, exec_form

__all__ = ["SETTERS", "UNTRIGGERED"]

UNTRIGGERED = ("FROM", "MAINTAINER", "ONBUILD")
"""What an image cannot have those begin with that stand on it."""

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_MOST_PORTS = 1000
_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}


def _words(s: State, one: Instruction) -> list[Json]:
    """A command as a list: as it is one, or for the shell."""
    found = exec_form(one.rest)
    return list(found) if found is not None else [*(s.shell or ("/bin/sh", "-c")), one.rest]


def _command(s: State, one: Instruction) -> None:
    s.settings["Cmd"] = _words(s, one)


def _entrypoint(s: State, one: Instruction) -> None:
    s.settings["Entrypoint"] = _words(s, one) if one.rest else []
    # A command of the base's was for the base's entry point.
    s.settings.setdefault("Cmd", [])


def _label(s: State, one: Instruction) -> None:
    rows: dict[str, Json] = {}
    words = s.r.split(one, one.rest)
    if words and "=" not in words[0]:
        rows[s.later(one, words[0])] = s.later(one, one.rest[len(words[0]) :].strip())
    else:
        for word in words:
            name, given, value = word.partition("=")
            if not given:
                raise s.r.refuse(one, f"expected NAME=VALUE, found `{word}`")
            rows[s.later(one, name)] = s.later(one, value)
    _join(s, "Labels", rows)


def _join(s: State, key: str, rows: Mapping[str, Json]) -> None:
    held = s.settings.get(key)
    s.settings[key] = {**(held if isinstance(held, dict) else {}), **rows}


def _expose(s: State, one: Instruction) -> None:
    rows: dict[str, Json] = {}
    for word in s.r.split(one, one.rest):
        text = s.known(one, word)
        m = _PORT.fullmatch(text)
        low, high = (int(m[1]), int(m[2] or m[1])) if m is not None else (1, 0)
        if m is None or not low <= high <= 65535 or high - low >= _MOST_PORTS:
            raise s.r.refuse(one, f"`{text}`: expected a port, or a range of ports, and perhaps /tcp or /udp")
        rows |= {f"{port}/{(m[3] or 'tcp').lower()}": {} for port in range(low, high + 1)}
    _join(s, "ExposedPorts", rows)


def _volume(s: State, one: Instruction) -> None:
    listed = exec_form(one.rest)
    paths = listed if listed is not None else [s.known(one, word) for word in s.r.split(one, one.rest)]
    if not paths or not all(paths):
        raise s.r.refuse(one, "expected paths")
    _join(s, "Volumes", {path: {} for path in paths})


def _signal(s: State, one: Instruction) -> None:
    s.settings["StopSignal"] = s.known(one, one.rest)


def _health(s: State, one: Instruction) -> None:
    rest, check = one.rest, dict[str, Json]()
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        name, _, value = flag[2:].partition("=")
        rest = rest.strip()
        if name in _TIMES and _DURATION.fullmatch(value):
            check[_TIMES[name]] = int(sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(value)))
        elif name == "retries" and value.isdigit():
            check["Retries"] = int(value)
        else:
            raise s.r.refuse(one, f"`{flag}`: expected --interval, --timeout, --start-period (30s), or --retries (3)")
    word, _, command = rest.partition(" ")
    if word.upper() == "NONE":
        s.settings["Healthcheck"] = {"Test": ["NONE"]}
        return
    if word.upper() != "CMD" or not command.strip():
        raise s.r.refuse(one, "expected CMD and a command, or NONE")
    listed = exec_form(command.strip())
    test: list[Json] = ["CMD", *listed] if listed is not None else ["CMD-SHELL", command.strip()]
    s.settings["Healthcheck"] = {"Test": test, **check}


def _onbuild(s: State, one: Instruction) -> None:
    """About images that stand on this one: of this image it is a note."""
    word = one.rest.split(None, 1)[0].upper() if one.rest else ""
    if word in ("", *UNTRIGGERED):
        raise s.r.refuse(one, f"expected an instruction other than {', '.join(UNTRIGGERED)}")
    held = s.settings.get("OnBuild")
    text = one.rest + "".join(f"\n{here.body}{here.name}" for here in one.here)
    s.settings["OnBuild"] = [*(held if isinstance(held, list) else []), text]


def _nothing(_: State, __: Instruction) -> None:
    """Who wrote the image is no part of it."""


SETTERS: Mapping[str, Callable[[State, Instruction], None]] = {
    "CMD": _command,
    "ENTRYPOINT": _entrypoint,
    "EXPOSE": _expose,
    "HEALTHCHECK": _health,
    "LABEL": _label,
    "MAINTAINER": _nothing,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _signal,
    "VOLUME": _volume,
}
