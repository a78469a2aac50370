"""Which libraries of an image a worker imports besides the runtime: large ones that the task's own modules import.

A task's code is imported after the fork, for its seeds, clocks and ids are its own. These few have none at import, and
cost half a second. Told by text alone, of the code bundle: none for code that brings a module of that name, or that
says something to a library by a variable, which it may do before it imports it.
"""

from __future__ import annotations

import itertools
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..imports import LARGEST, names_in

__all__ = ["KNOWN", "Libraries"]

_FRAMES = (
    "numpy", "pandas", "pyarrow", "flyte.io", "flyte.io._dataframe.basic_dfs", "pyarrow.parquet", "pyarrow.dataset",
    "pandas.core.arrays.arrow.extension_types",
)  # fmt: skip
KNOWN: Mapping[str, tuple[str, ...]] = {
    "numpy": ("numpy",),
    "pandas": _FRAMES,
    "pyarrow": ("numpy", "pyarrow"),
    "flyte.io": ("flyte.io",),
}
"""What a task's module names → what is imported for it: what the runtime reads and writes its values with, too."""
# Read by these libraries, or by what computes for them, when they are imported.
_TOLD = re.compile(rb"\b(?:OMP|KMP|GOMP|MKL|OPENBLAS|BLIS|VECLIB|NUMEXPR|NPY|NUMPY|ARROW|PANDAS|MALLOC)_[A-Z]")
_MOST = 64 << 20


class Libraries:
    """Of one code bundle: its modules by name, and what each imports at its top."""

    def __init__(self, modules: Mapping[str, tuple[str, ...]]) -> None:
        self._modules = modules
        self._found: dict[str, tuple[str, ...]] = {}

    @classmethod
    def of(cls, bundle: Path) -> Libraries:
        """Read from a bundle (.tgz); none for one that cannot be read, which an action finds out for itself."""
        modules: dict[str, tuple[str, ...]] = {}
        size = 0
        try:
            with tarfile.open(bundle, "r:*") as tar:
                for member in tar:
                    size += member.size
                    if not member.isreg() or not member.name.endswith(".py"):
                        continue
                    content = tar.extractfile(member) if member.size <= LARGEST and size <= _MOST else None
                    source = content.read() if content is not None else None
                    if source is None or _TOLD.search(source):
                        return cls({})
                    parts = [p for p in member.name.removesuffix(".py").split("/") if p not in ("", ".")]
                    own = parts[:-1] if parts[-1:] == ["__init__"] else parts
                    package = ".".join(own if own is not parts else parts[:-1])
                    modules[".".join(own)] = tuple(dict.fromkeys(names_in(source, package)))
        except (OSError, tarfile.TarError, EOFError, ValueError):
            return cls({})
        return cls(modules)

    def wanted(self, argv: Sequence[str]) -> tuple[str, ...]:
        """What the module of the task that ``argv`` (the runtime's own) names leads to, in a fixed order."""
        module = next((after for option, after in itertools.pairwise(argv) if option == "mod"), "")
        if module not in self._found:
            self._found[module] = self._reached(module)
        return self._found[module]

    def _reached(self, start: str) -> tuple[str, ...]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            parts = waiting.pop().split(".")
            for end in range(1, len(parts) + 1):
                name = ".".join(parts[:end])
                if name not in seen:
                    seen.add(name)
                    waiting.extend(self._modules.get(name, ()))
        if {module.split(".")[0] for module in self._modules} & {known.split(".")[0] for known in KNOWN}:
            return ()
        return tuple(dict.fromkeys(name for known, names in KNOWN.items() if known in seen for name in names))
