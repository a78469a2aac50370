"""A first ``[tool.flyte-build]``: added to a ``pyproject.toml`` as text, so that nothing else in it moves a byte.

Never changes a table that is there, and writes no file that it could not read back.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from ..kernel.errors import InputError
from ..kernel.files import write_whole
from ..kernel.outputs import refused
from .table import TABLE

__all__ = ["add_table", "table_text"]


def table_text(values: Mapping[str, str]) -> str:
    """The table with ``values`` by key, in the settings' own order; ``ValueError`` for a key that is none."""
    order = list(TABLE)
    rows = [f"{key} = {json.dumps(values[key], ensure_ascii=False)}" for key in sorted(values, key=order.index)]
    return "\n".join(["[tool.flyte-build]", *rows, ""])


def add_table(file: Path, values: Mapping[str, str]) -> None:
    """Add the table to ``file``, which is made where it is not there.

    Raises :class:`InputError` where the file has such a table or is no TOML, :class:`StoreError` where it cannot be
    written; then it is as it was.
    """
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        document = tomllib.loads(before)
    except (OSError, ValueError, RecursionError) as e:
        raise InputError(f"{file}: cannot be read: {e}") from None
    tool = document.get("tool")
    if isinstance(tool, dict) and "flyte-build" in tool:
        raise InputError(
            f"{file}: has [tool.flyte-build] already, which is not changed",
            hint="edit that table yourself, or remove it and run this again",
        )
    gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
    after = f"{before}{gap}{table_text(values)}"
    try:
        tomllib.loads(after)
    except ValueError as e:
        # A file may end in a way that takes no table after it (an inline `tool = {…}`).
        raise InputError(
            f"{file}: [tool.flyte-build] cannot be added: {e}", hint="add it yourself:\n" + table_text(values)
        ) from None
    try:
        write_whole(file, after, file.stat().st_mode & 0o777 if file.exists() else 0o644)
    except OSError as e:
        raise refused(e, file) from None
