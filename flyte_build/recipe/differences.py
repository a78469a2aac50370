"""What changed between two canonical recipes, in words: why a lock is stale."""

from __future__ import annotations

from typing import cast

from ..kernel.canonical import Json

__all__ = ["differences"]


def differences(old: Json, new: Json) -> list[str]:
    """What changed between two canonical recipes, one line each, for the message of a stale lock."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return ["the recipe"]
    lines: list[str] = []
    for key in ("base", "python", "flyte", "platforms", "layer_ceiling", "bytecode"):
        if old.get(key) != new.get(key):
            lines.append(f"{key}: {_show(old.get(key))} → {_show(new.get(key))}")
    before = cast("list[Json]", old.get("steps") or [])
    after = cast("list[Json]", new.get("steps") or [])
    for i in range(max(len(before), len(after))):
        a = before[i] if i < len(before) else None
        b = after[i] if i < len(after) else None
        if a != b:
            lines.extend(_step_difference(i + 1, a, b))
    return lines


def _step_difference(number: int, old: Json, new: Json) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict) and old.get("kind") == new.get("kind"):
        lines = []
        for key in sorted({*old, *new} - {"kind"}):
            a, b = old.get(key), new.get(key)
            if a == b:
                continue
            if key == "uv":
                lines += [f"step {number} {line}" for line in _uv_differences(a, b)]
            elif isinstance(a, list) and isinstance(b, list):
                gone = [_show(x) for x in a if x not in b]
                come = [_show(x) for x in b if x not in a]
                words = [f"−{x}" for x in gone] + [f"+{x}" for x in come] or ["order changed"]
                lines.append(f"step {number} ({new['kind']}), {key}: {', '.join(words)}")
            else:
                lines.append(f"step {number} ({new['kind']}), {key}: {_show(a)} → {_show(b)}")
        return lines
    if old is None:
        return [f"step {number}: + {_show(new)}"]
    if new is None:
        return [f"step {number}: − {_show(old)}"]
    return [f"step {number}: {_show(old)} → {_show(new)}"]


_UV = {
    "file": "another file",
    "asked": "the project asks for something else",
    "locked": "its uv.lock says something else",
    "lock": "another uv.lock",
    "options": "other arguments",
    "indexes": "other indexes for its packages",
}


def _uv_differences(old: Json, new: Json) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [f"({_show(new['file'])}): {words}" for key, words in _UV.items() if old.get(key) != new.get(key)]
    if isinstance(new, dict):
        return [f"({_show(new['file'])}): uv is asked what it installs"]
    return ["(pip): uv is no longer asked what it installs"]


def _show(value: Json) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(_show(v) for v in value)
    if isinstance(value, dict):
        if value.get("kind") == "debian":
            return str(value.get("suite"))
        if value.get("kind") == "registry":
            return str(value.get("reference"))
        return " ".join(_show(v) for v in value.values())
    return str(value)
