"""What the core's library is called: by its machine and the hash of its sources, so that a stale one is never loaded.

Standard library only and no imports of ours: the build of the wheel (``hatch_build.py``) runs it by itself.
"""

from __future__ import annotations

import os
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:  # as in assemble/digests.py, which is not there for who builds the wheel
        from _sha256 import sha256
    except ImportError:
        from hashlib import sha256

__all__ = ["HERE", "MACHINES", "library", "sources"]

HERE = Path(__file__).parent

# Runs with every glibc since 2012 (PEP 600: manylinux_2_17), on every processor of its kind: faster instructions are
# chosen when it is loaded.
MACHINES = {"x86_64": "x86_64-linux-gnu.2.17", "aarch64": "aarch64-linux-gnu.2.17"}
"""What the core can be built for, and what the compiler calls it."""


def sources(folder: Path = HERE / "c") -> list[Path]:
    """What the library is built from, in the order of its hash."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".c", ".h"))


def library(machine: str | None = None) -> Path:
    """Where the library for a machine (this one by default) and the sources that are here has to be."""
    hashed = sha256()
    for path in sources():
        data = path.read_bytes()
        hashed.update(b"%s %d\n" % (path.name.encode(), len(data)))
        hashed.update(data)
    return HERE / f"core-{machine or os.uname().machine}-{hashed.hexdigest()[:16]}.so"
