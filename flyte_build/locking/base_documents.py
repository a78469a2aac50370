"""What a registry's images say of themselves → values of the types that the specification gives them. Pure.

A base is a stranger's: its configuration may hold anything that JSON can, and more (image-spec v1.1, config.md).
"""

from __future__ import annotations

from typing import Any

from ..kernel.documents import parse
from ..kernel.errors import ArtifactError

__all__ = ["SETTINGS", "diff_ids_of", "document_of", "rows_of", "settings_of"]

SETTINGS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "Shell",
    "OnBuild",
)  # fmt: skip
_STRINGS, _LISTS = ("User", "WorkingDir", "StopSignal"), ("Env", "Entrypoint", "Cmd", "Shell", "OnBuild")


def document_of(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = parse(data)
    except ValueError as e:
        raise ArtifactError(f"{what} is no JSON: {e}") from None
    if not isinstance(found, dict):
        raise ArtifactError(f"{what} is no JSON object")
    return found


def rows_of(raw: object) -> list[dict[str, Any]]:
    """The objects in a list; what is none, or is in no list, is passed over."""
    return [row for row in raw if isinstance(row, dict)] if isinstance(raw, list) else []


def diff_ids_of(rootfs: object) -> list[str]:
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    return [str(d) for d in found] if isinstance(found, list) else []


def settings_of(raw: object, what: str) -> dict[str, Any]:
    """The ``config`` object of an image's configuration, of the types that the specification gives its fields."""
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ArtifactError(f"{what}: config: expected an object, found {type(raw).__name__}")
    for key in SETTINGS:
        value = raw.get(key)
        if value is None:
            continue
        kind = str if key in _STRINGS else list if key in _LISTS else dict
        if not isinstance(value, kind) or (kind is list and not all(isinstance(v, str) for v in value)):
            expected = {str: "a string", list: "a list of strings", dict: "an object"}[kind]
            raise ArtifactError(f"{what}: config.{key}: expected {expected}, found {type(value).__name__}")
        for text in (value,) if isinstance(value, str) else value:
            if "\0" in text:
                raise ArtifactError(f"{what}: config.{key}: a string holds a NUL")
    return raw
