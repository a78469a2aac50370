"""The table as a JSON schema (draft-07) of ``pyproject.toml``: editors complete, describe and underline by it.

Says nothing about other tables. Editors are told sooner what reading says in the end; never the other way round: what
the schema refuses, reading refuses, too.
"""

from __future__ import annotations

import json
from typing import Any

from .table import SIZE, TABLE, Setting
from .targets import DNS_LABEL, TARGET_KEYS, TARGET_NAME, TIME, TargetKey

__all__ = ["schema", "schema_text"]

_TEXT = {"type": "string", "minLength": 1}


def schema() -> dict[str, Any]:
    """The schema. The table alone is at ``#/definitions/flyte-build``."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "pyproject.toml with [tool.flyte-build]",
        "type": "object",
        "properties": {
            "tool": {"type": "object", "properties": {"flyte-build": {"$ref": "#/definitions/flyte-build"}}},
        },
        "definitions": {
            "flyte-build": {
                "title": "flyte-build",
                "description": "What a project says once about its images.",
                "type": "object",
                "additionalProperties": False,
                "properties": {key: _property(setting) for key, setting in TABLE.items()},
            },
        },
    }


def schema_text() -> str:
    """The schema as it is kept in the package."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _property(setting: Setting) -> dict[str, Any]:
    if setting.kind in ("texts", "files"):
        form: dict[str, Any] = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
    elif setting.kind == "flag":
        form = {"type": "boolean"}
    elif setting.kind == "size":
        form = {"type": "string", "pattern": SIZE}
    elif setting.kind == "count":
        form = {"type": "integer", "minimum": 1}
    elif setting.kind == "ages":
        form = {"type": "object", "additionalProperties": _TEXT}
    elif setting.kind == "targets":
        form = {"type": "object", "patternProperties": {TARGET_NAME: _target()}, "additionalProperties": False}
    elif setting.choices:
        form = {"enum": list(setting.choices)}
    else:
        form = dict(_TEXT)
    described: dict[str, Any] = {"description": setting.says.replace("`", ""), **form}
    if setting.default is None or setting.kind in ("ages", "targets"):
        return described
    return described | {"default": list(setting.default) if setting.kind in ("texts", "files") else setting.default}


def _target() -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [row.key for row in TARGET_KEYS.values() if not row.otherwise],
        "properties": {
            key: {"description": row.says.replace("`", ""), **_form(row)} for key, row in TARGET_KEYS.items()
        },
    }


def _form(row: TargetKey) -> dict[str, Any]:
    if row.form == "profile":
        table = {"type": "object", "required": ["base"], "properties": {"base": {"enum": list(row.choices)}}}
        return {"anyOf": [{"enum": list(row.choices)}, table]}
    forms: dict[str, dict[str, Any]] = {
        "name": {"type": "string", "pattern": DNS_LABEL},
        "texts": {"type": "array", "items": _TEXT},
        "flag": {"type": "boolean"},
        "time": {"type": "string", "pattern": TIME},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "choice": {"enum": list(row.choices)},
    }
    return forms.get(row.form, dict(_TEXT))
