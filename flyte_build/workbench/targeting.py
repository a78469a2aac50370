"""The places that a project's settings name to run on, by name. Nothing here asks a cluster."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..kernel.errors import InputError
from ..settings import Settings, read_settings
from ..submit.kubernetes.target import Target, read_target

__all__ = ["Target", "target", "targets"]


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
