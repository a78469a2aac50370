"""A lock as ``pylock.toml`` (PEP 751), beside a folder that holds its wheels.

PEP 751 wants a URL or a path for every wheel. A lock of ours has no URLs and never will (law 1), so what is written are
paths, and they are true: the wheels have to be put where the file says they are (:mod:`~.wheels`). Pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..kernel.errors import InputError
from ..kernel.pythons import plain
from ..locks.nouns import Lock
from .rows import MACHINES, rows

__all__ = ["pylock_text"]


def pylock_text(lock: Lock, platforms: Sequence[str], folder: str) -> str:
    """The file's text; ``folder`` is where the wheels are, relative to the file and with slashes.

    Raises :class:`InputError` for a lock without a Python, which PEP 751 has no way to say.
    """
    if not lock.python:
        raise InputError(
            f"{lock.environment}: the image has no Python that is known, so there is nothing to install into"
        )
    prefix = "" if folder in ("", ".") else f"{folder}/"
    out = [
        f"# The wheels of {lock.environment}. Written by `flyte-build export requirements --format pylock`.",
        'lock-version = "1.0"',
        f"environments = [{', '.join(_text(_environment(p)) for p in platforms)}]",
        f"requires-python = {_text(f'=={plain(lock.python)}.*')}",
        'created-by = "flyte-build"',
    ]
    for row in rows(lock, platforms):
        out += ["", "[[packages]]", f"name = {_text(row.name)}", f"version = {_text(row.version)}"]
        if row.marker:
            out.append(f"marker = {_text(row.marker)}")
        out.append("wheels = [")
        for wheel in row.wheels:
            fields = f"name = {_text(wheel.file)}, path = {_text(prefix + wheel.file)}, size = {wheel.size}"
            out.append(f"    {{ {fields}, hashes = {{ sha256 = {_text(wheel.sha256)} }} }},")
        out.append("]")
    return "\n".join(out) + "\n"


def _environment(platform: str) -> str:
    return (
        f"sys_platform == 'linux' and platform_machine == '{MACHINES[platform]}' and implementation_name == 'cpython'"
    )


def _text(value: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of its own (TOML 1.0, "String")."""
    return json.dumps(value, ensure_ascii=False)
