"""A command in a sandbox of an environment's image: the image made ready and unpacked, and the project's code in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.errors import InputError, LoadError, SandboxError
from ..kernel.paths import shown, state_dir
from ..kernel.quantities import counted
from ..project.layout import imported_files
from ..project.nouns import Environment
from ..project.serializing import search_path
from ..submit.action import SecretRef
from ..submit.gpus.here import gpus_here
from ..submit.gpus.nouns import Gpus
from ..submit.limits import TaskLimits
from ..submit.roots import Roots
from ..submit.sandbox.entrance import entrance
from ..submit.secrets import MissingSecret, Secrets, resolve
from ..submit.shell.streams import Streams
from ..submit.shell.visit import Visit, shell_of, visit
from .called import Called
from .following import Follower, Nobody
from .opened import OpenProject
from .readiness import make_ready
from .running import strange_names
from .signatures import require_signed

if TYPE_CHECKING:
    from ..submit.sandbox.spec import Network

__all__ = ["Asked", "Ended", "Streams", "enter", "environment_of"]


@dataclass(frozen=True, slots=True)
class Asked:
    """``command``, by default the image's shell. ``variables`` win over the environment's own. ``locked``: no lock is
    written. ``caches`` and ``network`` as a run has them. ``verify_images``: every file is hashed first. ``secrets``:
    those of the environment are there, as its tasks have them. ``gpus``: as many of this machine's devices are."""

    command: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    network: Network | None = None
    caches: Sequence[str] = ()
    locked: bool = False
    verify_images: bool = False
    secrets: bool = False
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: ``code`` is the command's own, or 128 + N when signal N ended it."""

    environment: str
    image: str
    command: tuple[str, ...]
    code: int


def environment_of(bench: OpenProject, name: str | None) -> Environment:
    """The environment ``name``, by default the only one. Raises :class:`InputError`, :class:`LoadError`."""
    file, have = shown(bench.file), bench.environments
    if name is None and len(have) != 1:
        raise InputError(f"{file}: expected the name of an environment; there are: {', '.join(have) or 'none'}")
    found = have.get(name) if name is not None else next(iter(have.values()))
    if found is None:
        import difflib

        close = difflib.get_close_matches(name or "", have, 1)
        raise LoadError(
            f"{file}: no environment `{name}`; there are: {', '.join(have) or 'none'}",
            hint=f"did you mean `{close[0]}`?" if close else None,
        )
    return found


def enter(
    bench: OpenProject,
    environment: Environment,
    asked: Asked,
    streams: Callable[[], Streams],
    follower: Follower | None = None,
) -> Ended:
    """Run a command in the image of ``environment``; ``streams`` are made once everything is there.

    Raises :class:`SandboxError` where this machine cannot isolate, what building raises, and what
    :func:`flyte_build.submit.shell.visit.visit` does.
    """
    reporter, store = bench.reporter, bench.store
    settings = bench.settings(network=asked.network)
    held = _held(environment) if asked.secrets else Secrets()
    gpus = _gpus(asked.gpus)
    ready = make_ready(
        bench, [environment], asked.caches, check=False, locked=asked.locked, network=asked.network,
        follower=follower or Nobody(),
    )  # fmt: skip
    require_signed(settings, ready.images, reporter)
    places = state_dir() / "visits"
    found = entrance(None, settings.network, [places, store.root])
    for line in (*found.said, *strange_names("unfiltered", settings.unfiltered, bench)):
        reporter.warn(line)
    digest = ready.images[environment.name]
    with store.reading():
        roots = Roots(
            store.root, store.blobs, found, Called(reporter, ready.images), full=asked.verify_images, imports=()
        )
        with reporter.work("unpack and check images", 1):
            image = roots.get(digest)
        command = tuple(asked.command) or (shell_of(image),)
        visiting = Visit(
            image,
            command,
            {**environment.variables, **asked.variables},
            *_code(bench),
            filtered=environment.name not in settings.unfiltered,
            limits=TaskLimits(settings.task_disk, settings.task_files),
            held=held,
            gpus=gpus,
        )
        code = visit(found, visiting, streams(), places, reporter.warn)
    return Ended(environment.name, digest, command, code)


def _gpus(count: int) -> Gpus:
    """So many of this machine's devices; others may use the same. Raises :class:`SandboxError` where it has fewer."""
    if not count:
        return Gpus()
    there = gpus_here()
    if len(there.devices) < count:
        raise SandboxError(
            f"--gpus: expected {counted(count, 'NVIDIA GPU')} on this machine, found {len(there.devices) or 'none'}",
            hint="docs/gpus-here.md says how they are found; the image itself needs none: leave `--gpus` out",
        )
    return replace(there, devices=there.devices[:count])


def _held(environment: Environment) -> Secrets:
    """The values of the environment's secrets, from where a run here has them: this process's variables."""
    try:
        return resolve((SecretRef(s.key, s.group, s.env) for s in environment.secrets), os.environ)
    except MissingSecret as e:
        raise InputError(f"{environment.name}: {e.args[0]}", hint="set it, or leave out `--secrets`") from None


def _code(bench: OpenProject) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The project's modules, as a run ships them, and the folders of these that imports start from."""
    with bench.modules.entered():
        files = imported_files([bench.file], bench.root)
        below = {f.relative_to(bench.root).as_posix(): f for f in files if f.is_relative_to(bench.root)}
        return below, search_path(bench.root)
