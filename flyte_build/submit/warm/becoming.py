"""The first process of a worker or a replica: finds the interpreter of the image's ``a0``, and becomes what it is told.

Runs in a sandbox or a pod with any Python of the image (3.8 or later), isolated and without ``site``. Its argument is
JSON, of which ``program`` is the file beside it that it becomes, as ``PROGRAM serve SCRIPT CONFIG``, and ``control`` an
inherited socket that is told why it cannot (none in a pod, to which an exit code is an answer). Imports next to
nothing: in an image without bytecode all that is imported here would be compiled here, and again by what it becomes.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT = "a0"


class NoScript(Exception):
    """There is no script of a Python's that could be run."""


def find(name: str, path: str) -> str | None:
    """The program ``name`` in the folders of ``path``."""
    for folder in path.split(":"):
        candidate = os.path.join(folder or ".", name)
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    return None


def interpreter(script: str) -> list[str]:
    """The command that a script's first line names, or, where that is too long for one, its second (as pip has it)."""
    with open(script, "rb") as f:
        first, second = f.readline(1024), f.readline(1024)
    words = os.fsdecode(first[2:]).strip().split(None, 1) if first.startswith(b"#!") else []
    if words[:1] == ["/bin/sh"]:
        found = re.match(r"""'''exec' ("?)(/.+)\1 "\$0" "\$@"$""", os.fsdecode(second.strip()))
        words = [found[2]] if found else []
    if words and "python" in " ".join(words):
        return words
    raise NoScript(f"expected a Python script, found {script} with the first line {first[:100]!r}")


def become(config: str) -> NoReturn:
    """Be run anew, or what ``program`` of the configuration is, by the interpreter of the image's ``a0``."""
    program = json.loads(config)["program"]
    script = find(SCRIPT, os.environ.get("PATH", os.defpath))
    if script is None:
        raise NoScript(f"{SCRIPT} is not in the image's PATH ({os.environ.get('PATH', '')})")
    words = interpreter(script)
    # Not `os.environ`: this interpreter may have told itself of a locale.
    with open("/proc/self/environ", "rb") as f:
        env = dict(item.partition(b"=")[::2] for item in f.read().split(b"\0") if b"=" in item)
    os.execve(words[0], [*words, f"{HERE}/{program}.py", "serve", script, config], env)


def main() -> None:
    config = sys.argv[-1]
    try:
        become(config)
    except NoScript as e:
        control = json.loads(config).get("control")
        if control is None:
            raise
        os.write(control, json.dumps({"refused": str(e)}).encode())
        os._exit(75)


if __name__ == "__main__":
    main()
