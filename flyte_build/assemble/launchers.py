"""Executables of an environment: entry points become launchers, and ``#!python`` the interpreter's path.

The rules are those of the entry points specification and of the binary distribution format ("Recommended
installer features"): console and GUI scripts call an object and exit with what it returns; a script whose
first line begins with ``#!python`` gets the environment's interpreter.
"""

from __future__ import annotations

import re

from .paths import check_name

__all__ = ["PLACEHOLDER", "check_script", "entry_point_scripts", "launcher", "rewrite", "shebang"]

PLACEHOLDER = b"#!python"

# Linux gives the first line 255 bytes since 5.1, and had 127 before: the shorter works everywhere.
_LONGEST_LINE = 127
# Of what is no entry point, characters that a message has.
_MOST_SAID = 300
_REFERENCE = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*:\s*([^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*(?:\[.*\])?")
_NAME = re.compile(r"(?!\.{1,2}$)(?!\.wh\.)[^/\\\0\n]+")
# What runs a task, and what installs into its environment: an entry point is not to stand in their place.
_INTERPRETER = re.compile(r"python(w|\d[\d.]*)?", re.IGNORECASE)
_INSTALLER = re.compile(r"pip(\d[\d.]*)?", re.IGNORECASE)

_LAUNCHER = """\
import sys

from {module} import {top}

if __name__ == "__main__":
    for suffix in ("-script.pyw", ".exe"):
        if sys.argv[0].endswith(suffix):
            sys.argv[0] = sys.argv[0][: -len(suffix)]
            break
    sys.exit({call}())
"""


def shebang(interpreter: str, arguments: str = "") -> bytes:
    """The lines that make a file a script of ``interpreter`` (an absolute path), with their line end.

    A kernel splits the line at blanks and cuts it where it is long; such a path goes through ``/bin/sh``, in
    lines that Python reads as a string.
    """
    line = f"#!{interpreter}{' ' + arguments if arguments else ''}\n"
    if len(line.encode()) <= _LONGEST_LINE and not re.search(r"\s", interpreter):
        return line.encode()
    quoted = re.sub(r'([\\"$`])', r"\\\1", interpreter)
    passed = f" {arguments}" if arguments else ""
    return f"#!/bin/sh\n'''exec' \"{quoted}\"{passed} \"$0\" \"$@\"\n' '''\n".encode()


def rewrite(script: bytes, interpreter: str) -> bytes:
    """``script`` with its ``#!python`` or ``#!pythonw`` line (arguments are kept) made one of ``interpreter``.

    Raises ``UnicodeDecodeError`` where the arguments are not UTF-8.
    """
    line, end, rest = script.partition(b"\n")
    match = re.fullmatch(rb"#!pythonw?(?:\s+(.*?))?\s*", line)
    if match is None:
        return script
    return shebang(interpreter, (match[1] or b"").decode()) + (rest if end else b"")


def check_script(name: str, distribution: str) -> None:
    """Raises ``ValueError`` where a wheel of ``distribution`` may not bring a program called ``name``.

    ``python`` in any version is the environment's own; ``pip`` in any version is for the distribution pip alone.
    """
    if not _NAME.fullmatch(name) or len(name.encode()) > 255:
        raise ValueError(f"script `{name}`: not a file name")
    check_name(name)
    if _INTERPRETER.fullmatch(name) or (_INSTALLER.fullmatch(name) and distribution.lower() != "pip"):
        raise ValueError(f"script `{name}` would stand in the place of the environment's own `{name}`")


def entry_point_scripts(text: str, distribution: str) -> dict[str, str]:
    """Script name → ``module:attribute`` of the console and GUI scripts in a wheel's ``entry_points.txt``.

    Raises ``ValueError`` for text that is no such file, a name that :func:`check_script` refuses, and a reference
    that cannot be called.
    """
    sections = _plainly(text)
    if sections is None:
        sections = _by_configparser(text)
    scripts: dict[str, str] = {}
    for section in ("console_scripts", "gui_scripts"):
        for name, reference in sections.get(section, {}).items():
            check_script(name, distribution)
            match = _REFERENCE.fullmatch(reference.strip())
            if match is None:
                raise ValueError(f"script `{name}`: expected `module:callable`, found `{reference[:200]}`")
            scripts[name] = f"{match[1]}:{match[2]}"
    return scripts


def _plainly(text: str) -> dict[str, dict[str, str]] | None:
    """The sections of a text in which nothing is left to rules: as ``configparser`` reads it, which takes as long to
    load as most wheels to install. ``None`` for any other text."""
    sections: dict[str, dict[str, str]] = {}
    into: dict[str, str] | None = None
    for line in text.split("\n"):
        if not line:
            continue
        if not (line.isascii() and line.isprintable()) or line[0] in " #;":
            return None
        if line[0] == "[":
            name = line[1:-1]
            if line[-1] != "]" or not name or "]" in name or "[" in name or name == "DEFAULT":
                return None
            into = sections.setdefault(name, {})
            continue
        name, equals, value = line.partition("=")
        if into is None or not equals or not name.strip():
            return None
        into[name.rstrip()] = value.strip()
    return sections


def _by_configparser(text: str) -> dict[str, dict[str, str]]:
    import configparser

    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(text, "entry_points.txt")
    except configparser.Error as e:
        # It has the whole line in it.
        said = e.message if len(e.message) <= _MOST_SAID else f"{e.message[:_MOST_SAID]}…"
        raise ValueError(f"not in the format of entry points: {said}".replace("\n", " ")) from None
    return {section: dict(parser.items(section)) for section in parser.sections()}


def launcher(reference: str, interpreter: str) -> bytes:
    """The script that calls ``reference`` (``module:attribute``) under ``interpreter``."""
    module, _, call = reference.partition(":")
    body = _LAUNCHER.format(module=module, top=call.partition(".")[0], call=call)
    return shebang(interpreter) + body.encode()
