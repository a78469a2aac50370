"""What pod templates take besides a task's own image, by digest: resolved when locking, put in its place in a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.errors import InputError, LockError, RefusedError, ResolutionError
from ..kernel.values import dataclass
from ..locks.sidecars import SIDECARS, read_sidecars, write_sidecars
from ..planning.workspace import Workspace
from ..project.nouns import Environment, Task
from ..project.sidecars import Taker, companions, own_images, sidecars, takers
from ..settings import read_settings

if TYPE_CHECKING:
    from ..registry import Reference
    from ..submit.pods.given import Shelf

__all__ = ["Resolved", "here", "pinned", "refuse_missing", "refuse_own_images", "resolved"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """``images`` are all that the lock is to have, ``new`` those of them that it had not, or otherwise."""

    images: Mapping[str, str]
    new: Mapping[str, str]

    def written(self, lockfiles: Path) -> list[str]:
        """Write the lock; a line for each image that is new."""
        write_sidecars(lockfiles, self.images)
        return [f"{image} of a pod template is {digest}" for image, digest in self.new.items()]


def resolved(workspace: Workspace, environments: Sequence[Environment], *, anew: bool) -> Resolved:
    """The digests of what tasks and apps of ``environments`` take besides; those that are locked stay, unless ``anew``.

    Raises :class:`RegistryError`, and :class:`ResolutionError` for an image that its registry has not.
    """
    wanted = _wanted(workspace, environments)
    others = _wanted(workspace, list(workspace.project.environments.values())).keys() - wanted.keys()
    have = read_sidecars(workspace.lockfiles)
    kept = {image: digest for image, digest in have.items() if image in others or (image in wanted and not anew)}
    ask = [image for image in wanted if image not in kept]
    if not ask:
        return Resolved(kept, {})
    from ..registry import Reference, Registry

    found = {}
    with Registry(insecure=read_settings(workspace.project.root).insecure_registries) as registry:
        for image in ask:
            told = registry.head(Reference.parse(image))
            if told is None:
                raise ResolutionError(f"{wanted[image]}: its registry has no image {image}")
            found[image] = told.digest
    return Resolved(kept | found, {i: d for i, d in found.items() if have.get(i) != d})


def pinned(workspace: Workspace, environments: Sequence[Environment]) -> dict[str, str]:
    """The variable by which a run's pods are told; empty where no template takes anything.

    Raises :class:`LockError` for what is not locked.
    """
    wanted, have = _wanted(workspace, environments), read_sidecars(workspace.lockfiles)
    missing = [f"{wanted[image]}: {image}" for image in wanted if image not in have]
    if missing:
        raise LockError(
            f"{SIDECARS} lacks images of pod templates:\n" + "\n".join(f"  {line}" for line in missing),
            hint="run `flyte-build lock` again",
        )
    if not wanted:
        return {}
    from ..registry import Reference
    from ..submit.kubernetes.pod import SIDECARS as VARIABLE

    by_digest = {image: str(Reference.parse(image).with_digest(have[image])) for image in wanted}
    return {VARIABLE: json.dumps(by_digest, sort_keys=True)}


def refuse_own_images(takers: Iterable[Taker]) -> None:
    """Raise :class:`RefusedError` for a template whose primary container has an image of its own, as `pinned` does."""
    for image, whose in own_images(takers).items():
        raise RefusedError(
            f"{whose}: its pod template runs `{image}` instead of the environment's image",
            hint="leave the image out of the template's primary container",
        )


def refuse_missing(tasks: Sequence[Task], root: Task, folder: Path | None) -> list[str]:
    """A line for each of ``tasks`` that names a pod template which is not in ``folder``, that of the settings: it may
    never be called. Raises :class:`InputError` where ``root`` does, and for a folder that cannot be read."""
    every = takers([root, *(task for task in tasks if task.full_name != root.full_name)])
    named = [taker for taker in every if taker.template_name]
    if not named:
        return []
    from ..submit.pods.given import read_shelf

    shelf, lines = read_shelf(folder), []
    for taker in named:
        name = taker.template_name or ""
        if name in shelf.templates:
            continue
        if taker.name == root.full_name:
            raise InputError(
                f"{taker.name} names the pod template {name}, which is not here",
                hint=shelf.where("PodTemplate", name),
            )
        lines.append(
            f"{taker.name}, if it is called, would never run: it names the pod template {name}, which is not here "
            f"({shelf.where('PodTemplate', name)})"
        )
    return lines


def here(workspace: Workspace, environments: Sequence[Environment], shelf: Shelf) -> dict[str, Reference]:
    """All that templates of tasks of ``environments`` take besides, those on ``shelf`` too, as written, by digest.

    Raises :class:`LockError` for what is not locked.
    """
    from ..registry import Reference

    tasks = _takers(workspace, environments, apps=False)
    locked, found = read_sidecars(workspace.lockfiles), {}
    for image, whose in {**companions(tasks), **_on(shelf, tasks)}.items():
        reference = Reference.parse(image)
        if reference.digest is None and image not in locked:
            raise LockError(
                f"{SIDECARS} lacks an image of a pod template:\n  {whose}: {image}", hint="run `flyte-build lock` again"
            )
        found[image] = reference if reference.digest is not None else reference.with_digest(locked[image])
    return found


def _wanted(workspace: Workspace, environments: Sequence[Environment]) -> dict[str, str]:
    found = _takers(workspace, environments)
    return sidecars(found) | _named(workspace, found)


def _takers(workspace: Workspace, environments: Sequence[Environment], *, apps: bool = True) -> list[Taker]:
    names = {environment.name for environment in environments}
    tasks = [task for task in workspace.project.tasks if task.environment in names]
    return takers(tasks, environments if apps else ())


def _named(workspace: Workspace, takers: Sequence[Taker]) -> dict[str, str]:
    """Images by no digest in the templates of the project's folder that ``takers`` name."""
    folder = read_settings(workspace.project.root).pod_templates
    if folder is None or not any(taker.template_name for taker in takers):
        return {}
    from ..submit.pods.given import read_shelf

    return {image: whose for image, whose in _on(read_shelf(folder), takers).items() if "@" not in image}


def _on(shelf: Shelf, takers: Sequence[Taker]) -> dict[str, str]:
    """Images of templates on ``shelf`` that ``takers`` name, and who takes them."""
    found: dict[str, str] = {}
    for taker in takers:
        spec = (shelf.templates.get(taker.template_name or "") or {}).get("spec") or {}
        for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
            image = container.get("image")
            # What these two say is for containers that a task has itself (Flyte's rule for named templates).
            if isinstance(image, str) and container.get("name") not in ("default", "primary"):
                found.setdefault(image, f"{taker.name}: container {container.get('name')}")
    return found
