"""A visit, from furnishing a sandbox to its end: an image's tree, fresh folders, the project's code, one command.

It is a task's sandbox (see ``local``): the same engine, owner, filter of system calls, networks, process and disk
limits, and nothing of the host's environment. What it changes goes with it. Visits of killed processes are removed by
the next one.
"""

from __future__ import annotations

import json
import os
import posixpath
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ...kernel.cgroups import Cgroups
from ...kernel.errors import InputError, RunError, StoreError
from ...store.locks import try_acquire
from .. import door
from ..action import ImageRoot, LaunchRequest, Resources
from ..fresh import HOME, memory_backed, names, seed, workdir, writable
from ..gpus.grant import granted
from ..gpus.nouns import Gpus
from ..groups import MOST_PIDS
from ..limits import TaskLimits
from ..local import MEMORY_BACKED
from ..loop import run_apart
from ..removal import remove_left
from ..sandbox import process
from ..sandbox.engines import init_mount
from ..sandbox.entrance import Entrance
from ..sandbox.spec import Mount, Sandbox
from ..secrets import MOUNT, Secrets
from ..storage import RunFolder, Storage
from ..unpack import scoped
from ..usage import Place
from ..watch import Watch
from .streams import Streams

__all__ = ["Visit", "shell_of", "visit"]

INSIDE = "/run/flyte-build/inside.py"
GRACE_SECONDS = 0.4
_SHELLS = ("bin/bash", "usr/bin/bash", "bin/sh", "usr/bin/sh")


@dataclass(frozen=True, slots=True)
class Visit:
    """``argv`` in ``image``, with ``variables`` over the image's own, and ``code``: path below the working directory →
    file of the project's. ``paths`` are the folders of these that imports start from. ``filtered``: no system calls
    but a task's; ``limits`` is what the project says of its tasks. ``held`` are secrets, of which nothing is written
    to a disk, a command line or a log. ``gpus``: the devices that it has are there."""

    image: ImageRoot
    argv: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, Path] = field(default_factory=dict)
    paths: Sequence[str] = ()
    filtered: bool = True
    limits: TaskLimits = field(default_factory=TaskLimits)
    held: Secrets = field(default_factory=Secrets)
    gpus: Gpus = field(default_factory=Gpus)


def shell_of(image: ImageRoot) -> str:
    """The shell that the image has; where it has none, its Python."""
    found = next((s for s in _SHELLS if os.access(scoped(image.root, s, follow=True), os.X_OK)), None)
    bound = next((s for s in _SHELLS if any(s.startswith(t.lstrip("/") + "/") for _, t in image.binds)), None)
    return f"/{found or bound}" if found or bound else image.python


def visit(entrance: Entrance, asked: Visit, streams: Streams, folder: Path, warn: Callable[[str], None]) -> int:
    """Run ``asked`` to its end, below ``folder``; its exit code, or 128 + N when signal N ended it.

    Raises :class:`RunError` where it wrote more than it may, :class:`StoreError` for a folder that cannot be written.
    An interrupt ends it, and goes on as ``KeyboardInterrupt``.
    """
    if not asked.argv:
        raise InputError("expected a command to run, found none")
    try:
        _sweep(folder)
        place, held = _claimed(Storage(folder))
    except OSError as e:
        hint = "make room there and check its owner, or set FLYTE_BUILD_STATE to a folder that you may write to"
        raise StoreError(f"{folder}: {e.strerror or e}", hint=hint) from e
    try:
        return run_apart(_visited(entrance, asked, streams, place, warn))
    finally:
        streams.close()
        remove_left(place.path)
        os.close(held)


async def _visited(
    entrance: Entrance, asked: Visit, streams: Streams, place: RunFolder, warn: Callable[[str], None]
) -> int:
    image = asked.image
    mounts, env = _furnished(entrance, asked, place), _environment(asked)
    if devices := asked.gpus.devices:
        more, env = granted(asked.gpus, devices, image.root, env, asked.variables, place.scratch)
        mounts = (*mounts, *more)
    log = place.path / "sandbox.log"
    request = LaunchRequest(
        place.name, "visit", 1, "visit", image.digest, tuple(asked.argv), {}, log, Resources(), environment=""
    )
    own = [Place(m.source, "", m.target) for m in mounts if m.writable]
    cgroups = Cgroups.detect()
    group = cgroups.create(place.name, memory=None, cpu=None, pids=MOST_PIDS)
    box = Sandbox(
        image.root, image.python, mounts, memory_backed(request, asked.held), entrance.network, asked.filtered
    )
    if entrance.owner is not None:
        streams.own(entrance.owner)
    spec = {"streams": streams.theirs, "terminal": streams.terminal, "argv": list(asked.argv)}
    argv = [image.python, "-I", "-S", INSIDE, json.dumps(spec)]
    try:
        async with Watch(place, asked.limits, warn).over(request, own, MEMORY_BACKED) as watched:
            running = await process.start(
                entrance, box, argv, env, workdir(image),
                output=log, join=group.join, inherit=sorted(set(streams.theirs)),
                files={f"{MOUNT}/{name}": value for name, value in asked.held.files.items()},
            )  # fmt: skip
            watched.runs(running)
            streams.carry()
            try:
                code = await running.wait()
            except BaseException:
                await running.stop(GRACE_SECONDS)
                raise
        if watched.outcome is not None:
            raise RunError(
                f"`{asked.argv[0]}` was ended: {watched.outcome.message}",
                hint="`task-disk` in [tool.flyte-build] says how much it may write (docs/settings.md)",
            )
    finally:
        group.remove()
        cgroups.sweep()
    if said := log.read_bytes():
        streams.tell(said)
    return code


def _furnished(entrance: Entrance, asked: Visit, place: RunFolder) -> tuple[Mount, ...]:
    """The mounts, each of our own making; nothing of the sandbox's runs yet."""
    image, here = asked.image, workdir(asked.image)
    found = [init_mount(), Mount(Path(__file__).with_name("inside.py"), INSIDE)]
    for number, target in enumerate(writable(image)):
        own = place.scratch / str(number)
        seed(image.root, target, own)
        found.append(Mount(own, target, writable=True))
        if here == target or here.startswith(f"{target}/"):
            _copy_code(asked.code, own, posixpath.relpath(here, target))
    found += [Mount(source, target) for source, target in image.binds]
    return (*found, *names(place.scratch, entrance.network, entrance.nameserver))


def _copy_code(code: Mapping[str, Path], folder: Path, below: str) -> None:
    """Into ``below`` of ``folder``, which has what the image has there: its links lead nowhere."""
    with door.folder(folder) as top:
        for path, source in code.items():
            parent, name = posixpath.split(posixpath.normpath(posixpath.join(below, path)))
            try:
                door.make_folders(top, parent)
                with door.folder_at(top, parent) as into, open(source, "rb") as file:
                    door.copy_to(file.fileno(), into, name)
            except door.Refused as e:
                raise RunError(
                    f"the project's code has no place in this image: at {parent} of its working directory {e.strerror}",
                    hint="what the image has there is no folder; copy nothing to where the project's modules lie",
                ) from e


def _environment(asked: Visit) -> dict[str, str]:
    image = asked.image
    env = {
        "HOME": HOME,
        "USER": "flyte",
        "LOGNAME": "flyte",
        **dict(item.partition("=")[::2] for item in image.env),
        **asked.held.env,
        **asked.variables,
    }
    places = [posixpath.normpath(posixpath.join(workdir(image), path)) for path in ("", *asked.paths)]
    env["PYTHONPATH"] = ":".join(filter(None, [*places, env.get("PYTHONPATH")]))
    return env


def _claimed(storage: Storage) -> tuple[RunFolder, int]:
    """A new folder, and the lock that says that it is somebody's: of one that was not swept before it was held."""
    while True:
        place = storage.run(f"visit-{secrets.token_hex(6)}")
        for path in (place.meta, place.raw, place.scratch):
            path.mkdir(parents=True)
        place.path.chmod(0o700)
        held = try_acquire(place.lock)
        if held is not None and place.lock.exists():
            return place, held
        if held is not None:
            os.close(held)


def _sweep(folder: Path) -> None:
    """Remove what killed visits left: those whose lock nobody holds."""
    for lock in folder.glob("visit-*/lock"):
        with suppress(OSError):
            held = try_acquire(lock)
            if held is not None:
                remove_left(lock.parent)
                os.close(held)
