"""The modules of wheels that a bundle leaves out: carried from one site's cache of checks to the other's.

It is a convenience of checks before a build and decides no byte of any image. Never asks anybody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from ..kernel.canonical import Json, canonical
from ..planning.checks.wheels.contents import SCHEMA
from ..store import Session

__all__ = ["keep_modules", "modules_json"]


def modules_json(names: Iterable[str], schema: int = SCHEMA) -> bytes:
    """A wheel's modules as :class:`flyte_build.planning.checks.Contents` keeps them."""
    listed: list[Json] = [*sorted(names)]
    return canonical({"schema": schema, "modules": listed})


def keep_modules(session: Session, sha256: str, data: bytes) -> bool:
    """Put what :func:`modules_json` gave into the store's cache; ``False`` where ``data`` is something else.

    What an older flyte-build listed by other rules is passed over: it is asked for anew.
    """
    try:
        raw = json.loads(data)
        names, schema = raw["modules"], raw["schema"]
        good = type(schema) is int and 0 < schema <= SCHEMA
        good = good and data == modules_json(names, schema) and all(isinstance(name, str) for name in names)
    except (ValueError, KeyError, TypeError, RecursionError):
        good = False
    if good and schema == SCHEMA:
        folder = session.store.root / "modules"
        folder.mkdir(exist_ok=True)
        session.put_bytes(data, folder / f"{sha256}.json", 0o644)
    return good
