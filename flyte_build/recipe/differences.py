"""What changed between two canonical recipes, in words: why a lock is stale."""

from __future__ import annotations

from collections.abc import Iterator
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
    for a, b, number in _pairs(old.get("steps"), new.get("steps")):
        lines.extend(_step_difference(number, a, b))
    for a, b, number in _pairs(old.get("stages"), new.get("stages")):
        lines.extend(_stage_difference(number, a, b))
    return lines


def _pairs(old: Json, new: Json) -> Iterator[tuple[Json, Json, int]]:
    """What differs at each place of two lists, and its number."""
    before, after = cast("list[Json]", old or []), cast("list[Json]", new or [])
    for i in range(max(len(before), len(after))):
        a = before[i] if i < len(before) else None
        b = after[i] if i < len(after) else None
        if a != b:
            yield a, b, i + 1


def _stage_difference(number: int, old: Json, new: Json) -> list[str]:
    if not isinstance(old, dict) or not isinstance(new, dict):
        said = old if isinstance(old, dict) else cast("dict[str, Json]", new)
        return [f"stage {number} ({_show(said['name'])}): {'−' if new is None else '+'}"]
    lines = [f"base: {_show(old['base'])} → {_show(new['base'])}"] if old["base"] != new["base"] else []
    for a, b, step in _pairs(old["steps"], new["steps"]):
        lines += _step_difference(step, a, b)
    return [f"stage {number} ({_show(new['name'])}), {line}" for line in lines or ["another name"]]


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
