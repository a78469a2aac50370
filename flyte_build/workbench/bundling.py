"""``project.bundle`` and ``flyte_build.unbundle``: a project's images, or all they are made of, over an air gap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..delivery.bundle import Bundled, bundle_plan
from ..delivery.unbundle import Unbundled
from ..delivery.unbundle import unbundle as take_in
from ..kernel.reporting import Logged, Reporter
from ..planning.checks import find, refuse
from ..planning.images import plan_images
from ..planning.workspace import find_lockfiles
from ..project.nouns import Environment
from ..remote.connecting import connected
from ..store import Store
from .opened import OpenProject

__all__ = ["bundle", "unbundle"]


def bundle(
    bench: OpenProject,
    target: Path,
    environments: Sequence[Environment],
    platform: str | None,
    caches: Sequence[str],
    *,
    images: bool,
    artifacts: bool,
    check: bool,
    jobs: int | None,
) -> Bundled:
    """See :meth:`Workbench.bundle`."""
    workspace, store, reporter = bench.workspace, bench.store, bench.reporter
    settings = bench.settings(caches=caches)
    with connected(settings, reporter) as shared:
        plan = plan_images(workspace, environments, store, platform, shared)
        if check:
            with bench.modules.entered():
                refuse(find(workspace, environments, store, platform=platform, reporter=reporter, shared=shared))
        return bundle_plan(
            workspace, plan, store, target, reporter,
            images=images, artifacts=artifacts, jobs=jobs, shared=shared, pin=settings.pin != "never",
        )  # fmt: skip


def unbundle(
    file: Path | str,
    lockfiles: Path | str | None = None,
    *,
    verify: bool = False,
    force: bool = False,
    reporter: Reporter | None = None,
    store: Store | None = None,
) -> tuple[Unbundled, Path]:
    """Take in what :meth:`Workbench.bundle` wrote: artifacts and images into the store, locks into a folder, which is
    given too (default: the nearest ``lockfiles`` upwards of the current folder).

    ``verify``: make the images again from the artifacts, and refuse any other; ``force``: replace locks that are not
    those of the bundle. Raises :class:`ArtifactError`, :class:`PinError`, :class:`StoreError`.
    """
    folder = Path(lockfiles).absolute() if lockfiles is not None else find_lockfiles(Path.cwd())
    done = take_in(store or Store(), Path(file), folder, reporter or Logged(), force=force, verify=verify)
    return done, folder
