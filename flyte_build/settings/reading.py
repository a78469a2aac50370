"""Reads ``[tool.flyte-build]`` and the variables that win over it, and holds every value against the table.

    [tool.flyte-build]
    file = "main.py"
    registry = "registry.example/team"

The command line wins over the environment, and the environment over the file. An unknown key is an error: a misspelt
``cache`` must not look like a cache that is empty. Paths are relative to the file that states them. Never looks whether
a path is there, and never says where an image comes *from*: law 1. The keys are in ``table`` and ``docs/settings.md``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from ..kernel.errors import InputError
from ..kernel.quantities import size_of
from ..kernel.values import dataclass
from .table import DEFAULTS, TABLE, Setting
from .targets import StatedTarget, stated_targets

__all__ = ["Settings", "read_settings", "stated"]

_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_SCHEME = re.compile(r"[a-z0-9+]{2,}://")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Settings:
    """See the table. ``registry`` ``None``: nowhere to push to. ``cache``: repositories, the first is written to.

    ``file``, ``root``, ``lockfiles``, ``apt_sources`` and ``pod_templates`` are absolute. ``sign_key`` and
    ``verify_key`` are files' absolute paths, or key references as the signing tool takes them. ``task_disk``,
    ``seal_memory`` and ``layer_ceiling`` are in bytes. ``targets``' kubeconfigs are absolute, or in ``~``.
    """

    registry: str | None = DEFAULTS["registry"]
    repository: str = DEFAULTS["repository"]
    cache: tuple[str, ...] = DEFAULTS["cache"]
    cache_write: bool = DEFAULTS["cache-write"]
    insecure_registries: tuple[str, ...] = DEFAULTS["insecure-registries"]
    platforms: tuple[str, ...] = DEFAULTS["platforms"]
    policy: Literal["refuse", "delegate"] = DEFAULTS["policy"]
    checks: Literal["refuse", "warn", "off"] = DEFAULTS["checks"]
    overlaps: Literal["allow", "refuse"] = DEFAULTS["overlaps"]
    layer_ceiling: int | None = DEFAULTS["layer-ceiling"]
    pin: Literal["always", "on-push", "never"] = DEFAULTS["pin"]
    base: Literal["debian", "standalone", "registry"] = DEFAULTS["base"]
    bytecode: Literal["none", "layer"] = DEFAULTS["bytecode"]
    apt_components: tuple[str, ...] = DEFAULTS["apt-components"]
    apt_sources: tuple[Path, ...] = DEFAULTS["apt-sources"]
    sign_key: str | None = DEFAULTS["sign-key"]
    verify_key: str | None = DEFAULTS["verify-key"]
    root: Path | None = DEFAULTS["root"]
    file: Path | None = DEFAULTS["file"]
    lockfiles: Path | None = DEFAULTS["lockfiles"]
    exclude_newer: str | None = DEFAULTS["exclude-newer"]
    exclude_newer_index: tuple[tuple[str, str], ...] = DEFAULTS["exclude-newer-index"]
    unfiltered: tuple[str, ...] = DEFAULTS["unfiltered"]
    pod_templates: Path | None = DEFAULTS["pod-templates"]
    task_disk: int | None = DEFAULTS["task-disk"]
    task_files: int = DEFAULTS["task-files"]
    warm: bool = DEFAULTS["warm"]
    network: Literal["host", "internet", "none"] | None = DEFAULTS["network"]
    seal_network: Literal["host", "internet", "none"] = DEFAULTS["seal-network"]
    seal_memory: int | None = DEFAULTS["seal-memory"]
    seal_minutes: int = DEFAULTS["seal-minutes"]
    targets: tuple[StatedTarget, ...] = DEFAULTS["targets"]


def read_settings(start: Path, environ: Mapping[str, str] = os.environ, said: Mapping[str, Any] = _NOTHING) -> Settings:
    """The settings for a project in the folder ``start``: of the nearest ``pyproject.toml`` upwards that has the table.

    The search ends at the folder that holds ``.git``. ``said`` is what the command line says, by key: texts, lists of
    texts, truths and paths; ``None`` and what is empty say nothing. Paths of variables and of the command line are
    relative to the working folder. Raises :class:`InputError` that names the file, variable or option, and the key.
    """
    file, table = stated(start)
    where = f"{file}: [tool.flyte-build]"
    values = {key: _placed(key, _checked(key, value, where), file.parent, where) for key, value in table.items()}
    for setting in TABLE.values():
        if setting.variable and (text := environ.get(setting.variable)):
            value = _checked(setting.key, _spoken(setting, text), f"${setting.variable}")
            values[setting.key] = _typed(setting, value)
    for key, value in said.items():
        if value not in (None, "", (), []):
            setting = TABLE[key]
            given = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
            values[key] = _typed(setting, _checked(key, given, setting.option or "the command line"))
    return Settings(**{TABLE[key].field: value for key, value in values.items()})


def stated(start: Path) -> tuple[Path, dict[str, Any]]:
    """The file whose table holds for the folder ``start``, and the table as it stands there, unchecked.

    Without one: the file where it would be looked for first, and nothing.
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        table = _table(file) if file.is_file() else None
        if table is not None:
            return file, table
        if (folder / ".git").exists():
            break
    return start / "pyproject.toml", {}


def _table(file: Path) -> dict[str, Any] | None:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:  # also a number of 5,000 digits, and a list in 1,000 others
        raise InputError(f"{file}: cannot be read: {e}") from None
    tool = document.get("tool")
    found = tool.get("flyte-build") if isinstance(tool, dict) else None
    if found is not None and not isinstance(found, dict):
        raise InputError(f"{file}: expected [tool.flyte-build] to be a table, found {found!r}")
    return cast("dict[str, Any] | None", found)


def _spoken(setting: Setting, text: str) -> Any:
    """A variable's text as the value that it stands for."""
    if setting.kind in ("texts", "files"):
        return text.split()
    if setting.kind == "count":
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else text
    return _WORDS.get(text.lower(), text) if setting.kind == "flag" else text


def _checked(key: str, value: Any, where: str) -> Any:
    setting = TABLE.get(key)
    if setting is None:
        import difflib

        close = difflib.get_close_matches(key, TABLE, 1)
        raise InputError(
            f"{where}: no setting `{key}`; there are: {', '.join(sorted(TABLE))}",
            hint=f"did you mean `{close[0]}`?" if close else "docs/settings.md says what each is for",
        )
    if setting.kind == "targets":
        return stated_targets(value, where)
    if setting.kind in ("age", "ages"):
        from .ages import stated_ages  # asked for by few

        return stated_ages(key, value, where, several=setting.kind == "ages")
    if setting.kind in ("texts", "files"):
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
            raise InputError(f"{where}: {key}: expected a list of strings, found {value!r}")
        return tuple(texts)
    if setting.kind == "flag":
        if not isinstance(value, bool):
            raise InputError(f"{where}: {key}: expected true or false, found {value!r}")
        return value
    if setting.kind == "count":
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{where}: {key}: expected a whole number, 1 or more, found {value!r}")
        return value
    if setting.kind == "size":
        try:
            return size_of(value)
        except (ValueError, TypeError, AttributeError):
            raise InputError(f'{where}: {key}: expected a size such as "10Gi" or "500M", found {value!r}') from None
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: {key}: expected a string, found {value!r}")
    if setting.choices and value not in setting.choices:
        raise InputError(f"{where}: {key}: expected {' or '.join(setting.choices)}, found {value!r}")
    return value


def _placed(key: str, value: Any, folder: Path, where: str) -> Any:
    """A value of the file in ``folder``, with paths made absolute.

    Settings are read from the root upwards: were it elsewhere, everything else that this file says would be lost.
    """
    kind = TABLE[key].kind
    if kind == "key":
        return value if _SCHEME.match(value) else str(folder / value)
    if kind == "targets":
        return tuple(target.placed(folder) for target in value)
    if kind == "files":
        return tuple(Path(os.path.normpath(folder / name)) for name in value)
    if kind not in ("folder", "file"):
        return value
    if key != "root":
        return Path(os.path.normpath(folder / value))
    # Spelled like the folder, through which the file was found: they are compared as they are written.
    place = folder / os.path.normpath(value)
    if ".." in Path(os.path.normpath(value)).parts or not place.is_relative_to(folder):
        raise InputError(
            f"{where}: root: expected a folder in {folder}, found {value!r}",
            hint="settings are read from the root upwards: move the table to a pyproject.toml at or above it",
        )
    return place


def _typed(setting: Setting, value: Any) -> Any:
    """A value of a variable or of the command line, with paths made absolute as a shell means them."""
    if setting.kind == "files":
        return tuple(Path(name).absolute() for name in value)
    return Path(value).absolute() if setting.kind in ("folder", "file") else value
