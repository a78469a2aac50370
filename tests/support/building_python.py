"""An archive whose Python builds: a shell that stands for it, and makes of a source what the source holds.

The archive that a test's project is locked from has an interpreter that is a text. Here it is a script: a source
distribution is a zip file that is a wheel already, and building it is copying it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .tiny_root import tiny_root

__all__ = ["BUILDS", "FAILS", "UNPACKS", "python_files"]

BUILDS = """#!/bin/sh
mkdir /build/out
for f in /build/*.zip; do cp $f /build/out/gamma-1.0-py3-none-any.whl; done
"""
UNPACKS = """#!/bin/sh
mkdir /build/out
cd /build
tar -xf *.tar
cp */*.whl /build/out/
"""
"""Of a source tree, which holds the wheel that is made of it."""
FAILS = "#!/bin/sh\necho no compiler; exit 1\n"


def python_files(script: str, *tools: str) -> Mapping[str, tuple[int, bytes]]:
    """The files of a package of this Python, the shell and its libraries among them, as a merged /usr has them."""
    found = {"usr/bin/python3.11": (0o755, script.encode())}
    for member, data in tiny_root(tools=("sh", "cp", "mkdir", *tools)):
        if member.isreg() and member.name != "etc/passwd":
            found[f"usr/{member.name}" if not member.name.startswith("usr/") else member.name] = (0o755, data)
    return found
