"""``python -m flyte_build.native [build [all]]``: which core works here, or build it, with Zig's compiler of C.

Nobody needs to: ``./dev`` does it where the sources changed, and a wheel made by ``./dev wheel`` has it. Never run by
flyte-build itself.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .linking import link
from .naming import HERE, MACHINES, library, sources

__all__ = ["MACHINES", "build", "main"]

_COMPILE = (
    "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-pthread", "-fvisibility=hidden",
    "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2",
)  # fmt: skip
_LINK = ("-s", "-Wl,-z,relro", "-Wl,-z,now")


class _Failed(Exception):
    """There is no compiler, or it found fault."""


def build(out: Path, machine: str, *flags: str) -> None:
    """Compile the core for ``machine``, of :data:`MACHINES`, to ``out``, whole or not at all, with more ``flags``."""
    if importlib.util.find_spec("ziglang") is None:
        raise _Failed("expected the package ziglang in this environment, found none: pip install ziglang")
    # Its debugging checks are left out by an optimising flag, and the file's bytes depend on no path.
    names = [os.fspath(HERE / "c" / path.name) for path in sources() if path.suffix == ".c"]
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", MACHINES[machine]]
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".core-") as folder:
        made = Path(folder, "core.so")
        done = subprocess.run(
            [*compiler, *_COMPILE, *flags, "-c", *names], cwd=folder, capture_output=True, text=True, check=False
        )
        objects = sorted(Path(folder).glob("*.o"))
        # Flags may ask for libraries of their own.
        if done.returncode == 0 and (flags or not link(compiler, machine, objects, _LINK, made)):
            words = [*compiler, *_COMPILE, *flags, "-shared", *_LINK, "-o", os.fspath(made), *names]
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode or not made.is_file():
            raise _Failed(f"the compiler ended with {done.returncode}:\n{done.stderr.strip()}")
        made.chmod(0o644)
        made.replace(out)


def main(words: list[str]) -> int:
    """``build`` makes the library where it is not there, and removes those of other sources; ``all``: any machine's."""
    if words not in ([], ["build"], ["build", "all"]):
        print("usage: python -m flyte_build.native [build [all]]", file=sys.stderr)
        return 2
    here = os.uname().machine if sys.platform == "linux" else ""
    for machine in MACHINES if words else ():
        # Elsewhere there is nothing to build, and nothing is missing.
        if machine != here and words == ["build"]:
            continue
        wanted = library(machine)
        try:
            if not wanted.is_file():
                build(wanted, machine)
        except (_Failed, OSError) as e:
            print(f"error: the native core: {e}", file=sys.stderr)
            return 1
        for other in HERE.glob(f"core-{machine}-*.so"):
            if other != wanted:
                other.unlink(missing_ok=True)
    from .library import core

    print(core())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
