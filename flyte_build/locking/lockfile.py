"""The lock file: the contract between locking and everything after it.

``lockfiles/<environment>.json`` is JSON laid out for review: one artifact a line, sorted, the same
bytes for the same content. It names content (file name, version, size in bytes, SHA-256) and never a
location: law 1. Reading checks everything; a lock that was edited by hand into something inconsistent
is an error that says where, not a surprise later.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ..canonical import Json, digest
from ..errors import LockError
from ..recipe import Recipe, differences

__all__ = ["SCHEMA", "Lock", "LockedDeb", "LockedPlatform", "LockedWheel", "lock_path", "read", "read_all", "write"]

SCHEMA = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
_WHEEL = re.compile(r"[^/\\\s]+-[^/\\\s]+\.whl")
_DEB = re.compile(r"[a-z0-9][a-z0-9.+-]*_[^/\\\s]+_[a-z0-9-]+\.deb")


@dataclass(frozen=True, slots=True)
class LockedWheel:
    """One wheel: ``name`` normalised (PEP 503), ``size`` in bytes, ``sha256`` in hex.

    ``step`` is the earliest pip step of the recipe whose closure holds it (0: the flyte runtime), which
    decides the layer it lies in, so that images that extend one another share layers (law 7).
    """

    name: str
    version: str
    file: str
    size: int
    sha256: str
    step: int


@dataclass(frozen=True, slots=True)
class LockedDeb:
    """One Debian package.

    ``archive`` is ``debian`` or ``debian-security``; with ``component``, ``source`` and ``file`` it gives
    the pool path on any mirror. ``base`` tells the base's packages from those asked for by name.
    """

    name: str
    version: str
    architecture: str
    file: str
    size: int
    sha256: str
    source: str
    archive: str
    component: str
    base: bool

    @property
    def pool_path(self) -> str:
        """The path below an archive's root, by Debian's pool rule (``liba`` → ``liba``, else first letter)."""
        prefix = self.source[:4] if self.source.startswith("lib") else self.source[:1]
        return f"pool/{self.component}/{prefix}/{self.source}/{self.file}"


@dataclass(frozen=True, slots=True)
class LockedPlatform:
    """Everything one platform's image is made of. ``snapshot`` is ``YYYYMMDDTHHMMSSZ`` of the Debian archive."""

    suite: str
    snapshot: str
    debs: tuple[LockedDeb, ...]
    wheels: tuple[LockedWheel, ...]


@dataclass(frozen=True, slots=True)
class Lock:
    """One environment's lock. ``recipe`` is the canonical recipe it answers, ``apart`` why the environment
    was not solved with the others (``None``: it was)."""

    environment: str
    recipe: Json
    resolver: str
    resolver_version: str
    cutoff: str | None
    platforms: Mapping[str, LockedPlatform]
    apart: str | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)

    @property
    def python(self) -> str:
        return str(cast("dict[str, Json]", self.recipe)["python"])

    @property
    def fingerprint(self) -> str:
        return digest(self.recipe)

    def answers(self, recipe: Recipe) -> bool:
        return self.fingerprint == recipe.fingerprint

    def staleness(self, recipe: Recipe) -> list[str]:
        """What changed since this lock was made, one line each; empty when it still answers ``recipe``."""
        return [] if self.answers(recipe) else differences(self.recipe, recipe.to_json()) or ["the recipe"]

    # -- serialisation -------------------------------------------------------------------------

    def to_json(self) -> dict[str, Json]:
        platforms: dict[str, Json] = {}
        for name, platform in sorted(self.platforms.items()):
            platforms[name] = {
                "suite": platform.suite,
                "snapshot": platform.snapshot,
                "debs": [_deb_json(d) for d in sorted(platform.debs, key=lambda d: (d.name, d.architecture))],
                "wheels": [_wheel_json(w) for w in sorted(platform.wheels, key=lambda w: w.name)],
            }
        out: dict[str, Json] = {
            "schema": SCHEMA,
            "environment": self.environment,
            "fingerprint": self.fingerprint,
            "recipe": self.recipe,
            "resolver": {"name": self.resolver, "version": self.resolver_version},
            "cutoff": self.cutoff,
            "platforms": platforms,
        }
        if self.apart is not None:
            out["apart"] = self.apart
        out.update(self.extra)
        return out

    def text(self) -> str:
        """The file's text: two-space indent, but one artifact or step a line."""
        return _layout(self.to_json(), 0) + "\n"


def _wheel_json(w: LockedWheel) -> Json:
    return {
        "name": w.name,
        "version": w.version,
        "file": w.file,
        "size": w.size,
        "sha256": w.sha256,
        "step": w.step,
    }


def _deb_json(d: LockedDeb) -> Json:
    return {
        "name": d.name,
        "version": d.version,
        "architecture": d.architecture,
        "file": d.file,
        "size": d.size,
        "sha256": d.sha256,
        "source": d.source,
        "archive": d.archive,
        "component": d.component,
        "base": d.base,
    }


def _layout(value: Json, depth: int) -> str:
    """Objects and arrays are opened only where reviewers read them; leaves stay on one line."""
    pad = "  " * (depth + 1)
    if isinstance(value, dict) and depth < 3 and value:
        rows = [f"{pad}{json.dumps(k)}: {_layout(v, depth + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + "\n" + "  " * depth + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        rows = [f"{pad}{json.dumps(v, ensure_ascii=False)}" for v in value]
        return "[\n" + ",\n".join(rows) + "\n" + "  " * depth + "]"
    return json.dumps(value, ensure_ascii=False)


# -- reading ---------------------------------------------------------------------------------------


class _Reader:
    """Typed access with a path for the message of what is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, where: str, expected: str, found: object) -> LockError:
        shown = json.dumps(found, ensure_ascii=False, default=str)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return LockError(
            f"{self.path}: {where}: expected {expected}, found {shown}",
            hint="restore the file from version control, or run `flyte-build lock` again",
        )

    def get(self, obj: Mapping[str, Any], key: str, kind: type | tuple[type, ...], where: str) -> Any:
        value = obj.get(key)
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise self.fail(f"{where}.{key}", " or ".join(k.__name__ for k in kinds), value)
        return value

    def matching(self, obj: Mapping[str, Any], key: str, pattern: re.Pattern[str], expected: str, where: str) -> str:
        value = self.get(obj, key, str, where)
        if not pattern.fullmatch(value):
            raise self.fail(f"{where}.{key}", expected, value)
        return cast(str, value)

    def size(self, obj: Mapping[str, Any], where: str) -> int:
        value = self.get(obj, "size", int, where)
        if value < 0:
            raise self.fail(f"{where}.size", "a size in bytes", value)
        return cast(int, value)

    def known(self, obj: Mapping[str, Any], keys: set[str], where: str) -> None:
        for key in obj:
            if key not in keys:
                raise self.fail(f"{where}.{key}", f"one of {', '.join(sorted(keys))}", key)


_TOP = {"schema", "environment", "fingerprint", "recipe", "resolver", "cutoff", "platforms", "apart"}


def parse(text: str, path: Path) -> Lock:
    """The lock in ``text``; ``path`` is for messages. Raises :class:`LockError` naming place and expectation."""
    r = _Reader(path)
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as e:
        raise LockError(
            f"{path}:{e.lineno}:{e.colno}: not JSON: {e.msg}",
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
    if schema != SCHEMA:
        raise r.fail("$.schema", str(SCHEMA), schema)
    r.known(raw, _TOP, "$")
    recipe = r.get(raw, "recipe", dict, "$")
    if not isinstance(recipe.get("python"), str):
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
    platforms = {
        name: _platform(r, value, f"$.platforms.{name}") for name, value in r.get(raw, "platforms", dict, "$").items()
    }
    if sorted(platforms) != sorted(recipe.get("platforms") or []):
        raise r.fail("$.platforms", f"the recipe's platforms {recipe.get('platforms')}", sorted(platforms))
    return Lock(
        environment=r.get(raw, "environment", str, "$"),
        recipe=cast(Json, recipe),
        resolver=r.get(resolver, "name", str, "$.resolver"),
        resolver_version=r.get(resolver, "version", str, "$.resolver"),
        cutoff=r.get(raw, "cutoff", (str, type(None)), "$"),
        platforms=platforms,
        apart=r.get(raw, "apart", (str, type(None)), "$"),
    )


def _platform(r: _Reader, raw: object, where: str) -> LockedPlatform:
    if not isinstance(raw, dict):
        raise r.fail(where, "an object", raw)
    r.known(raw, {"suite", "snapshot", "debs", "wheels"}, where)
    wheels: list[LockedWheel] = []
    for i, w in enumerate(r.get(raw, "wheels", list, where)):
        at = f"{where}.wheels[{i}]"
        if not isinstance(w, dict):
            raise r.fail(at, "an object", w)
        r.known(w, {"name", "version", "file", "size", "sha256", "step"}, at)
        wheels.append(
            LockedWheel(
                name=r.get(w, "name", str, at),
                version=r.get(w, "version", str, at),
                file=r.matching(w, "file", _WHEEL, "a wheel file name", at),
                size=r.size(w, at),
                sha256=r.matching(w, "sha256", _SHA256, "64 hexadecimal digits", at),
                step=r.get(w, "step", int, at),
            )
        )
    debs: list[LockedDeb] = []
    for i, d in enumerate(r.get(raw, "debs", list, where)):
        at = f"{where}.debs[{i}]"
        if not isinstance(d, dict):
            raise r.fail(at, "an object", d)
        strings = ("name", "version", "architecture", "source", "archive", "component")
        r.known(d, {*strings, "file", "size", "sha256", "base"}, at)
        debs.append(
            LockedDeb(
                **{key: r.get(d, key, str, at) for key in strings},
                file=r.matching(d, "file", _DEB, "a Debian package file name", at),
                size=r.size(d, at),
                sha256=r.matching(d, "sha256", _SHA256, "64 hexadecimal digits", at),
                base=r.get(d, "base", bool, at),
            )
        )
    for what, names in (("wheels", [w.name for w in wheels]), ("debs", [d.name for d in debs])):
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise r.fail(f"{where}.{what}", "every name once", twice)
    return LockedPlatform(
        suite=r.get(raw, "suite", str, where),
        snapshot=r.get(raw, "snapshot", str, where),
        debs=tuple(debs),
        wheels=tuple(wheels),
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
    lock = parse(text, path)
    if lock.environment != environment:
        raise LockError(
            f"{path}: expected the lock of environment {environment}, found that of {lock.environment}",
            hint="a lock is named after its environment; run `flyte-build lock` again",
        )
    return lock


def read_all(directory: Path, environments: list[str]) -> dict[str, Lock | None]:
    return {name: read(directory, name) for name in environments}


def write(directory: Path, lock: Lock) -> bool:
    """Write the lock whole or not at all; ``False`` when the file already said exactly this."""
    path = lock_path(directory, lock.environment)
    text = lock.text()
    try:
        if path.read_text(encoding="utf-8") == text:
            return False
    except (OSError, UnicodeDecodeError):
        pass
    directory.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{lock.environment}.", suffix=".tmp", dir=directory)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True
