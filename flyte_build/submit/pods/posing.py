"""A task's pod on this machine: what the launcher does differently for it, and what runs beside it.

Between reading a pod (``podspec``) and running its containers (``beside``): the task's own sandbox, with what its
template says of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from ...kernel.errors import ArtifactError, StoreError
from ...kernel.values import dataclass, field, replace
from ..action import ImageRoot, LaunchRequest, Outcome
from ..berth import Berth
from ..storage import RunFolder
from ..usage import Place
from .beside import Ground, berths, beside, join
from .facts import expand
from .given import Given, Shelf
from .places import with_places
from .podspec import Pod, read_pod
from .raw import Raw, read_raw
from .variables import variables
from .volumes import Volumes

__all__ = ["Furnished", "Pods", "Posed", "pose"]


def _none(digest: str) -> ImageRoot:
    raise StoreError(f"image {digest} is not unpacked here")


@dataclass(frozen=True, slots=True)
class Pods:
    """What a run has for pods: what stands for a namespace, and ``images``: as templates name them → manifest digest.

    ``roots`` gives an image's root by digest, with or without a Python in it.
    """

    shelf: Shelf = field(default_factory=Shelf)
    images: Mapping[str, str] = field(default_factory=dict)
    roots: Callable[[str], ImageRoot] = _none

    def image(self, name: str) -> ImageRoot:
        """The root of an image as a template names it."""
        digest = self.images.get(name)
        if digest is None:
            raise StoreError(
                f"the image {name or '(none)'} of a pod template is not here",
                hint="`flyte-build lock` pins those of templates in the code; elsewhere write NAME@sha256:…",
            )
        return self.roots(digest)


@dataclass(frozen=True, slots=True)
class Furnished:
    """What an attempt is started from, with what runs ``before`` it and ``sidecars`` beside it."""

    task: Berth
    before: Sequence[Berth] = ()
    sidecars: Sequence[Berth] = ()

    stays: Sequence[str] = ()
    raw: Raw | None = None

    @asynccontextmanager
    async def up(self, ground: Ground, request: LaunchRequest) -> AsyncIterator[Outcome | None]:
        """What is beside the task runs inside of the block, unless an init container ended it: then how."""
        try:
            if not (self.before or self.sidecars):
                yield None
                return
            async with beside(self.before, self.sidecars, self.stays, ground, request) as outcome:
                yield outcome
        finally:
            for berth in (self.task, *self.before, *self.sidecars):
                berth.close()

    async def end(self, outcome: Outcome, scratch: Path) -> Outcome:
        """What the attempt came to, once its container's outputs were read, where it is a container task's."""
        return outcome if self.raw is None else await asyncio.to_thread(self.raw.end, outcome, scratch)

    def places(self, scratch: Path) -> list[Place]:
        """The folders that end with the attempt."""
        boxes = [b.box for b in (self.task, *self.before, *self.sidecars)]
        found = {m.source: m for box in boxes for m in box.mounts if m.writable and m.source.is_relative_to(scratch)}
        return [Place(m.source, "", m.target) for m in found.values() if m.source.is_dir()]


@dataclass(frozen=True, slots=True)
class Posed:
    """``request`` and ``image`` with what the primary container says of its command, variables and working folder."""

    pod: Pod | Raw
    request: LaunchRequest
    image: ImageRoot
    given: Given
    known: Mapping[str, str]

    def furnished(self, task: Berth, ground: Ground, scratch: Path) -> Furnished:
        """``task`` with its volumes and its user, and the other containers. Blocks.

        Raises :class:`MissingSecret`, :class:`Unplaceable` and what the images' roots raise.
        """
        if isinstance(self.pod, Raw):
            return Furnished(self.pod.placed(task, ground, scratch), raw=self.pod)
        volumes = Volumes(self.pod.spec, scratch, self.pod.facts, self.given, ground.say)
        own = self.pod.primary
        seen = volumes.seen_by(own.spec, self.known)
        box = replace(task.box, late=tuple(seen.memory), uid=own.uid, gid=own.gid)
        task.box = with_places(box, scratch, tuple(seen.mounts))
        task.files = {**task.files, **seen.files}
        task.ports = own.ports
        before, sidecars = berths(self.pod, self.request, volumes, ground, scratch)
        stays = [c.name for c in self.pod.before if c.stays]
        if ground.network != "host":
            ports = scratch / "ports"
            ports.mkdir()
            join([task, *before, *sidecars], ports)
        return Furnished(task, before, sidecars, stays)


def pose(
    pods: Pods,
    request: LaunchRequest,
    image: ImageRoot,
    environment: Mapping[str, str],
    folder: RunFolder,
    say: Callable[[str], object],
) -> Posed | None:
    """The pod of ``request``, or its container; ``None`` where its task has no template and is none of these.

    Raises :class:`MissingSecret`, :class:`Unplaceable` for what no pod has, and :class:`ArtifactError` for an image
    without a Python, of a task that needs one.
    """
    given = Given(pods.shelf, environment)
    raw = read_raw(request, image, folder)
    if raw is not None:
        return Posed(raw, request, image, given, {})
    if not image.python:
        raise ArtifactError(
            f"image {request.image} has no Python in its PATH, so it cannot run a task",
            hint="use a base image with Python, or flyte.Image.from_debian_base()",
        )
    pod = read_pod(request, given, say)
    if pod is None:
        return None
    told = pod.primary.spec
    known = variables(told, pod.facts, given)
    stated = {str(row["name"]): str(row.get("value") or "") for row in told.get("env") or () if "valueFrom" not in row}
    # A run's own variables win: a runtime that is told of another run reports to it.
    own = {k: v for k, v in known.items() if k not in request.env or request.env[k] == stated.get(k)}
    env = {**request.env, **own}
    command = tuple(expand(str(word), env) for word in told.get("command") or ())
    request = replace(request, env=env, args=(*command, *request.args))
    return Posed(pod, request, replace(image, workdir=str(told.get("workingDir") or image.workdir)), given, env)
