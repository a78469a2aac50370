"""Executables of an environment: entry points become launchers, and ``#!python`` the interpreter's path.

The rules are those of the entry points specification and of the binary distribution format ("Recommended
installer features"): console and GUI scripts call an object and exit with what it returns; a script whose
first line begins with ``#!python`` gets the environment's interpreter.
"""

from __future__ import annotations

import configparser
import re

__all__ = ["PLACEHOLDER", "entry_point_scripts", "launcher", "rewrite", "shebang"]

PLACEHOLDER = b"#!python"

# Linux gives the first line 255 bytes since 5.1, and had 127 before: the shorter works everywhere.
_LONGEST_LINE = 127
_REFERENCE = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*:\s*([^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*(?:\[.*\])?")
_NAME = re.compile(r"(?!\.{1,2}$)(?!\.wh\.)[^/\\\0\n]+")

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


def entry_point_scripts(text: str) -> dict[str, str]:
    """Script name → ``module:attribute`` of the console and GUI scripts in ``entry_points.txt``.

    Raises ``ValueError`` for text that is no such file, a name that is no file name, and a reference that
    cannot be called.
    """
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(text, "entry_points.txt")
    except configparser.Error as e:
        raise ValueError(f"not in the format of entry points: {e.message}".replace("\n", " ")) from None
    scripts: dict[str, str] = {}
    for section in ("console_scripts", "gui_scripts"):
        if not parser.has_section(section):
            continue
        for name, reference in parser.items(section):
            match = _REFERENCE.fullmatch(reference.strip())
            if match is None:
                raise ValueError(f"script `{name}`: expected `module:callable`, found `{reference}`")
            if not _NAME.fullmatch(name):
                raise ValueError(f"script `{name}`: not a file name")
            scripts[name] = f"{match[1]}:{match[2]}"
    return scripts


def launcher(reference: str, interpreter: str) -> bytes:
    """The script that calls ``reference`` (``module:attribute``) under ``interpreter``."""
    module, _, call = reference.partition(":")
    body = _LAUNCHER.format(module=module, top=call.partition(".")[0], call=call)
    return shebang(interpreter) + body.encode()
