"""An application environment as what serves it: its command, port, variables and secrets. Part of the SDK's edge.

The command is the SDK's own: ``fserve`` with the code bundle and the app's arguments, or what the app says instead. The
bundle's place is filled in by who serves it. Nothing is deployed, and no image is looked at.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flyte

from ..kernel.errors import LoadError
from ..kernel.values import dataclass, field
from . import session
from .bundling import each_path_once
from .nouns import Environment, Project
from .serializing import quiet_sdk

__all__ = ["App", "AppSecret", "bundle_of", "read_app"]

BUNDLE = "{{.codeBundle}}"


@dataclass(frozen=True, slots=True)
class AppSecret:
    """``env`` is the variable that it becomes; ``None``: a file."""

    key: str
    group: str
    env: str | None


@dataclass(frozen=True, slots=True)
class App:
    """``argv`` names the code bundle as ``{{.codeBundle}}``; ``resources`` are quantities by name (cpu, memory, shm).

    ``without`` are the things it asks for that only a cluster has. ``spec`` is its container as the SDK describes one
    of a task, serialized, without image and command; ``replicas`` is how many there are at least, one or more.
    """

    name: str
    port: int
    argv: tuple[str, ...]
    env: Mapping[str, str]
    secrets: tuple[AppSecret, ...] = ()
    resources: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    spec: bytes = b""
    replicas: int = 1


def read_app(project: Project, environment: Environment, version: str) -> App:
    """``environment``, which is an app's. Raises :class:`LoadError` for one that the SDK cannot make a command of."""
    from flyte.models import CodeBundle, SerializationContext

    app: Any = environment.app
    context = SerializationContext(
        version=version,
        org="local",
        project="flyte-build",
        domain="local",
        code_bundle=CodeBundle(tgz=BUNDLE, destination=".", computed_version=version),
        root_dir=project.root,
    )
    try:
        with session.kept(), quiet_sdk(), each_path_once():
            flyte.init(root_dir=project.root, org="local", project="flyte-build", domain="local")
            argv = (*app.container_cmd(context), *app.container_args(context))
            port = int(app.get_port().port)
            spec = _described(app)
    except Exception as e:
        raise LoadError(
            f"{environment.location}: app {environment.name} cannot be served: {type(e).__name__}: {e}"
        ) from e
    without = ["a pod template"] if getattr(app, "pod_template", None) is not None else []
    without += [f"{key} in its resources" for key in ("gpu",) if getattr(app.resources, key, None)]
    return App(
        name=environment.name,
        port=port,
        argv=tuple(str(word) for word in argv),
        env={str(k): str(v) for k, v in (app.env_vars or {}).items()},
        secrets=tuple(_secret(s) for s in _listed(app.secrets)),
        resources=_resources(app.resources),
        without=tuple(without),
        spec=spec,
        replicas=_replicas(app.scaling),
    )


def _described(app: Any) -> bytes:
    """The SDK's own words for resources, accelerators, accounts and pod templates, as a task's description has them."""
    from flyte._internal.runtime import resources_serde, task_serde
    from flyteidl2.core import literals_pb2, tasks_pb2
    from flyteidl2.task import task_definition_pb2

    variables = [literals_pb2.KeyValuePair(key=str(k), value=str(v)) for k, v in (app.env_vars or {}).items()]
    container = tasks_pb2.Container(resources=resources_serde.get_proto_resources(app.resources), env=variables)
    account = getattr(app, "service_account", None)  # older SDKs have none, and take none
    template = tasks_pb2.TaskTemplate(
        type="app",
        security_context=task_serde.get_security_context(app.secrets, *([account] if account else [])),
        extended_resources=resources_serde.get_proto_extended_resources(app.resources),
    )
    template.id.name = app.name
    template.metadata.interruptible = bool(getattr(app, "interruptible", False))
    given = getattr(app, "pod_template", None)
    if given is None or isinstance(given, str):
        template.container.CopyFrom(container)
        template.metadata.pod_template_name = given or ""
    else:
        template.k8s_pod.CopyFrom(task_serde._get_k8s_pod(container, given))
        template.k8s_pod.primary_container_name = given.primary_container_name
    serialized: bytes = task_definition_pb2.TaskSpec(task_template=template).SerializeToString(deterministic=True)
    return serialized


def _replicas(scaling: Any) -> int:
    wanted = getattr(scaling, "replicas", 1)
    return max(int(wanted[0] if isinstance(wanted, tuple) else wanted), 1)


def bundle_of(project: Project, environment: Environment, folder: Path) -> Path:
    """The code that the app's module and the modules it imports are, as the SDK bundles it, in ``folder``.

    The module has to be loaded. Raises :class:`LoadError`.
    """
    found: list[Any] = []

    def make() -> None:
        try:
            from flyte._code_bundle import build_code_bundle

            more: dict[str, Any] = (
                {"additional_files": _included(project, environment)} if environment.app.include else {}
            )
            coroutine = build_code_bundle(
                from_dir=project.root, dryrun=True, copy_bundle_to=folder, copy_style="loaded_modules", **more
            )
            found.append(asyncio.run(coroutine))
        except Exception as e:  # told below
            found.append(e)

    folder.mkdir(parents=True, exist_ok=True)
    with session.kept(), quiet_sdk(), each_path_once():
        flyte.init(root_dir=project.root, org="local", project="flyte-build", domain="local")
        # In a thread, for whoever calls may have a running loop.
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
    if isinstance(found[0], Exception):
        raise LoadError(f"{environment.location}: the code of app {environment.name} cannot be bundled: {found[0]}")
    return Path(str(found[0].tgz).removeprefix("file://"))


def _included(project: Project, environment: Environment) -> tuple[str, ...]:
    """The files of ``include``, which start from the file that declares the app."""
    above = (project.root / environment.location).parent
    return tuple(str(path) for pattern in environment.app.include for path in sorted(above.glob(pattern)))


def _listed(secrets: Any) -> list[Any]:
    return [] if not secrets else list(secrets) if isinstance(secrets, (list, tuple)) else [secrets]


def _secret(secret: Any) -> AppSecret:
    if isinstance(secret, str):
        return AppSecret(secret, "", secret.replace("-", "_").upper())
    mounted = getattr(secret, "mount", None) is not None
    return AppSecret(secret.key, secret.group or "", None if mounted else secret.as_env_var)


def _resources(resources: Any) -> dict[str, str]:
    found = {}
    for key in ("cpu", "memory", "shm"):
        value = getattr(resources, key, None)
        value = value[-1] if isinstance(value, (tuple, list)) else value
        if value is not None and value != "auto":
            found[key] = str(value)
    return found
