"""The places that a project's settings name to run on, by name, and what they have to allow. Asks no cluster."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..kernel.errors import InputError
from ..settings import Settings, read_settings
from ..submit.kubernetes.access import manifests
from ..submit.kubernetes.target import Target, read_target

__all__ = ["Target", "manifests_of", "manifests_text", "target", "targets"]


def target(name: str, settings: Settings | None = None) -> Target:
    """The target ``name`` of ``settings`` (default: those of the working folder).

    Raises :class:`InputError` for one that they do not have, which names those they do, for a value that means nothing,
    and where the cluster's client is not installed.
    """
    stated = (settings or read_settings(Path.cwd())).targets
    found = next((t for t in stated if t.name == name), None)
    if found is None:
        import difflib

        names = [t.name for t in stated]
        there = f"there are: {', '.join(names)}" if names else "none is set"
        close = difflib.get_close_matches(name, names, 1)
        example = f'add [tool.flyte-build.targets.{name}] with `namespace = "…"` and `storage = "s3://BUCKET/PREFIX"`'
        raise InputError(f"no target `{name}`; {there}", hint=f"did you mean `{close[0]}`?" if close else example)
    meant = read_target(found.name, found.table, found.file)
    if find_spec("kubernetes") is None:
        raise InputError(
            f"target {name} is a Kubernetes cluster, and its client is not installed",
            hint="pip install 'flyte-build[kubernetes]'",
        )
    return meant


def targets(settings: Settings | None = None) -> tuple[Target, ...]:
    """Every target of ``settings``, in their order; raises :class:`InputError` for a value that means nothing."""
    stated = (settings or read_settings(Path.cwd())).targets
    return tuple(read_target(t.name, t.table, t.file) for t in stated)


def manifests_of(
    meant: Target, *, users: Sequence[str] = (), groups: Sequence[str] = (), cluster_queue: str | None = None
) -> list[dict[str, Any]]:
    """The objects that an administrator looks at and applies, for runs on ``meant`` by ``users`` and ``groups``.

    ``cluster_queue`` is Kueue's, for a LocalQueue. Raises :class:`InputError` for one where no queue is set.
    """
    if cluster_queue is not None and not meant.place.queue:
        raise InputError(
            f"target {meant.name} has no queue that {cluster_queue} could be for",
            hint=f"set `queue` of [tool.flyte-build.targets.{meant.name}]",
        )
    return manifests(meant, users=users, groups=groups, cluster_queue=cluster_queue)


def manifests_text(
    meant: Target, *, users: Sequence[str] = (), groups: Sequence[str] = (), cluster_queue: str | None = None
) -> str:
    """The same as YAML documents. Raises :class:`InputError`, as :func:`manifests_of` does."""
    yaml: Any = importlib.import_module("yaml")
    # By way of JSON: what is said twice is written twice.
    objects = json.loads(json.dumps(manifests_of(meant, users=users, groups=groups, cluster_queue=cluster_queue)))
    head = (
        f"# What runs of flyte-build need in namespace {meant.place.namespace} (target {meant.name}), and nothing of\n"
        f"# the whole cluster. The namespace has to be there: kubectl create namespace {meant.place.namespace}\n"
    )
    written: str = yaml.safe_dump_all(objects, sort_keys=False, default_flow_style=None, width=100)
    return head + "---\n" + written
