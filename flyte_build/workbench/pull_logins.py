"""Whether a registry takes the logins that nodes pull with: those of a target's pull secrets, tried from here.

A Secret that this account may not read is left to the nodes. Nothing is pushed or pulled.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..kernel.errors import FlyteBuildError, RegistryError, RunError
from ..registry import Reference
from ..settings import Settings
from ..submit.kubernetes.api import ApiError, Cluster
from ..submit.kubernetes.checking import Check, failed, pull_logins
from ..submit.kubernetes.preflight import SECRETS
from ..submit.kubernetes.target import Target

if TYPE_CHECKING:
    from ..registry.client import Registry

__all__ = ["refuse_pull_logins", "tried_logins"]

_REFUSED = (401, 403)


def tried_logins(
    cluster: Cluster, target: Target, settings: Settings, image: Reference
) -> Iterator[tuple[Check, FlyteBuildError | None]]:
    """A line for each pull secret that holds logins, of what the registry of ``image`` says to its own, and the error
    where that was one."""
    for name in target.place.pull_secrets:
        what = f"login of {name}"
        try:
            secret = cluster.get(SECRETS, name)
        except ApiError:
            continue
        logins = pull_logins(secret or {})
        if not logins:
            continue
        if not any(key.partition("/")[0] == image.host for key in logins):
            yield Check(what, "warning", f"it has no login for {image.host}"), None
            continue
        with tempfile.TemporaryDirectory() as folder, _as(logins, Path(folder), settings) as registry:
            try:
                there = registry.head(image)
            except FlyteBuildError as e:
                yield failed(what, e), e
                continue
        good = Check(what, "ok", f"accepted by {image.host}")
        yield good if there else Check(what, "failed", f"{image.host} does not show it {image}"), None


def refuse_pull_logins(cluster: Cluster, target: Target, settings: Settings, images: Iterable[str]) -> None:
    """Raises :class:`RunError` where a registry of ``images`` (references by digest) refuses all logins that pull
    secrets have for it: no node would ever get its images. Where none has one, nodes may have their own."""
    if not target.place.pull_secrets:
        return
    hosts: dict[str, Reference] = {}
    for image in images:
        reference = Reference.parse(image)
        hosts.setdefault(reference.host, reference)
    for host, reference in hosts.items():
        tried = [(c, e) for c, e in tried_logins(cluster, target, settings, reference) if c.state != "warning"]
        if tried and all(check.state == "failed" and _final(error) for check, error in tried):
            check, _ = tried[0]
            secret = check.what.removeprefix("login of ")
            raise RunError(
                f"no node would ever pull {reference}: {host} does not accept the login of the pull secret {secret}: "
                f"{check.said}",
                hint=f"renew it (`kubectl -n {target.place.namespace} create secret docker-registry {secret} …`); "
                f"`flyte-build target check {target.name}` tries it again",
            )


def _final(error: FlyteBuildError | None) -> bool:
    """Whether trying again would be told the same."""
    return error is None or (isinstance(error, RegistryError) and getattr(error, "status", 0) in _REFUSED)


def _as(logins: Mapping[str, Mapping[str, Any]], folder: Path, settings: Settings) -> Registry:
    """A client with these logins and no others."""
    from ..registry.client import Registry

    file = folder / "auth.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"auths": logins}), encoding="utf-8")
    return Registry(insecure=settings.insecure_registries, environ={"REGISTRY_AUTH_FILE": str(file)}, attempts=3)
