"""Canonical JSON and the one hash of this project: law 2's ground floor.

The encoding is RFC 8785's for the values we use (objects, arrays, strings, integers, booleans and
null; floats are refused, so that no printing rule is ever needed): keys sorted by code point, no
white space, UTF-8, no escapes but those JSON demands. Structure is kept, so ``("ab", "c")`` and
``("a", "bc")`` have different hashes, which concatenation cannot promise.
"""

from __future__ import annotations

import json
from typing import TypeAlias

from .digests import sha256

__all__ = ["Json", "canonical", "digest"]

Json: TypeAlias = "bool | int | str | list[Json] | tuple[Json, ...] | dict[str, Json] | None"


def _check(value: object, where: str) -> None:
    if value is None or isinstance(value, bool | int | str):
        return
    if isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _check(item, f"{where}[{i}]")
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where}: key {key!r} is {type(key).__name__}, expected str")
            _check(item, f"{where}.{key}")
        return
    raise TypeError(f"{where}: {type(value).__name__} has no canonical form")


def canonical(value: Json) -> bytes:
    """The canonical bytes of ``value``; raises ``TypeError`` naming the place of a value without one."""
    _check(value, "$")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def digest(value: Json) -> str:
    """``sha256:<hex>`` of the canonical bytes."""
    return "sha256:" + sha256(canonical(value)).hexdigest()
