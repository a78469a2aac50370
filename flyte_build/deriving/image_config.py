"""A recipe's environment variables, working directories and user → the OCI image configuration. Pure.

``ENV`` and ``WORKDIR`` mean what they mean in a Dockerfile. On our own Debian the configuration is ours; on a registry
base it is the base's, continued as ``FROM`` would: variables are replaced by name where they stand, the user, the
entry point, the command, ports, volumes, labels and the stop signal stay, unless a Dockerfile sets others. A base's
``ONBUILD`` is dropped: what it means is among the steps of a Dockerfile already.
"""

from __future__ import annotations

import json
import posixpath
from typing import cast

from ..kernel.canonical import Json
from ..kernel.values import replace
from ..locks.base import LockedBase
from ..recipe import EnvVars, ImageSettings, Recipe, Scratch, WorkDir
from ..recipe.conventions import SYSTEM_PATH, USER, VENV
from ..recipe.docker_words import expand

__all__ = [
    "base_config",
    "debian_config",
    "environment_of",
    "expand",
    "kept_settings",
    "variables_of",
    "working_directories",
]

# Of the base's config object (image-spec v1.1, config.md); what else engines write there is about their builds.
_KEPT = ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal")

# Of these each name is set by itself; all else is set as a whole.
_JOINED = ("ExposedPorts", "Labels", "Volumes")


def working_directories(recipe: Recipe, base: LockedBase | None = None) -> list[str]:
    """The working directory in force at each step, then the final one: ``len(steps) + 1`` absolute paths.

    It starts in the user's home, or where the registry ``base`` has it.
    """
    current = "/" if isinstance(recipe.base, Scratch) else str(USER["home"])
    if base is not None and not getattr(recipe.base, "official", False):
        current = posixpath.normpath(posixpath.join("/", str(base.settings.get("WorkingDir") or "/")))
    out = []
    for index, step in enumerate(recipe.steps):
        out.append(current)
        if isinstance(step, WorkDir):
            path = step.path
            if "$" in path:
                so_far = replace(recipe, steps=recipe.steps[:index])
                path = expand(path, _pairs(variables_of(so_far, base)))
            current = posixpath.normpath(posixpath.join(current, path))
    return [*out, current]


def variables_of(recipe: Recipe, base: LockedBase | None) -> list[str]:
    """The variables of an image that no package is installed into, as its configuration has them."""
    return cast("list[str]", _env(recipe, environment_of(base) if base is not None else {}))


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
    config = kept_settings(base)
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
    return _set(config, recipe)


def _set(config: dict[str, Json], recipe: Recipe) -> dict[str, Json]:
    """``config`` with what the recipe sets of it; what is set to nothing goes."""
    said = [json.loads(step.settings) for step in recipe.steps if isinstance(step, ImageSettings)]
    for key, value in (row for settings in said for row in settings.items()):
        variables = _pairs(config["Env"])
        if key == "Labels":
            value = {expand(name, variables): expand(text, variables) for name, text in value.items()}
        elif key == "User":
            value = expand(value, variables)
        if key in _JOINED:
            value = {**cast("dict[str, Json]", config.get(key) or {}), **value}
        config.pop(key, None)
        config |= {key: value} if value else {}
    return config


def _pairs(rows: object) -> dict[str, str]:
    return {name: value for name, _, value in (row.partition("=") for row in cast("list[str]", rows))}


def kept_settings(base: LockedBase) -> dict[str, Json]:
    """What an image on ``base`` keeps of its configuration: all but what only builds read."""
    return {key: base.settings[key] for key in _KEPT if base.settings.get(key)}


def environment_of(base: LockedBase) -> dict[str, str]:
    """The variables of a base's configuration."""
    return _pairs(base.settings.get("Env") or [])


def _env(recipe: Recipe, env: dict[str, str]) -> Json:
    for step in recipe.steps:
        if isinstance(step, EnvVars):
            # One ENV instruction sees the values from before it, not its own (Dockerfile reference, ENV).
            env |= {name: expand(value, dict(env)) for name, value in step.variables}
    return [f"{k}={v}" for k, v in env.items()]
