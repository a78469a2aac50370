"""A recipe's environment variables, working directories and user → the OCI image configuration. Pure.

``ENV`` and ``WORKDIR`` mean what they mean in a Dockerfile. On our own Debian the configuration is ours; on a registry
base it is the base's, continued as ``FROM`` would: variables are replaced by name where they stand, the user, the
entry point, the command, ports, volumes, labels and the stop signal stay. ``ONBUILD`` is dropped: nothing is run here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import cast

from ..kernel.canonical import Json
from ..locks.base import LockedBase
from ..recipe import EnvVars, Recipe, WorkDir
from ..recipe.conventions import SYSTEM_PATH, USER, VENV

__all__ = ["base_config", "debian_config", "environment_of", "expand", "working_directories"]

# Of the base's config object (image-spec v1.1, config.md); what else engines write there is about their builds.
_KEPT = ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal")

_VARIABLE = re.compile(r"\\\$|\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))")


def expand(value: str, known: Mapping[str, str]) -> str:
    """``$NAME``, ``${NAME}``, ``${NAME:-word}`` and ``${NAME:+word}`` as a Dockerfile's ENV expands them."""

    def one(m: re.Match[str]) -> str:
        if m[0] == r"\$":
            return "$"
        found = known.get(m[1] or m[4], "")
        if m[2] == "-":
            return found or m[3]
        if m[2] == "+":
            return m[3] if found else ""
        return found

    return _VARIABLE.sub(one, value)


def working_directories(recipe: Recipe, base: LockedBase | None = None) -> list[str]:
    """The working directory in force at each step, then the final one: ``len(steps) + 1`` absolute paths.

    It starts in the user's home, or where the registry ``base`` has it.
    """
    current = str(USER["home"])
    if base is not None and not getattr(recipe.base, "official", False):
        current = posixpath.normpath(posixpath.join("/", str(base.settings.get("WorkingDir") or "/")))
    out = []
    for step in recipe.steps:
        out.append(current)
        if isinstance(step, WorkDir):
            current = posixpath.normpath(posixpath.join(current, step.path))
    return [*out, current]


def debian_config(recipe: Recipe) -> dict[str, Json]:
    """The ``config`` object of an image on our own Debian."""
    env = {
        "PATH": f"{VENV}/bin:{SYSTEM_PATH}",
        "LANG": "C.UTF-8",
        "VIRTUAL_ENV": VENV,
        "PYTHONPATH": "/root",
    }
    return {
        "User": str(USER["name"]),
        "Env": _env(recipe, env),
        "Cmd": ["python"],
        "WorkingDir": working_directories(recipe)[-1],
        "Labels": {},
    }


def base_config(recipe: Recipe, base: LockedBase, venv: str | None) -> dict[str, Json]:
    """The ``config`` object of an image on ``base``; ``venv`` is where its Python packages go, if any do."""
    official = bool(getattr(recipe.base, "official", False))
    config: dict[str, Json] = {key: base.settings[key] for key in _KEPT if base.settings.get(key)}
    env = environment_of(base)
    if venv is not None:
        path = env.get("PATH") or SYSTEM_PATH
        if f"{venv}/bin" != path.split(":")[0]:
            path = f"{venv}/bin:{path}"
        env |= {"PATH": path, "VIRTUAL_ENV": venv}
    if official:
        env |= {"PYTHONPATH": "/root"}
        config["User"] = str(USER["name"])
    config["Env"] = _env(recipe, env)
    config["WorkingDir"] = working_directories(recipe, base)[-1]
    return config


def environment_of(base: LockedBase) -> dict[str, str]:
    """The variables of a base's configuration."""
    rows = cast("list[str]", base.settings.get("Env") or [])
    return {name: value for name, _, value in (row.partition("=") for row in rows)}


def _env(recipe: Recipe, env: dict[str, str]) -> Json:
    for step in recipe.steps:
        if isinstance(step, EnvVars):
            # One ENV instruction sees the values from before it, not its own (Dockerfile reference, ENV).
            env |= {name: expand(value, dict(env)) for name, value in step.variables}
    return [f"{k}={v}" for k, v in env.items()]
