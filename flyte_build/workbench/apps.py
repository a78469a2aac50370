"""App environments of a project as what a sandbox serves: read off the SDK, with the images that were made ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..kernel.errors import LoadError
from ..project.apps import App, read_app
from ..project.nouns import Environment
from ..submit.action import Resources, SecretRef
from ..submit.served import ServedApp
from ..submit.template import quantity
from .opened import OpenProject

if TYPE_CHECKING:
    from ..submit.kubernetes.cluster_apps import ClusterApp

__all__ = ["apps_by", "apps_of", "on_cluster", "served"]


def apps_of(
    bench: OpenProject, environments: Sequence[Environment], images: Mapping[str, str]
) -> tuple[ServedApp, ...]:
    """The apps among ``environments``, in the images of a run. Raises :class:`LoadError`."""
    project = bench.workspace.project
    found = []
    for environment in environments:
        if environment.app is not None and environment.name in images:
            with bench.modules.entered():
                app = read_app(project, environment, "local")
            found.append(served(app, images[environment.name], bench.reporter.warn))
    return tuple(found)


def on_cluster(
    bench: OpenProject, environments: Sequence[Environment], references: Mapping[str, str]
) -> tuple[ClusterApp, ...]:
    """The apps among ``environments`` as a cluster serves them. Raises :class:`LoadError`."""
    from ..submit.kubernetes.cluster_apps import ClusterApp

    found = []
    for environment in environments:
        if environment.app is not None and environment.name in references:
            with bench.modules.entered():
                app = read_app(bench.workspace.project, environment, "cluster")
            secrets = tuple(SecretRef(s.key, s.group, s.env) for s in app.secrets)
            digest = references[environment.name].rpartition("@")[2]
            found.append(ClusterApp(app.name, digest, app.spec, app.argv, app.port, secrets, app.replicas))
    return tuple(found)


def apps_by(
    bench: OpenProject, environments: Sequence[Environment], apps: Sequence[ServedApp | ClusterApp]
) -> dict[str, list[Mapping[str, Any]]]:
    """Of ``apps``, those that each environment of tasks reaches, as a deployed task keeps them, by its name."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for environment in environments:
        if environment.app is None:
            reached = {e.name for e in bench.workspace.environments([environment.name])}
            found[environment.name] = [app.to_json() for app in apps if app.name in reached]
    return found


def served(app: App, image: str, say: Callable[[str], object]) -> ServedApp:
    """``app`` in ``image``, a manifest's digest; ``say`` hears what it asks for that is not here."""
    for thing in app.without:
        say(f"app {app.name} asks for {thing}, which has no meaning here")
    try:
        asked = {key: quantity(text) for key, text in app.resources.items()}
    except ValueError as e:
        raise LoadError(f"app {app.name}: {e}") from None
    whole = {key: int(value) for key, value in asked.items()}
    cpu = float(asked["cpu"]) if "cpu" in asked else None
    resources = Resources(cpu, whole.get("memory"), whole.get("shm"))
    secrets = tuple(SecretRef(s.key, s.group, s.env) for s in app.secrets)
    return ServedApp(app.name, image, app.argv, app.port, app.env, secrets, resources)
