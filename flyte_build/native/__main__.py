"""``python -m flyte_build.native [build]``: which core works here, or build it, with Zig's compiler of C.

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

from .naming import HERE, library, sources

__all__ = ["build", "main"]

# Runs with every glibc since 2012 (PEP 600: manylinux_2_17), on every processor of its kind: faster instructions are
# chosen when it is loaded.
_TARGETS = {"x86_64": "x86_64-linux-gnu.2.17"}
_FLAGS = (
    "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-pthread", "-s", "-fvisibility=hidden",
    "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-Wl,-z,relro", "-Wl,-z,now",
)  # fmt: skip


class _Failed(Exception):
    """There is no compiler, or it found fault."""


def build(out: Path, machine: str, *flags: str) -> None:
    """Compile the core for ``machine`` to ``out``, whole or not at all; ``flags`` are added to the compiler's."""
    if machine not in _TARGETS:
        raise _Failed(f"the core is for {' and '.join(_TARGETS)}, this is {machine}")
    if importlib.util.find_spec("ziglang") is None:
        raise _Failed("expected the package ziglang in this environment, found none: pip install ziglang")
    # Its debugging checks are left out by an optimising flag, and the file's bytes depend on no path.
    names = [path.name for path in sources() if path.suffix == ".c"]
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".core-") as folder:
        made = Path(folder, "core.so")
        command = [sys.executable, "-m", "ziglang", "cc", "-target", _TARGETS[machine], *_FLAGS, *flags]
        done = subprocess.run(
            [*command, "-o", os.fspath(made), *names], cwd=HERE / "c", capture_output=True, text=True, check=False
        )
        if done.returncode or not made.is_file():
            raise _Failed(f"the compiler ended with {done.returncode}:\n{done.stderr.strip()}")
        made.chmod(0o644)
        made.replace(out)


def main(words: list[str]) -> int:
    """``build`` makes the library where it is not there, and removes those of other sources."""
    if words not in ([], ["build"]):
        print("usage: python -m flyte_build.native [build]", file=sys.stderr)
        return 2
    if words:
        wanted = library()
        try:
            if not wanted.is_file():
                build(wanted, os.uname().machine)
        except (_Failed, OSError) as e:
            print(f"error: the native core: {e}", file=sys.stderr)
            return 1
        for other in HERE.glob(f"core-{os.uname().machine}-*.so"):
            if other != wanted:
                other.unlink(missing_ok=True)
    from .library import core

    print(core())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
