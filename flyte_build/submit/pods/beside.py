"""The other containers of an attempt's pod: init containers one after the other, sidecars for the attempt's time.

Each is a sandbox of its own image; they share the pod's volumes. With a network apart from the host's each also has a
loopback of its own, so the ports that containers say they listen on lead from each to the others. What a container
writes is in a log beside the attempt's. Nothing of them is left when the block ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...kernel.cgroups import Group
from ...kernel.values import dataclass, replace
from ..action import ImageRoot, LaunchRequest, Outcome, Resources
from ..berth import Berth, launched
from ..fresh import HOME, folders_of, names
from ..kubernetes.errors import Unplaceable
from ..ports import listening, reach
from ..sandbox.engines import init_mount
from ..sandbox.process import Process
from ..sandbox.spec import Engine, Network, Sandbox, Tmpfs
from ..template import quantity
from .borrowed import with_python
from .facts import expand
from .places import with_places
from .podspec import Container, Pod
from .variables import variables
from .volumes import Volumes

__all__ = ["Ground", "berths", "beside", "command_of", "join"]


@dataclass(frozen=True, slots=True)
class Ground:
    """What containers stand on. ``image`` gives the root for an image as a template names it; ``group`` a group with
    the limits of a container, by its name."""

    engine: Engine
    network: Network
    nameserver: str | None
    filtered: bool
    image: Callable[[str], ImageRoot]
    group: Callable[[str, Resources], Group | None]
    say: Callable[[str], object]


def command_of(spec: Mapping[str, Any], image: ImageRoot, known: Mapping[str, str]) -> tuple[str, ...]:
    """What a container runs (Kubernetes' table of ``command``, ``args`` and the image's own). Raises Unplaceable."""
    command, args = (tuple(str(w) for w in spec.get(key) or ()) for key in ("command", "args"))
    if not command:
        command, args = image.entrypoint, args or image.command
    found = tuple(expand(word, known) for word in (*command, *args))
    if not found:
        raise Unplaceable(f"container {spec.get('name')} of a pod template: neither it nor its image names a command")
    return found


def _berth(
    container: Container, volumes: Volumes, ground: Ground, known: Mapping[str, str], scratch: Path, log: Path
) -> Berth:
    """A container besides the primary one, with its folders in ``scratch``, which is made. Blocks.

    ``known`` are its own variables. Raises :class:`Unplaceable`, and what the image's root raises.
    """
    told = container.spec
    image = ground.image(str(told.get("image") or ""))
    cwd = str(told.get("workingDir") or image.workdir or "/")
    image = replace(image, workdir=cwd)
    scratch.mkdir()
    seen = volumes.seen_by(told, known)
    mounts = (init_mount(), *folders_of(image, scratch), *names(scratch, ground.network, ground.nameserver))
    box = Sandbox(
        image.root, image.python, mounts, (Tmpfs("/run"), Tmpfs("/dev/shm")), ground.network, ground.filtered,
        late=tuple(seen.memory), uid=container.uid, gid=container.gid,
    )  # fmt: skip
    box = with_python(with_places(box, scratch, tuple(seen.mounts)))
    own = dict(item.partition("=")[::2] for item in image.env)
    env = {"HOME": HOME, "PATH": os.defpath, **own, **known}
    argv = command_of(told, image, known)
    return Berth(container.name, box, argv, env, cwd, log, seen.files, _asked(told), container.ports)


def _asked(spec: Mapping[str, Any]) -> Resources:
    told = spec.get("resources") or {}
    limits = told.get("limits") or {}
    try:
        found = {key: quantity(str(limits[key])) for key in ("cpu", "memory") if key in limits}
    except ValueError as e:
        raise Unplaceable(f"container {spec.get('name')} of a pod template: {e}") from None
    cpu, memory = found.get("cpu"), found.get("memory")
    return Resources(float(cpu) if cpu is not None else None, int(memory) if memory is not None else None)


def berths(
    pod: Pod, request: LaunchRequest, volumes: Volumes, ground: Ground, scratch: Path
) -> tuple[list[Berth], list[Berth]]:
    """Those that run before, in order, and those that run beside; each with its variables. Blocks."""
    found: list[list[Berth]] = [[], []]
    for number, container in enumerate((*pod.before, *pod.beside)):
        log = request.log.with_name(f"{request.log.stem}.{container.name}.log")
        known = variables(container.spec, pod.facts, volumes.given)
        berth = _berth(container, volumes, ground, known, scratch / f"container{number}", log)
        found[number >= len(pod.before)].append(berth)
    return found[0], found[1]


def join(all_of_them: Sequence[Berth], folder: Path) -> None:
    """Let each reach the ports that the others say they listen on, over sockets in ``folder``, which no sandbox sees.

    The sockets are closed with the berths that serve them. Raises :class:`Unplaceable` for a port that two have.
    """
    taken: set[int] = set()
    for berth in all_of_them:
        for port in berth.ports:
            if port in taken:
                raise Unplaceable(f"two containers of a pod template listen on port {port}")
            taken.add(port)
            path = folder / f"{port}.sock"
            berth.serves.append((listening(path), port))
            for other in all_of_them:
                if other is not berth:
                    reach(other, port, path)


@contextlib.asynccontextmanager
async def beside(
    before: Sequence[Berth],
    sidecars: Sequence[Berth],
    stays: Collection[str],
    ground: Ground,
    request: LaunchRequest,
) -> AsyncIterator[Outcome | None]:
    """Run the init containers but those that stay, start the rest, and end all with the block.

    Gives an outcome where that came to nothing.
    """
    stay: list[tuple[Berth, Process, Group | None]] = []
    try:
        for berth in before:
            running, group = await _start(berth, ground)
            if berth.name in stays:
                stay.append((berth, running, group))
                continue
            outcome = await _ended(berth, running, group, request)
            if outcome is not None:
                yield outcome
                return
        for berth in sidecars:
            stay.append((berth, *await _start(berth, ground)))
        yield None
    finally:
        for berth, running, _ in stay:
            if not running.alive and (code := await running.wait()):
                ground.say(f"container {berth.name} of {request.task} ended with exit code {code}: {berth.log}")
        await asyncio.shield(asyncio.gather(*(_stop(running, group) for _, running, group in stay)))


async def _start(berth: Berth, ground: Ground) -> tuple[Process, Group | None]:
    group = ground.group(berth.name, berth.asked)
    try:
        running = await launched(ground.engine, berth, group)
    except BaseException:
        if group is not None:
            group.remove()
        raise
    return running, group


async def _stop(running: Process, group: Group | None) -> None:
    await running.stop()
    if group is not None:
        await asyncio.to_thread(group.remove)


async def _ended(berth: Berth, running: Process, group: Group | None, request: LaunchRequest) -> Outcome | None:
    """Wait for an init container; what it came to unless that is well, which the attempt's log says, too."""
    name = berth.name
    try:
        async with asyncio.timeout(request.timeout):
            code = await running.wait()
    except TimeoutError:
        return Outcome(137, "timeout")
    finally:
        killed = group is not None and group.oom_kills() > 0
        await asyncio.shield(_stop(running, group))
    if code == 0:
        return None
    if killed:
        return Outcome(code, "oom", f"init container {name} was killed at its memory limit")
    with open(request.log, "a", encoding="utf-8") as f:
        f.write(f"init container {name} ended with exit code {code}; the end of its log:\n{_tail(berth.log)}\n")
    return Outcome(code)


def _tail(log: Path) -> str:
    with open(log, "rb") as f:
        f.seek(max(log.stat().st_size - 2000, 0))
        return f.read().decode(errors="replace").strip()
