"""Typed access to JSON that somebody may have edited: every surprise is an error that says where it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ..kernel.errors import LockError

__all__ = ["DIGEST", "SHA256", "Reader"]

SHA256 = re.compile(r"[0-9a-f]{64}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Reader:
    """Typed access with a path for the message of what is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, where: str, expected: str, found: object) -> LockError:
        shown = json.dumps(found, ensure_ascii=False, default=str)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return LockError(
            f"{self.path}: {where}: expected {expected}, found {shown}",
            hint="restore the file from version control, or run `flyte-build lock` again",
        )

    def get(self, obj: Mapping[str, Any], key: str, kind: type | tuple[type, ...], where: str) -> Any:
        value = obj.get(key)
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise self.fail(f"{where}.{key}", " or ".join(k.__name__ for k in kinds), value)
        return value

    def matching(self, obj: Mapping[str, Any], key: str, pattern: re.Pattern[str], expected: str, where: str) -> str:
        value = self.get(obj, key, str, where)
        if not pattern.fullmatch(value):
            raise self.fail(f"{where}.{key}", expected, value)
        return cast(str, value)

    def size(self, obj: Mapping[str, Any], where: str) -> int:
        value = self.get(obj, "size", int, where)
        if value < 0:
            raise self.fail(f"{where}.size", "a size in bytes", value)
        return cast(int, value)

    def known(self, obj: Mapping[str, Any], keys: set[str], where: str) -> None:
        for key in obj:
            if key not in keys:
                raise self.fail(f"{where}.{key}", f"one of {', '.join(sorted(keys))}", key)
