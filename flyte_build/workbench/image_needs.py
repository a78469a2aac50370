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

__all__ = ["has_containers", "needs_of", "platforms_of", "refuse_lost_folders"]

_USUAL = {
    "input_data_dir": "/var/inputs", "output_data_dir": "/var/outputs", "metadata_format": "JSON",
    "file_input_layout": "DIRECT",
}  # fmt: skip


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


def refuse_lost_folders(tasks: Iterable[Task]) -> None:
    """Raises :class:`RunError` for a container task of which the SDK leaves out, as it does with a pod template of the
    task's own, that its files are elsewhere than by default."""
    for task in tasks:
        template = task.template
        if template.task_type != "raw-container" or isinstance(template.pod_template or "", str):
            continue
        told = {name: str(getattr(template, f"_{name}", usual)) for name, usual in _USUAL.items()}
        lost = [name for name, said in told.items() if said != _USUAL[name]]
        if lost:
            raise RunError(
                f"{task.location}: {task.full_name} has a pod template, with which the SDK tells nobody of its "
                f"{' and '.join(f'`{name}`' for name in lost)}",
                hint='leave that out, or name a PodTemplate of the cluster: `pod_template="NAME"`',
            )


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
