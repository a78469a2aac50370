"""Reading a plan: what is wrong with one is said here, not as a ``KeyError`` in the middle of a layer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import AssembleError

__all__ = ["SCHEMA", "parse_plan"]

SCHEMA = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LAYER = re.compile(r"application/vnd\.oci\.image\.layer\.v1\.tar(\+gzip|\+zstd)?")
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?")
_PYTHON = re.compile(r"3\.\d+")
_SITE = re.compile(r"lib/python3\.\d+/site-packages")
_FOLDER = re.compile(r"(/[\w.+-]+)+", re.ASCII)


def _text(pattern: re.Pattern[str] | None = None) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and (pattern is None or pattern.fullmatch(value) is not None)


def _number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _object(value: object) -> bool:
    return isinstance(value, dict)


def _folders(value: object) -> bool:
    return isinstance(value, list) and value != [] and all(map(_text(_FOLDER), value))


_ARTIFACT = {"file": _text(), "sha256": _text(_SHA256)}
_BLOB: dict[str, Callable[[object], bool]] = {
    "digest": _text(_DIGEST),
    "size": _number,
    "diff_id": _text(_DIGEST),
    "media_type": _text(_LAYER),
}
_KINDS: dict[str, dict[str, Callable[[object], bool]]] = {
    "base": _BLOB,
    "bytecode": {"python": _text(_PYTHON), "by": _text(), "rules": _number, "of": _object, "folders": _folders},
    "sealed": _BLOB,
    "conda": {"prefix": _text(_FOLDER), "site": _text(_SITE)},
    "debian": {},
    "overlay": {},
    "packages": {},
    "python": {"python": _text(_PYTHON), "prefix": _text(_FOLDER)},
    "system": {"suite": _text(), "python": _text(_PYTHON), "venv": _text(_FOLDER)},
    "wheels": {"python": _text(_PYTHON), "venv": _text(_FOLDER)},
    "files": {},
}
_ROWS = {
    "conda": "packages",
    "debian": "debs",
    "files": "files",
    "overlay": "entries",
    "packages": "debs",
    "python": "archives",
    "system": "debs",
    "wheels": "wheels",
}
_DESCRIPTOR: dict[str, Callable[[object], bool]] = {"mediaType": _text(), "digest": _text(_DIGEST), "size": _number}
_FILE: dict[str, Callable[[object], bool]] = {"path": _text(), "mode": _number, "uid": _number, "gid": _number}


def parse_plan(data: bytes, name: str) -> dict[str, Any]:
    """The plan in ``data``; raises :class:`AssembleError` that says where in ``name`` it is not one."""
    try:
        plan = json.loads(data)
    except ValueError as e:
        raise AssembleError(f"not JSON: {e}", name) from None
    _expect(isinstance(plan, dict), name, "$", "an object", plan)
    schema = plan.get("schema")
    if schema != SCHEMA:
        raise AssembleError(f"expected plan schema {SCHEMA}, found {json.dumps(schema)}", name)
    _fields(plan, {"platform": _text(_PLATFORM)}, name, "$")
    _expect(isinstance(plan.get("config"), dict), name, "$.config", "an object", plan.get("config"))
    _expect(isinstance(plan.get("layers"), list), name, "$.layers", "an array", plan.get("layers"))
    for i, layer in enumerate(plan["layers"]):
        _layer(layer, name, f"$.layers[{i}]")
    history = plan.get("history", [])
    _expect(
        isinstance(history, list) and all(isinstance(x, dict) for x in history), name, "$.history", "objects", history
    )
    if "verbatim" in plan:
        _verbatim(plan, name)
    return plan  # type: ignore[no-any-return]


def _verbatim(plan: Mapping[str, Any], name: str) -> None:
    found = plan["verbatim"]
    _expect(isinstance(found, dict), name, "$.verbatim", "an object", found)
    for key in ("manifest", "config"):
        _expect(isinstance(found.get(key), dict), name, f"$.verbatim.{key}", "an object", found.get(key))
        _fields(found[key], _DESCRIPTOR, name, f"$.verbatim.{key}")
    kinds = sorted({layer["kind"] for layer in plan["layers"]} - {"base"})
    _expect(not kinds, name, "$.layers", "layers of the base only, where it is used as it is", kinds)


def _layer(layer: Any, name: str, where: str) -> None:
    _expect(isinstance(layer, dict), name, where, "an object", layer)
    _fields(layer, {"kind": lambda value: value in _KINDS, "assembler": _number, "title": _text()}, name, where)
    kind = layer["kind"]
    _fields(layer, _KINDS[kind], name, where)
    if kind in ("base", "sealed"):
        return
    if kind == "bytecode":
        _layer({"title": "", **layer["of"]}, name, f"{where}.of")
        return
    if "part" in layer:
        _expect(kind == "wheels", name, f"{where}.kind", "wheels, of which there are parts", kind)
        _part(layer, name, f"{where}.part")
    rows = layer.get(_ROWS[kind])
    _expect(isinstance(rows, list), name, f"{where}.{_ROWS[kind]}", "an array", rows)
    _expect(
        "part" not in layer or len(rows) == 1, name, f"{where}.{_ROWS[kind]}", "one wheel, of which it is a part", rows
    )
    for i, row in enumerate(rows):
        at = f"{where}.{_ROWS[kind]}[{i}]"
        _expect(isinstance(row, dict), name, at, "an object", row)
        if kind in _FORMS:
            _entry(row, kind, name, at)
        else:
            _fields(row, _ARTIFACT, name, at)


def _part(layer: Mapping[str, Any], name: str, at: str) -> None:
    part = layer["part"]
    _expect(isinstance(part, dict), name, at, "an object", part)
    _fields(part, {"number": _number, "of": _number, "ceiling": _number}, name, at)
    _expect(1 <= part["number"] <= part["of"] and part["ceiling"] > 0, name, at, "one of several parts", part)


_FORMS = {"files": ("sha256", "link", "dir"), "overlay": ("text", "link", "dir", "removed")}


def _entry(row: Mapping[str, Any], kind: str, name: str, at: str) -> None:
    forms = [key for key in _FORMS[kind] if key in row]
    *some, last = _FORMS[kind]
    _expect(len(forms) == 1, name, at, f"one of {', '.join(some)} and {last}", forms)
    _fields(row, {"path": _text()} if forms == ["removed"] else _FILE, name, at)
    if forms == ["sha256"]:
        _fields(row, {"sha256": _text(_SHA256), "size": _number}, name, at)
    elif forms in (["link"], ["text"]):
        _fields(row, {forms[0]: _text()}, name, at)


def _fields(value: Mapping[str, Any], known: Mapping[str, Callable[[object], bool]], name: str, where: str) -> None:
    for key, accepts in known.items():
        _expect(key in value and accepts(value[key]), name, f"{where}.{key}", "a valid value", value.get(key))


def _expect(good: bool, name: str, where: str, expected: str, found: object) -> None:
    if not good:
        shown = json.dumps(found, ensure_ascii=False)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        raise AssembleError(f"{where}: expected {expected}, found {shown}", name)
