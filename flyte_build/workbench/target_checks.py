"""Whether runs can be on a target: cluster, storage and registry are asked, and pods try for themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..kernel.errors import FlyteBuildError, InputError, RunError
from ..kernel.reporting import Logged, Reporter
from ..registry import Reference
from ..settings import Settings
from ..submit.kubernetes.api import Cluster, connect
from ..submit.kubernetes.checking import Check, check_cluster, check_storage, failed
from ..submit.kubernetes.nodes import platforms
from ..submit.kubernetes.probing import probe_pull, probe_storage
from ..submit.kubernetes.target import Target
from .pull_logins import tried_logins
from .shown import html_table, text_table

__all__ = ["DRIVER", "Check", "Checked", "check_target", "registry_of"]

DRIVER = "driver"
"""What names the image of runs' drivers, where an image is asked for."""


@dataclass(frozen=True)
class Checked:
    """What was found of a target, in the order in which it was looked at."""

    target: Target
    checks: tuple[Check, ...]

    @property
    def good(self) -> bool:
        return not any(check.state == "failed" for check in self.checks)

    def refuse(self) -> None:
        """Raise :class:`RunError` unless runs can be there."""
        bad = [check.what for check in self.checks if check.state == "failed"]
        if bad:
            raise RunError(f"target {self.target.name} is not ready for runs: {', '.join(bad)}")

    def to_json(self) -> dict[str, Any]:
        """The document of ``target check --json``."""
        checks = [check.to_json() for check in self.checks]
        return {"schema": 1, "target": self.target.name, "good": self.good, "checks": checks}

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]], str]:
        rows: list[tuple[str, ...]] = [(c.state, c.what, c.said) for c in self.checks]
        return ("", "what", "found"), rows, f"target {self.target.name}"


def check_target(
    target: Target,
    settings: Settings,
    *,
    image: str | None = None,
    pods: bool = True,
    heard: Callable[[Check], None] = lambda check: None,
    reporter: Reporter | None = None,
) -> Checked:
    """Look at ``target`` in every way that runs need it; ``heard`` is told of each line as soon as it is known.

    ``image`` (a reference by digest, with Python and flyte) is what a pod tries the storage with, ``driver`` the image
    of runs' drivers, which is made and pushed for it; without one that is said to be untried, and so is all that takes
    a pod where ``pods`` is false. Nothing stays behind in the cluster or
    the storage; in the registry, an image of a few hundred bytes. Raises :class:`InputError` for an image without a
    digest, and for a kubeconfig that cannot be used.
    """
    if image not in (None, DRIVER) and Reference.parse(image).digest is None:
        raise InputError(f"expected an image by digest, found {image}", hint="`flyte-build push` prints its references")
    found: list[Check] = []

    def note(check: Check) -> bool:
        found.append(check)
        heard(check)
        return check.state != "failed"

    cluster = connect(context=target.context, kubeconfig=target.kubeconfig, namespace=target.place.namespace)
    cluster.namespace = target.place.namespace
    asked = check_cluster(cluster, target)
    reached = note(next(asked))
    for check in asked:
        note(check)
    note(check_storage(target))
    pushed = _registry(target, settings, note)
    if reached:
        if pushed is not None:
            for check, _ in tried_logins(cluster, target, settings, pushed):
                note(check)
            if pods:
                note(probe_pull(cluster, target, str(pushed)))
        note(_storage_from_a_pod(cluster, target, settings, image if pods else None, reporter or Logged()))
    return Checked(target, tuple(found))


def registry_of(target: Target, settings: Settings) -> str | None:
    """Where ``target`` pulls from: its own registry, or the project's."""
    return target.registry or settings.registry


def _registry(target: Target, settings: Settings, note: Callable[[Check], bool]) -> Reference | None:
    from ..registry.client import Registry
    from .probe_image import push_probe_image

    what, place = "registry from here", registry_of(target, settings)
    if place is None:
        hint = f"set `registry` of [tool.flyte-build.targets.{target.name}], or of the settings"
        note(Check(what, "failed", "no registry is set", hint))
        return None
    try:
        with Registry(insecure=settings.insecure_registries, home=place.partition("/")[0]) as registry:
            pushed = push_probe_image(registry, place)
    except FlyteBuildError as e:
        note(failed(what, e))
        return None
    note(Check(what, "ok", f"pushed to {pushed.name}"))
    return pushed


def _storage_from_a_pod(
    cluster: Cluster, target: Target, settings: Settings, image: str | None, reporter: Reporter
) -> Check:
    what = "storage from a pod"
    if image is None:
        hint = "name one of your tasks' by digest (`--image REF@sha256:…`), or that of runs' drivers (`--image driver`)"
        return Check(what, "untried", "no image to try it with", hint)
    if image == DRIVER:
        from .driver_image import driver_reference

        place = replace(settings, registry=registry_of(target, settings))
        try:
            image = driver_reference(replace(place, platforms=place.platforms or platforms(cluster)), reporter)
        except FlyteBuildError as e:
            return failed(what, e)
    return probe_storage(cluster, target, image)
