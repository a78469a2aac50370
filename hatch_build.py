"""What `./dev wheel` made besides the package goes into the wheel: the manual page and the shells' completions.

They are made by the program itself, so only where it runs already; a wheel that is built elsewhere has none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MADE = Path("build", "shared")


class SharedFiles(BuildHookInterface):  # type: ignore[type-arg, misc]
    """Adds the files below ``build/shared`` to a wheel's data, at the same paths below the environment's prefix."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        made = Path(self.root) / MADE
        if version == "standard" and made.is_dir():
            found = {str(p): p.relative_to(made).as_posix() for p in sorted(made.rglob("*")) if p.is_file()}
            build_data.setdefault("shared_data", {}).update(found)
