"""``project.build``, ``push`` and ``load``: plan, check, make, pin, deliver, in this order, and say what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..kernel.quantities import counted, duration, size
from ..planning.images import plan_images, pushed_platforms
from ..planning.plan import Plan
from ..remote.connecting import connected
from ..store.built import BuiltImage
from .following import Follower, Nobody
from .headstart import note
from .opened import OpenProject
from .shown import html_table, text_table

if TYPE_CHECKING:
    from ..delivery.destination import Destination
    from ..delivery.engines import LoadedImage
    from ..remote.publishing import PushedImage

__all__ = ["Asked", "Images", "make"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted, as ``Workbench.push`` has it. ``registry``: ``None`` pushes nowhere, ``""`` the settings'."""

    task: str | None = None
    env: tuple[str, ...] = ()
    platform: str | None = None
    caches: tuple[str, ...] = ()
    check: bool = True
    locked: bool = False
    jobs: int | None = None
    output: str | None = None
    into: str | None = None
    registry: str | None = None
    tags: tuple[str, ...] = ()
    attest: bool = True
    soci: bool = False


@dataclass(frozen=True, slots=True)
class Images:
    """What came of it: every image that was meant, in the plan's order, and where it went.

    ``plan`` is ``None`` for images that something else built; ``seconds`` is the time that all took; ``used`` are the
    files whose dates keep the images from ``store gc``; ``again`` is what a registry has to be asked before the same
    push may be said to have nothing to do; ``indexed`` are the images with SOCI indexes beside those pushed.
    """

    built: tuple[BuiltImage, ...]
    pushed: tuple[PushedImage, ...] = ()
    loaded: tuple[LoadedImage, ...] = ()
    written: Destination | None = None
    seconds: float = 0.0
    plan: Plan | None = None
    used: tuple[str, ...] = field(default=(), repr=False)
    again: Mapping[str, Any] | None = field(default=None, repr=False)
    indexed: tuple[PushedImage, ...] = ()

    @property
    def repeated(self) -> Images:
        """What the same would give if nothing changes: all is there."""
        built = tuple(
            replace(i, reused=True, seconds=0.0, layers=tuple(replace(x, reused=True, pulled=False) for x in i.layers))
            for i in self.built
        )
        pushed, indexed = (
            tuple(replace(p, uploaded=0, mounted=0, existing=p.uploaded + p.mounted + p.existing) for p in some)
            for some in (self.pushed, self.indexed)
        )
        return replace(self, built=built, pushed=pushed, indexed=indexed)

    @property
    def digests(self) -> dict[str, str]:
        """Environment → manifest digest; of an image for several platforms, that of the last one."""
        return {i.environment: i.manifest_digest for i in self.built}

    @property
    def references(self) -> dict[str, str]:
        """Environment → ``repository@sha256:…``, of what was pushed."""
        return {i.environment: i.reference for i in self.pushed}

    def __iter__(self) -> Iterator[BuiltImage]:
        return iter(self.built)

    def __len__(self) -> int:
        return len(self.built)

    def __str__(self) -> str:
        return "\n".join([text_table(*self._table()), self._summary()])

    def _repr_html_(self) -> str:
        return html_table(*self._table(), self._summary())

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        if self.pushed:
            rows: list[tuple[str, ...]] = [
                (p.environment, p.reference, ", ".join(p.platforms), size(p.uploaded)) for p in self.pushed
            ]
            return ("environment", "reference", "platforms", "uploaded"), rows
        columns = ("environment", "platform", "image", "layers", "size", "state")
        return columns, [
            (i.environment, i.platform, i.manifest_digest, str(len(i.layers)), size(i.size), _state(i))
            for i in self.built
        ]

    def _summary(self) -> str:
        new = sum(not i.reused for i in self.built)
        what = f"built {new} of {counted(len(self.built), 'image')}" if new else "nothing to build"
        return f"{what} in {duration(self.seconds)}"


def _state(image: BuiltImage) -> str:
    return "cached" if image.reused else f"built in {duration(image.seconds)}"


def make(bench: OpenProject, asked: Asked, follower: Follower | None = None) -> Images:
    """Do what was asked; see :meth:`Workbench.build` and :meth:`Workbench.push`."""
    destination = None
    if asked.output is not None:
        from ..delivery import check_destination, parse_destination

        destination = parse_destination(asked.output)
        check_destination(destination)
    started, follower = time.monotonic(), follower or Nobody()
    workspace, store, reporter = bench.workspace, bench.store, bench.reporter
    pushing = asked.registry is not None
    settings = bench.settings(caches=asked.caches, registry=asked.registry)
    environments = bench.select(asked.task, asked.env)
    with connected(settings, reporter) as shared:
        platforms = pushed_platforms(environments, asked.platform, settings.platforms) if pushing else None
        plan = plan_images(workspace, environments, store, asked.platform, shared, platforms=platforms)
        follower.planned(plan)
        if asked.check:
            bench.refuse_failing(environments, asked.platform, shared)
        follower.making()
        pushed: list[PushedImage] = []
        indexed: list[PushedImage] = []
        loaded: list[LoadedImage] = []
        again: dict[str, Any] | None = None
        if pushing:
            from .pipeline import push_plan
            from .pushed_before import questions

            local = destination is not None or asked.into is not None or asked.soci
            built, pushed, attached = push_plan(
                workspace, plan, store, settings, reporter, shared,
                tags=asked.tags, jobs=asked.jobs, local=local, locked=asked.locked, attest=asked.attest,
            )  # fmt: skip
            if asked.soci:
                from .pipeline import push_soci

                indexed = push_soci(pushed, store, settings, reporter, shared)
            again = questions([*pushed, *indexed], attached, settings)
        else:
            from .pipeline import build_pinned

            built = build_pinned(
                workspace, plan, store, reporter, shared,
                jobs=asked.jobs, locked=asked.locked, pin=settings.pin == "always",
            )  # fmt: skip
        if destination is not None:
            from ..delivery import deliver

            deliver(store, built, destination, reporter)
        if asked.into is not None:
            from ..delivery import load

            loaded = load(store, built, asked.into, reporter)
    note(bench, built)
    took = time.monotonic() - started
    used = tuple(str(store.used_path(image.derivation)) for image in built)
    return Images(tuple(built), tuple(pushed), tuple(loaded), destination, took, plan, used, again, tuple(indexed))
