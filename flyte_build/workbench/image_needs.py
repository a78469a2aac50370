"""What the images of a run need of nodes, by digest: the platforms that they are for, and their wheels' CUDA.

Of an image of ours the lock says it. One that is used as it is has its platforms in its registry, which is asked; a
registry that this machine may not ask leaves them unknown. Nothing is built or pushed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from ..kernel.errors import RegistryError, RunError
from ..locks.cuda import cuda_of
from ..planning.images import pushed_platforms
from ..planning.workspace import Workspace
from ..project.nouns import Environment, Task
from ..registry import Reference, Registry
from ..settings import Settings
from ..sources.registry_mirrors import located
from ..submit.kubernetes.needs import Needs

__all__ = ["has_containers", "needs_of", "platforms_of"]


def needs_of(
    workspace: Workspace, environments: Sequence[Environment], references: Mapping[str, str], settings: Settings
) -> dict[str, Needs]:
    """``references`` are those of ``environments``, by digest. Raises :class:`RunError` for an image that its registry
    has not."""
    environments = [e for e in environments if e.name in references]
    locks = workspace.locks(environments)
    found: dict[str, Needs] = {}
    for environment in environments:
        name = environment.name
        lock = locks[name]
        if environment.recipe.as_is:
            platforms = platforms_of(name, references[name], settings)
        else:
            pushed = pushed_platforms([environment], None, settings.platforms)
            platforms = tuple(p for p in pushed if p in lock.platforms)
        cudas = {cuda_of(lock.platforms[p]) for p in platforms if p in lock.platforms}
        # Of platforms that differ the one that asks least.
        cuda = min(cudas, key=_version) if cudas and "" not in cudas else ""
        found[references[name].rpartition("@")[2]] = Needs(platforms, cuda)
    return found


def has_containers(tasks: Iterable[Task], environment: str) -> bool:
    """Whether ``environment`` has container tasks, whose inputs another image brings."""
    return any(task.environment == environment and task.template.task_type == "raw-container" for task in tasks)


def _version(cuda: str) -> tuple[int, ...]:
    return tuple(map(int, cuda.split(".")))


def platforms_of(environment: str, reference: str, settings: Settings) -> tuple[str, ...]:
    """For which platforms an image is by its registry; none where that cannot be asked. Raises :class:`RunError`."""
    meant = Reference.parse(reference)
    try:
        with Registry(insecure=settings.insecure_registries) as registry:
            manifest = registry.manifest(located(meant))
            if manifest is None:
                raise RunError(
                    f"the image of {environment} is not there: its registry has no {reference}",
                    hint="`flyte-build lock` locks what the name leads to now",
                )
            if "manifests" in manifest.json:
                rows = [row.get("platform") or {} for row in manifest.json["manifests"]]
            else:
                rows = [json.loads(registry.read_blob(located(meant), manifest.json["config"]["digest"]))]
    except (RegistryError, ValueError, KeyError, TypeError):
        return ()
    words = [f"{row.get('os')}/{row.get('architecture')}" for row in rows]
    return tuple(dict.fromkeys(word for word in words if "unknown" not in word and "None" not in word))
