"""What a project says once about where its images go and whom it trusts: ``[tool.flyte-build]`` of ``pyproject.toml``.

    [tool.flyte-build]
    registry = "registry.example/team"        # images are pushed below it
    repository = "{registry}/{environment}"   # or "{registry}": one repository for all
    cache = ["registry.example/team/cache"]   # realisations are taken from here, and written to the first
    cache-write = true                        # false: the cache is read and never written (a pull request's build)
    insecure-registries = ["10.0.0.5:5000"]   # plain HTTP, besides loopback
    platforms = ["linux/amd64"]               # what is pushed (default: all that an image asks for)
    policy = "refuse"                         # or "delegate": what cannot be hermetic is left to the SDK's own builder
    base = "debian"                           # or "registry": the official slim images under from_debian_base()
    sign-key = "team.key"                     # what a push is signed with, by a file or a reference (awskms://…)
    verify-key = "team.pub"                   # whose signature an image has to have before it is run, likewise

The environment wins over the file: ``FLYTE_BUILD_REGISTRY``, ``FLYTE_BUILD_REMOTE_CACHE`` (separated by spaces),
``FLYTE_BUILD_REMOTE_CACHE_WRITE`` (yes or no), ``FLYTE_BUILD_INSECURE_REGISTRIES`` (separated by spaces),
``FLYTE_BUILD_POLICY``; an option of the command line wins over both. An unknown key is an error: a misspelt ``cache``
must not look like a cache that is empty. Paths are relative to the file that states them. Where an image comes *from*
is never said here: law 1.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ..kernel.errors import InputError

__all__ = ["Settings", "read_settings"]

_VARIABLES = {
    "registry": "FLYTE_BUILD_REGISTRY",
    "cache": "FLYTE_BUILD_REMOTE_CACHE",
    "cache-write": "FLYTE_BUILD_REMOTE_CACHE_WRITE",
    "insecure-registries": "FLYTE_BUILD_INSECURE_REGISTRIES",
    "policy": "FLYTE_BUILD_POLICY",
}
_TEXTS = ("registry", "repository", "policy", "base", "sign-key", "verify-key")
_LISTS = ("cache", "insecure-registries", "platforms")
_FLAGS = ("cache-write",)
_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_KEYS = {"sign-key", "verify-key"}
_SCHEME = re.compile(r"[a-z0-9+]{2,}://")
_CHOICES = {"policy": ("refuse", "delegate"), "base": ("debian", "registry")}


@dataclass(frozen=True, slots=True)
class Settings:
    """See the module. ``registry`` ``None``: nowhere to push to. ``cache``: repositories, the first is written to.

    ``sign_key`` and ``verify_key`` are files' absolute paths, or key references as the signing tool takes them.
    """

    registry: str | None = None
    repository: str = "{registry}/{environment}"
    cache: tuple[str, ...] = ()
    cache_write: bool = True
    insecure_registries: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    policy: Literal["refuse", "delegate"] = "refuse"
    base: Literal["debian", "registry"] = "debian"
    sign_key: str | None = None
    verify_key: str | None = None


def read_settings(start: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings for a project in the folder ``start``: of the nearest ``pyproject.toml`` upwards that has the table.

    The search ends at the folder that holds ``.git``. Raises :class:`InputError` that names the file and the key.
    """
    values: dict[str, Any] = {}
    for folder in (start.absolute(), *start.absolute().parents):
        file = folder / "pyproject.toml"
        table = _table(file) if file.is_file() else None
        if table is not None:
            values = {key: _checked(key, value, f"{file}: [tool.flyte-build]") for key, value in table.items()}
            for key in _KEYS & values.keys():
                if not _SCHEME.match(values[key]):
                    values[key] = str(folder / values[key])
            break
        if (folder / ".git").exists():
            break
    for key, variable in _VARIABLES.items():
        if text := environ.get(variable):
            said = text.split() if key in _LISTS else _WORDS.get(text.lower(), text) if key in _FLAGS else text
            values[key] = _checked(key, said, f"${variable}")
    return Settings(**{key.replace("-", "_"): value for key, value in values.items()})


def _table(file: Path) -> dict[str, Any] | None:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise InputError(f"{file}: cannot be read: {e}") from None
    found = document.get("tool", {}).get("flyte-build")
    if found is not None and not isinstance(found, dict):
        raise InputError(f"{file}: expected [tool.flyte-build] to be a table, found {found!r}")
    return cast("dict[str, Any] | None", found)


def _checked(key: str, value: Any, where: str) -> Any:
    if key in _LISTS:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
            raise InputError(f"{where}: {key}: expected a list of strings, found {value!r}")
        return tuple(texts)
    if key in _FLAGS:
        if not isinstance(value, bool):
            raise InputError(f"{where}: {key}: expected true or false, found {value!r}")
        return value
    if key not in _TEXTS:
        known = ", ".join(sorted((*_TEXTS, *_LISTS, *_FLAGS)))
        raise InputError(f"{where}: no setting `{key}`; there are: {known}")
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: {key}: expected a string, found {value!r}")
    if value not in _CHOICES.get(key, (value,)):
        raise InputError(f"{where}: {key}: expected {' or '.join(_CHOICES[key])}, found {value!r}")
    return value
