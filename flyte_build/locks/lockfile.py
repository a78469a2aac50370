"""The lock file: ``lockfiles/<environment>.json``.

JSON laid out for review: one artifact a line, sorted, the same bytes for the same content. Reading checks
everything; a lock that was edited by hand into something inconsistent is an error that says where, not a
surprise later. What a lock means is in ``lock``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from ..kernel import documents
from ..kernel.canonical import Json, digest
from ..kernel.errors import LockError
from ..kernel.values import dataclass
from .base import parse_base
from .builds import parse_builds
from .conda import parse_conda
from .directory import unwritten
from .nouns import SCHEMA, Lock, LockedDeb, LockedPlatform, LockedWheel, Pin
from .pythons import parse_python
from .reading import DIGEST, Reader
from .rows import debs_of, wheels_of
from .seals import parse_seals
from .stages import parse_stages

__all__ = [
    "SCHEMA",
    "Lock",
    "LockedDeb",
    "LockedPlatform",
    "LockedWheel",
    "Pin",
    "lock_path",
    "parse",
    "read",
    "write",
    "write_all",
]

# -- reading ---------------------------------------------------------------------------------------

_INSTANT = re.compile(r"none|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_DEBIAN = {"suite", "snapshot", "debs", "wheels", "seals", "builds", "tools", "stages", "conda"}
_OWN = {*_DEBIAN, "python"}
_TOP = {"schema", "environment", "fingerprint", "recipe", "resolver", "cutoff", "cutoffs", "platforms", "apart", "pins"}


def parse(text: str, path: Path) -> Lock:
    """The lock in ``text``; ``path`` is for messages. Raises :class:`LockError` naming place and expectation."""
    r = Reader(path)
    try:
        raw = documents.parse(text)
    except json.JSONDecodeError as e:
        raise LockError(
            f"{path}:{e.lineno}:{e.colno}: not JSON: {e.msg}",
            hint="restore the file from version control, or run `flyte-build lock` again",
        ) from None
    except ValueError as e:
        raise LockError(
            f"{path}: expected a lock's JSON: {e}",
            hint="restore the file from version control, or run `flyte-build lock` again",
        ) from None
    if not isinstance(raw, dict):
        raise r.fail("$", "an object", raw)
    schema = r.get(raw, "schema", int, "$")
    if schema > SCHEMA:
        raise LockError(
            f"{path}: lock schema {schema} is newer than this flyte-build knows ({SCHEMA})",
            hint="upgrade flyte-build, or lock again with this version",
        )
    if schema not in (1, SCHEMA):
        raise r.fail("$.schema", f"1 or {SCHEMA}", schema)
    r.known(raw, _TOP if schema == 1 else _TOP | {"debs", "wheels"}, "$")
    recipe = r.get(raw, "recipe", dict, "$")
    base = {} if recipe.get("base") is None else r.get(recipe, "base", dict, "$.recipe")
    registry = base.get("kind") == "registry"
    if not isinstance(recipe.get("python"), str) and not (registry and recipe.get("python", "") is None):
        raise r.fail("$.recipe.python", "a string such as 3.11", recipe.get("python"))
    stated = r.get(raw, "fingerprint", str, "$")
    try:
        actual = digest(recipe)
    except TypeError as e:
        raise r.fail("$.recipe", "values with a canonical form", str(e)) from None
    if stated != actual:
        raise LockError(
            f"{path}: the recipe does not have the fingerprint stated: expected {stated}, found {actual}",
            hint="the file was edited by hand; run `flyte-build lock` again",
        )
    resolver = r.get(raw, "resolver", dict, "$")
    common = _common(r, raw, schema)
    stages = r.get(recipe, "stages", list, "$.recipe") if "stages" in recipe else []
    platforms = {
        name: _platform(r, value, f"$.platforms.{name}", registry, common, stages)
        for name, value in r.get(raw, "platforms", dict, "$").items()
    }
    own = not registry and bool(base.get("standalone"))
    for name, found in platforms.items():
        if own != (found.python is not None):
            raise r.fail(f"$.platforms.{name}.python", "an archive" if own else "nothing: Debian has it", found.python)
    wanted = recipe.get("platforms") or []
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise r.fail("$.recipe.platforms", "a list of strings", wanted)
    if sorted(platforms) != sorted(wanted):
        raise r.fail("$.platforms", f"the recipe's platforms {recipe.get('platforms')}", sorted(platforms))
    return Lock(
        environment=r.get(raw, "environment", str, "$"),
        recipe=cast(Json, recipe),
        resolver=r.get(resolver, "name", str, "$.resolver"),
        resolver_version=r.get(resolver, "version", str, "$.resolver"),
        cutoff=r.get(raw, "cutoff", (str, type(None)), "$"),
        platforms=platforms,
        apart=r.get(raw, "apart", (str, type(None)), "$"),
        pins=_pins(r, raw, platforms),
        cutoffs=_cutoffs(r, raw),
    )


def _cutoffs(r: Reader, raw: Mapping[str, Any]) -> dict[str, str]:
    found = r.get(raw, "cutoffs", dict, "$") if "cutoffs" in raw else {}
    return {index: r.matching(found, index, _INSTANT, "an instant or none", "$.cutoffs") for index in found}


def _pins(r: Reader, raw: Mapping[str, Any], platforms: Mapping[str, LockedPlatform]) -> dict[str, Pin]:
    if "pins" not in raw:
        return {}
    pins = {}
    for platform, value in r.get(raw, "pins", dict, "$").items():
        at = f"$.pins.{platform}"
        if platform not in platforms:
            raise r.fail(at, f"a platform of the lock ({', '.join(platforms)})", platform)
        if not isinstance(value, dict):
            raise r.fail(at, "an object", value)
        r.known(value, {"derivation", "digest"}, at)
        pins[platform] = Pin(
            *(
                r.matching(value, key, DIGEST, "sha256: and 64 hexadecimal digits", at)
                for key in ("derivation", "digest")
            )
        )
    return pins


@dataclass(frozen=True, slots=True)
class _Common:
    """The rows that all platforms have; ``whole``: every row says everything, as in schema 1."""

    whole: bool
    debs: tuple[LockedDeb, ...] = ()
    wheels: tuple[LockedWheel, ...] = ()


def _common(r: Reader, raw: Mapping[str, Any], schema: int) -> _Common:
    if schema == 1:
        return _Common(True)
    debs = debs_of(r, r.get(raw, "debs", list, "$"), "debs", "$", whole=False) if "debs" in raw else ()
    return _Common(False, debs, wheels_of(r, r.get(raw, "wheels", list, "$"), "$") if "wheels" in raw else ())


def _platform(r: Reader, raw: object, where: str, registry: bool, common: _Common, stages: list[Any]) -> LockedPlatform:
    if not isinstance(raw, dict):
        raise r.fail(where, "an object", raw)
    r.known(raw, {"base", *_DEBIAN} if registry else _OWN, where)
    wheels = (*common.wheels, *wheels_of(r, r.get(raw, "wheels", list, where), where))
    debs = (*common.debs, *debs_of(r, r.get(raw, "debs", list, where), "debs", where, whole=common.whole))
    for what, names in (("wheels", [w.name for w in wheels]), ("debs", [d.name for d in debs])):
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise r.fail(f"{where}.{what}", "every name once", twice)
    return LockedPlatform(
        suite=r.get(raw, "suite", str, where),
        snapshot=r.get(raw, "snapshot", str, where),
        debs=tuple(sorted(debs, key=lambda d: (d.name, d.architecture))) if common.debs else debs,
        wheels=tuple(sorted(wheels, key=lambda w: w.name)) if common.wheels else wheels,
        base=parse_base(r, raw.get("base"), f"{where}.base") if registry else None,
        seals=parse_seals(r, raw, where),
        builds=parse_builds(r, raw, where),
        tools=debs_of(r, r.get(raw, "tools", list, where), "tools", where, whole=common.whole)
        if "tools" in raw
        else (),
        python=parse_python(r, raw["python"], f"{where}.python") if "python" in raw else None,
        stages=parse_stages(r, raw, stages, where),
        conda=parse_conda(r, r.get(raw, "conda", list, where), where) if "conda" in raw else (),
    )


def lock_path(directory: Path, environment: str) -> Path:
    return directory / f"{environment}.json"


def read(directory: Path, environment: str) -> Lock | None:
    """The environment's lock, or ``None`` where there is none."""
    path = lock_path(directory, environment)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as e:
        raise LockError(f"{path}: cannot be read: {e}") from None
    lock = _parsed(text, path)
    if lock.environment != environment:
        raise LockError(
            f"{path}: expected the lock of environment {environment}, found that of {lock.environment}",
            hint="a lock is named after its environment; run `flyte-build lock` again",
        )
    return lock


# A command asks for its few locks again and again, and checking one takes longer than to make a small layer. The file
# is read each time: what is remembered is what these very bytes say. Nobody changes a lock, which is a value.
_parsed = lru_cache(maxsize=16)(parse)


def write(directory: Path, lock: Lock) -> bool:
    """Write one lock; ``False`` when the file already said exactly this. See :func:`write_all`."""
    return bool(write_all(directory, [lock]))


def write_all(directory: Path, locks: Iterable[Lock]) -> list[str]:
    """Write every lock that says something new, and name their environments.

    Each file is whole or as it was, and where one cannot be written none is: all new contents are on the disk
    before the first file gets its name. Raises :class:`StoreError` when the folder cannot be written.
    """
    staged: list[tuple[Lock, Path]] = []
    try:
        with ExitStack() as stack:
            for lock in locks:
                text = lock.text()
                if not _says(lock_path(directory, lock.environment), text):
                    directory.mkdir(parents=True, exist_ok=True)
                    staged.append((lock, stack.enter_context(_staged(directory, lock.environment, text))))
            for lock, temporary in staged:
                os.replace(temporary, lock_path(directory, lock.environment))
    except OSError as e:
        raise unwritten(directory, "the locks", e) from e
    return [lock.environment for lock, _ in staged]


def _says(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


@contextmanager
def _staged(directory: Path, environment: str, text: str) -> Iterator[Path]:
    """The lock's text in a file of ``directory`` that is on the disk; the next writer removes what a kill leaves."""
    from ..kernel.scratch import scratch_file

    with scratch_file(directory, f".{environment}") as (temporary, handle):
        with os.fdopen(handle, "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        yield temporary
