"""What a wheel says of its package, as uv is told it in place of a build backend: a pyproject.toml, or an archive.

Only what uv reads of a package is written anew; where its requirements come from (``[tool.uv]``) stays as it was.
"""

from __future__ import annotations

import datetime
import gzip
import io
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Told", "archive", "manifest", "replaced", "toml"]

_EXTRA = re.compile(r"""\bextra\s*==\s*["']([^"']+)["']""")
_KEPT = ("build-system", "dependency-groups", "tool")


@dataclass(frozen=True, slots=True)
class Told:
    """``requires`` as core metadata have it, ``python`` what the package asks of Python."""

    name: str
    version: str
    requires: tuple[str, ...]
    python: str | None = None

    @property
    def extras(self) -> list[str]:
        return sorted({extra for text in self.requires for extra in _EXTRA.findall(text)})

    def project(self) -> dict[str, Any]:
        """``[project]`` (PEP 621). A requirement of an extra keeps its marker; the extra itself needs only its name."""
        out: dict[str, Any] = {"name": self.name, "version": self.version, "dependencies": list(self.requires)}
        out |= {"optional-dependencies": {extra: [] for extra in self.extras}} if self.extras else {}
        return out | ({"requires-python": self.python} if self.python else {})


def manifest(document: Mapping[str, Any], project: Mapping[str, Any]) -> bytes:
    """A pyproject.toml like ``document`` whose ``[project]`` is this one."""
    kept = {key: document[key] for key in _KEPT if key in document}
    if "tool" in kept:
        kept["tool"] = {"uv": kept["tool"]["uv"]} if "uv" in kept["tool"] else {}
    return toml({"project": project, **kept}).encode()


def archive(told: Told) -> bytes:
    """A source distribution of nothing but a manifest that says it."""
    data, out = manifest({}, told.project()), io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo(f"{told.name}-{told.version}/pyproject.toml")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def replaced(
    document: Any, other: Callable[[Mapping[str, Any]], Mapping[str, Any] | None], text: Callable[[str], str]
) -> Any:
    """``document`` with ``other`` in the place of the tables for which it gives one, and ``text`` of all strings."""
    match document:
        case str():
            return text(document)
        case Mapping():
            found = other(document)
            return found if found is not None else {k: replaced(v, other, text) for k, v in document.items()}
        case list():
            return [replaced(one, other, text) for one in document]
    return document


def toml(document: Mapping[str, Any]) -> str:
    """``document`` as TOML, tables in line."""
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in document.items())


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            rows = (f"{json.dumps(key, ensure_ascii=False)} = {_value(one)}" for key, one in value.items())
            return "{" + ", ".join(rows) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
    return str(value)
