"""Images as a target's pods have them: locked, checked, built, pushed, by reference; and what they need of its nodes.

What runs, apps and deployed tasks of a target have in common. Makes nothing in its cluster.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..kernel.values import dataclass
from ..planning.checks import find, refuse
from ..project.nouns import Environment
from ..project.sidecars import takers
from ..settings import Settings
from ..submit.kubernetes.needs import Needs
from .image_needs import needs_of
from .opened import OpenProject
from .pipeline import ensure_locked
from .references import publish
from .sidecars import refuse_own_images
from .signatures import require_signed

__all__ = ["Pushed", "pushed_for"]


@dataclass(frozen=True, slots=True)
class Pushed:
    """``references``: environment → ``repository@sha256:…``; ``needs``: what images need of nodes, by digest."""

    references: dict[str, str]
    needs: dict[str, Needs]


def pushed_for(
    bench: OpenProject, environments: Sequence[Environment], settings: Settings, *, locked: bool, check: bool
) -> Pushed:
    """Have the images of ``environments`` where nodes pull them; ``settings`` are those for the cluster.

    Raises what locking, the checks, building and pushing raise, :class:`RunError` for an image that is not there, and
    :class:`RefusedError` for a pod template that has an image of its own for what it is the template of.
    """
    names = {environment.name for environment in environments}
    refuse_own_images(takers((t for t in bench.tasks if t.environment in names), environments))
    ensure_locked(bench.workspace, environments, bench.reporter, write=not locked, store=bench.store)
    if check:
        with bench.modules.entered():
            refuse(find(bench.workspace, environments, bench.store, reporter=bench.reporter))
    published = publish(
        bench.workspace.project, settings, bench.reporter, registries={}, locked=locked,
        only=[e.name for e in environments],
    )  # fmt: skip
    references = dict(published.references)
    require_signed(settings, {e: r.rpartition("@")[2] for e, r in references.items()}, bench.reporter)
    return Pushed(references, needs_of(bench.workspace, environments, references, settings))
