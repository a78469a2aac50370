"""``flyte.Image`` → recipe: what each constructor and layer of the SDK means to us.

Reading is strict: a layer class we do not know, **or a field we do not know**, is an error that names it,
never something left out of the image in silence (law 9). Part of the SDK's edge, like ``loading``.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flyte

from ..kernel.errors import LoadError, RefusedError
from ..recipe import (
    AptInstall,
    CopyFiles,
    EnvVars,
    Known,
    PipInstall,
    Platform,
    Recipe,
    RegistryBase,
    RunCommands,
    Step,
    WorkDir,
)
from ..recipe.requirements import ParsedRequirements, normalise, parse_requirements, parse_requirements_file
from .bases import HERE, ImageBase, Prefer, on_python, pythons, read_base
from .certificates import with_bundles
from .code_bundle import Code, code_step
from .extra_args import words_of
from .pixi_layers import FIELDS, PIXI, in_order, read_pixi
from .poetry_layers import brings_flyte, read_poetry
from .secret_mounts import secrets_of
from .session import DEFAULT_REFERENCE, asked_python, stated_image
from .uv_layers import fitting_python, read_project, read_script
from .wheel_folders import wheels_of

__all__ = ["read_image"]

PLATFORMS: tuple[Platform, ...] = ("linux/amd64", "linux/arm64")

_IMAGE_FIELDS = {
    "base_image", "dockerfile", "registry", "name", "platform", "python_version", "extendable",
    "_is_cloned", "_ref_name", "_layers", "_tag", "_image_registry_secret",
}  # fmt: skip
_PIP_FIELDS = {"index_url", "extra_index_urls", "pre", "extra_args", "secret_mounts"}


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """For messages: whose image, and the project's root that relative paths start from."""

    owner: str
    root: Path
    code: Code
    platforms: tuple[Platform, ...] = ()

    def relative(self, path: Path) -> str:
        """The path from the root, as it is written into the recipe."""
        absolute = path if path.is_absolute() else Path.cwd() / path
        return Path(os.path.relpath(absolute, self.root)).as_posix()

    def found(self, path: Any) -> Path:
        """Where a path that the user wrote leads: from the current folder, as the SDK has it; where nothing is there,
        from the folder of a file that makes the environment, so that it does not matter where a command is typed."""
        here = Path(path).absolute()
        if Path(path).is_absolute() or here.exists():
            return here
        beside = (file.parent / path for file in self.code.files())
        return next((Path(os.path.normpath(one)) for one in beside if one.exists()), here)


def read_image(
    image: flyte.Image | str | None,
    owner: str,
    root: Path,
    prefer: Prefer = "debian",
    code: Code | None = None,
    *,
    elsewhere: bool = True,
    known: Known | None = None,
) -> Recipe:
    """The recipe of an environment's image. ``owner`` names the environment in errors, ``prefer`` is the setting
    ``base``: what lies under ``from_debian_base()`` (:mod:`flyte_build.project.bases`). ``code``: what a
    ``with_code_bundle()`` copies (default: every module below ``root``). ``elsewhere``: a Dockerfile with a line that
    no step means is for another builder, instead of being refused. ``known``: what a lock knows of a Dockerfile.

    Raises :class:`RefusedError` for what cannot be made hermetic and :class:`LoadError` for what is wrong.
    """
    at = _Place(owner, root, code or Code(root, tuple))
    if image is None or image == "auto":
        image = stated_image(DEFAULT_REFERENCE) or flyte.Image.from_debian_base()
    if isinstance(image, str):
        # As `Image.from_base` has it; the SDK hands the string on as it stands.
        return Recipe(RegistryBase(image), ("linux/amd64",), None, None)
    _known_fields(at, image, _IMAGE_FIELDS)
    if image.dockerfile is not None:
        from .dockerfiles import read_dockerfile

        platforms = _platforms(at, image.platform)
        file = at.found(image.dockerfile)
        said = read_dockerfile(file, owner, at.relative, platforms, elsewhere=elsewhere, known=known)
        steps = with_bundles(said.steps, root)
        return Recipe(said.base, platforms, None, None, steps, stages=said.stages, triggers=said.triggers)
    if image._ref_name is not None:
        stated = stated_image(image._ref_name)
        if stated is None:
            raise RefusedError(
                f"{owner}: `from_ref_name({image._ref_name!r})` names an image that no configuration here knows",
                hint=f"say what it is in the SDK's configuration (image: image_refs: {image._ref_name}: URI), or start "
                "from `flyte.Image.from_debian_base()`",
            )
        image = image.clone(base_image=stated)
    at = dataclasses.replace(at, platforms=_platforms(at, image.platform))
    base = _fitting(at, read_base(image, owner, prefer), prefer, asked_python(image))
    pixi = in_order(base.layers, owner)
    steps = with_bundles(_steps(at, base.layers), root)
    runtime = None if pixi or brings_flyte(base.layers, owner, at.relative, at.found) else base.flyte
    return Recipe(base.base, at.platforms, base.python, runtime, steps)


def _fitting(at: _Place, base: ImageBase, prefer: Prefer, stated: bool) -> ImageBase:
    """``base`` with a Python that its uv projects and scripts run on. Where the image has this machine's, and nobody
    ``stated`` that it shall, it is as with ``uv run``: what is to be run says which."""
    if base.python is None:
        return base
    others = pythons(prefer) if base.python == HERE and not stated else ()
    if others and in_order(base.layers, at.owner):
        return on_python(others[0], base.flyte, base.layers, prefer)  # tasks run with another Python
    python = fitting_python(base.layers, base.python, others, at.owner, at.found)
    return base if python == base.python else on_python(python, base.flyte, base.layers, prefer)


def _platforms(at: _Place, platforms: tuple[str, ...]) -> tuple[Platform, ...]:
    unknown = [p for p in platforms if p not in PLATFORMS]
    if unknown:
        raise RefusedError(f"{at.owner}: unknown platform {', '.join(unknown)}; known: {', '.join(PLATFORMS)}")
    return tuple(p for p in PLATFORMS if p in platforms)


def _known_fields(at: _Place, value: Any, known: set[str]) -> None:
    for f in dataclasses.fields(value):
        if f.name not in known:
            raise RefusedError(
                f"{at.owner}: {type(value).__name__} has a field `{f.name}` that this flyte-build does not know",
                hint="upgrade flyte-build, or use the flyte version it was made for",
            )


def _steps(at: _Place, layers: list[Any]) -> list[Step]:
    ignore = _ignore_patterns(at, layers)
    steps: list[Step] = []
    for layer in layers:
        if (kind := type(layer).__name__) == "DockerIgnore":
            _known_fields(at, layer, {"path"})
            continue
        if kind in PIXI:
            _known_fields(at, layer, FIELDS)
            steps += read_pixi(layer, at.owner, at.platforms, at.relative, at.found, ignore)
            continue
        reader = _READERS.get(kind)
        if reader is None:
            raise RefusedError(
                f"{at.owner}: the image layer {kind} cannot be made hermetic",
                hint=_WAYS_OUT.get(kind, "leave it out, or upgrade flyte-build"),
            )
        step = reader(at, layer)
        if isinstance(step, CopyFiles) and step.folder and not step.code:
            step = dataclasses.replace(step, ignore=ignore)
        if step is not None:
            steps.append(step)
    # The code is what changes most, so that it comes last.
    return sorted(steps, key=lambda step: isinstance(step, CopyFiles) and step.code)


_WAYS_OUT = {"_DockerLines": "Dockerfile lines run arbitrary commands: use the SDK's with_* methods"}


def _ignore_patterns(at: _Place, layers: list[Any]) -> tuple[str, ...]:
    """The last DockerIgnore's patterns, else those of ``.dockerignore`` in the root, as the SDK's builders do."""
    path, named = at.root / ".dockerignore", False
    for layer in layers:
        if type(layer).__name__ == "DockerIgnore" and layer.path.strip():
            path, named = at.found(layer.path), True
    if not path.is_file():
        if named:
            raise LoadError(f"{at.owner}: with_dockerignore: {path} does not exist")
        return ()
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


# -- one reader a layer class -------------------------------------------------------------------------


def _pip_step(at: _Place, layer: Any, parsed: ParsedRequirements, wheels: tuple[str, ...] = ()) -> PipInstall:
    words = words_of(layer, f"{at.owner}: {type(layer).__name__}")
    if words and type(layer).__name__ != "UVProject":
        raise RefusedError(
            f"{at.owner}: {type(layer).__name__}: the pip arguments `{layer.extra_args}` have no place in a lock",
            hint="index_url, extra_index_urls and pre are supported as parameters of their own",
        )
    extra = layer.extra_index_urls or ()
    extra = (extra,) if isinstance(extra, str) else tuple(extra)
    return PipInstall(
        requirements=tuple(dict.fromkeys(parsed.requirements)),
        index=layer.index_url or parsed.index,
        extra_indexes=(*extra, *parsed.extra_indexes),
        pre=bool(layer.pre or parsed.pre),
        constraints=tuple(dict.fromkeys(parsed.constraints)),
        wheels=wheels,
        hashes=tuple(sorted(parsed.hashes.items())),
        sources=tuple(dict.fromkeys(parsed.sources)),
        secrets=secrets_of(layer, at.owner),
    )


def _pip_packages(at: _Place, layer: Any) -> PipInstall | None:
    _known_fields(at, layer, {*_PIP_FIELDS, "packages"})
    where = f"{at.owner}: with_pip_packages"
    if not layer.packages:
        return None
    return _pip_step(at, layer, parse_requirements(layer.packages, where, at.root, at.relative))


def _requirements(at: _Place, layer: Any) -> PipInstall:
    _known_fields(at, layer, {*_PIP_FIELDS, "packages", "file"})
    return _pip_step(at, layer, parse_requirements_file(at.found(layer.file), at.relative))


def _uv_project(at: _Place, layer: Any) -> PipInstall:
    _known_fields(at, layer, {*_PIP_FIELDS, "pyproject", "uvlock", "project_install_mode"})
    where = f"{at.owner}: with_uv_project"
    return read_project(_pip_step(at, layer, ParsedRequirements()), layer, where, at.relative, at.found)


def _poetry_project(at: _Place, layer: Any) -> PipInstall:
    _known_fields(at, layer, {"pyproject", "poetry_lock", "extra_args", "project_install_mode", "secret_mounts"})
    found = read_poetry(layer, f"{at.owner}: with_poetry_project", at.relative, at.found)
    return dataclasses.replace(found, secrets=secrets_of(layer, at.owner))


def _uv_script(at: _Place, layer: Any) -> PipInstall:
    _known_fields(at, layer, {*_PIP_FIELDS, "script", "script_name"})
    return read_script(_pip_step(at, layer, ParsedRequirements()), layer, at.relative, at.found)


def _python_wheels(at: _Place, layer: Any) -> PipInstall:
    _known_fields(at, layer, {*_PIP_FIELDS, "wheel_dir", "wheel_dir_name", "package_name"})
    folder = at.found(layer.wheel_dir)
    files = wheels_of(folder, layer.package_name, at.owner)
    requirement = normalise(layer.package_name, f"{at.owner}: wheel folder {folder.name}")
    return _pip_step(at, layer, ParsedRequirements([requirement]), tuple(at.relative(f) for f in files))


def _apt_packages(at: _Place, layer: Any) -> AptInstall:
    _known_fields(at, layer, {"packages", "secret_mounts"})
    for name in layer.packages:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+(=[0-9][A-Za-z0-9.+~:-]*)?", name):
            raise LoadError(
                f"{at.owner}: with_apt_packages: `{name}` is not the name of a Debian package",
                hint="write `name`, or `name=version` for one version",
            )
    return AptInstall(tuple(layer.packages), secrets_of(layer, at.owner))


def _env(at: _Place, layer: Any) -> EnvVars:
    _known_fields(at, layer, {"env_vars"})
    return EnvVars(tuple((str(k), str(v)) for k, v in layer.env_vars))


def _workdir(at: _Place, layer: Any) -> WorkDir:
    _known_fields(at, layer, {"workdir"})
    return WorkDir(str(layer.workdir))


def _commands(at: _Place, layer: Any) -> RunCommands | None:
    _known_fields(at, layer, {"commands", "secret_mounts"})
    commands = (layer.commands,) if isinstance(layer.commands, str) else tuple(map(str, layer.commands))
    return RunCommands(commands, secrets_of(layer, at.owner)) if commands else None


def _copy(at: _Place, layer: Any) -> CopyFiles:
    _known_fields(at, layer, {"path_type", "src", "dst"})
    source = at.found(layer.src)
    folder = layer.path_type == 1
    if not (source.is_dir() if folder else source.is_file()):
        raise LoadError(f"{at.owner}: {source} is not a {'folder' if folder else 'file'} to copy into the image")
    return CopyFiles(at.relative(source), str(layer.dst), folder)


def _code_bundle(at: _Place, layer: Any) -> CopyFiles:
    _known_fields(at, layer, {"copy_style", "dst", "root_dir"})
    return code_step(layer, at.code, at.owner, _ignore_patterns(at, []), at.relative)


_READERS: Mapping[str, Callable[[_Place, Any], Step | None]] = {
    "PipPackages": _pip_packages,
    "Requirements": _requirements,
    "UVProject": _uv_project,
    "UVScript": _uv_script,
    "PoetryProject": _poetry_project,
    "PythonWheels": _python_wheels,
    "AptPackages": _apt_packages,
    "Env": _env,
    "WorkDir": _workdir,
    "Commands": _commands,
    "CopyConfig": _copy,
    "CodeBundleLayer": _code_bundle,
}
