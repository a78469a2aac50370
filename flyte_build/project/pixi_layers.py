"""``with_pixi_project`` and ``from_pixi_script`` → what their ``pixi.lock`` installs. Part of the SDK's edge.

What the SDK's builder does is: manifest and lock (or the whole project) into ``/opt/pixi-project``, ``pixi install
--locked`` there, and variables that make the environment the one that tasks run in. So the same files are there, the
environment lies at the same path, and the same variables are set; pixi itself is not in the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..kernel.errors import LoadError, RefusedError
from ..recipe import CondaInstall, CopyFiles, EnvVars, PipInstall, Platform, Step
from ..recipe.pixi import read_pixi_lock
from .extra_args import words_of
from .secret_mounts import secrets_of

__all__ = ["FIELDS", "PIXI", "in_order", "read_pixi"]

PIXI = ("PixiProject", "PixiScript")
FIELDS = {
    "manifest", "pixi_lock", "environment", "extra_args", "project_install_mode", "secret_mounts",
    "script", "script_name", "platforms",
}  # fmt: skip
_PROJECT = "/opt/pixi-project"
# What `pixi install` does the same with or without.
_MEANINGLESS = frozenset({
    "--frozen", "--locked", "--no-progress", "--quiet", "-q", "-qq", "--verbose", "-v", "-vv", "-vvv", "--all",
    "--tls-no-verify", "--revalidate",
})  # fmt: skip
_VALUED = frozenset({"--color", "--concurrent-downloads", "--concurrent-solves", "--pypi-keyring-provider"})
_OWNER = (0, 0)
_PIP = ("PipPackages", "Requirements", "UVProject", "UVScript", "PoetryProject", "PythonWheels")


def read_pixi(
    layer: Any,
    owner: str,
    platforms: tuple[Platform, ...],
    relative: Callable[[Path], str],
    found: Callable[[Any], Path],
    ignore: tuple[str, ...],
) -> list[Step]:
    """The steps of a ``PixiProject`` or ``PixiScript``; ``relative`` gives a path as recipes write it, ``found`` where
    one leads; ``ignore``: the patterns of the image's ``.dockerignore``.

    Raises what reading a ``pixi.lock`` raises, and :class:`RefusedError` for arguments that choose.
    """
    script = type(layer).__name__ == "PixiScript"
    where = f"{owner}: {'from_pixi_script' if script else 'with_pixi_project'}"
    _arguments(words_of(layer, where), where)
    manifest = found(layer.script if script else layer.manifest)
    if not manifest.is_file():
        raise LoadError(f"{where}: {manifest} does not exist")
    lock = _lock(layer, manifest, found, where, script=script)
    whole = not script and layer.project_install_mode != "dependencies_only"
    held = read_pixi_lock(lock, layer.environment, platforms, where, relative)
    if held.local and not whole:
        raise RefusedError(
            f"{where}: {lock.name} installs {', '.join(f'`{path}`' for path in held.local)}: folders of yours",
            hint='`project_install_mode="install_project"` installs them; the code bundle or with_source_folder brings '
            "code that need not be installed",
        )
    prefix = f"{_PROJECT}/.pixi/envs/{layer.environment}"
    named = f"{_PROJECT}/{'pixi.toml' if script else manifest.name}"
    environment = CondaInstall(
        relative(manifest), relative(lock), layer.environment, prefix, held.python, held.locked, held.packages
    )
    copies = [CopyFiles(relative(lock), f"{_PROJECT}/pixi.lock", False, owner=_OWNER)]
    if whole:
        copies = [CopyFiles(relative(manifest.parent), _PROJECT, True, (*ignore, ".pixi"), owner=_OWNER)]
    elif not script:
        copies = [CopyFiles(relative(manifest), named, False, owner=_OWNER), *copies]
    pypi = PipInstall(
        tuple(dict.fromkeys(held.pypi.requirements)),
        hashes=tuple(sorted(held.pypi.hashes.items())),
        sources=tuple(dict.fromkeys(held.pypi.sources)),
        secrets=secrets_of(layer, owner),
    )
    variables = EnvVars((
        ("VIRTUAL_ENV", prefix),
        ("UV_PYTHON", f"{prefix}/bin/python"),
        ("PIXI_PROJECT_MANIFEST", named),
        ("PATH", f"{prefix}/bin:$PATH"),
    ))  # fmt: skip
    installs = [pypi] if pypi.requirements or pypi.sources else []
    return [*copies, environment, *installs, variables]


def in_order(layers: Sequence[Any], owner: str) -> bool:
    """Whether there is a pixi layer among ``layers``. Raises :class:`RefusedError` for more than one, and where
    packages would be installed before it, into the environment that no task runs in then."""
    kinds = [type(layer).__name__ for layer in layers]
    places = [i for i, kind in enumerate(kinds) if kind in PIXI]
    if len(places) > 1:
        raise RefusedError(
            f"{owner}: the image installs {len(places)} pixi projects into one folder",
            hint="make one manifest of them, or an image for each",
        )
    if places and (before := [kind for kind in kinds[: places[0]] if kind in _PIP]):
        raise RefusedError(
            f"{owner}: {before[0]} comes before the pixi project, whose environment would not have its packages",
            hint="put it after with_pixi_project, or add the packages to the manifest ([pypi-dependencies])",
        )
    return bool(places)


def _lock(layer: Any, manifest: Path, found: Callable[[Any], Path], where: str, *, script: bool) -> Path:
    own = manifest.with_name(f"{manifest.name}.pixi.lock" if script else "pixi.lock")
    path = found(layer.pixi_lock) if layer.pixi_lock is not None else own
    if not path.is_file():
        command = f"pixi lock --script {manifest.name}" if script else "pixi lock"
        raise RefusedError(
            f"{where}: {manifest.name} has no {path.name}, and only pixi chooses conda packages",
            hint=f"run `{command}` in {manifest.parent}, and commit {path.name}",
        )
    return path


def _arguments(words: Sequence[str], where: str) -> None:
    rest = list(words)
    while rest:
        name, given, _ = rest.pop(0).partition("=")
        if name in _VALUED:
            if not given and rest:
                rest.pop(0)
        elif name not in _MEANINGLESS:
            raise RefusedError(
                f"{where}: the argument `{name}` of `pixi install` has no place in a lock",
                hint="what an image installs is an environment of the manifest: `environment=`",
            )
