"""Verifies that images are a function of their locks: rebuilds them from nothing and compares.

The rebuild knows no realisation and no blob of the user's store, and asks no cache: every layer is assembled anew, in a
store of its own that is removed at the end. Only artifacts are taken from the user's store, each hashed on its way, or
all fetched anew. Compared are the pin, what the user's store says that the derivation became, and what a registry has.
Never writes a pin, never pushes, never prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..deriving.derivation import Artifact
from ..kernel.errors import InputError, PinError, RegistryError
from ..kernel.reporting import Reporter
from ..sources.locators import Locators, project_locator
from ..sources.places import Locator, Place
from ..store import Store
from .building import build
from .comparing import Compared, Comparison, Remote
from .repositories import base_repositories

if TYPE_CHECKING:
    from ..planning.workspace import Workspace
    from ..project.loading import Environment
    from ..remote.cache import RemoteCache

__all__ = ["Verified", "mismatch", "verify_images"]


@dataclass(frozen=True, slots=True)
class Verified:
    """One image rebuilt: ``digest`` of its manifest, and what that was held against (``registry``: where one was
    named)."""

    environment: str
    platform: str
    derivation: str
    digest: str
    pin: Compared
    store: Compared
    registry: Compared | None = None

    @property
    def compared(self) -> dict[str, Compared]:
        found = {"pin": self.pin, "store": self.store, "registry": self.registry}
        return {name: compared for name, compared in found.items() if compared is not None}

    @property
    def good(self) -> bool:
        return all(c.good for c in self.compared.values())

    @property
    def confirmed(self) -> bool:
        """Whether there was anything to compare it with."""
        return any(c.state == "same" for c in self.compared.values())

    def to_json(self) -> dict[str, object]:
        return {
            "environment": self.environment,
            "platform": self.platform,
            "derivation": self.derivation,
            "rebuilt": self.digest,
            "good": self.good,
            **{name: c.to_json() for name, c in self.compared.items()},
        }


def verify_images(
    workspace: Workspace,
    environments: Sequence[Environment],
    store: Store,
    reporter: Reporter,
    *,
    platform: str | None = None,
    fetch: bool = False,
    remote: Remote | None = None,
    shared: RemoteCache | None = None,
    jobs: int | None = None,
) -> list[Verified]:
    """Rebuild the images of ``environments`` and compare each with its pin, the store and ``remote``.

    ``fetch``: download every artifact anew, too. ``shared`` is the way to the registries of base images; what it may
    know of images and layers is not believed. Raises :class:`LockError` for a missing or stale lock, what building
    raises, and :class:`RegistryError` where the registry cannot be asked, or has not the one
    image that was named; other differences are in the result.
    """
    locks = workspace.locks(environments)
    images = [
        image
        for wanted in workspace.platforms(environments, platform)
        for image in workspace.derivations(environments, locks, wanted)
    ]
    if remote is not None and remote.exactly is not None and len({i.environment for i in images}) > 1:
        raise InputError(
            f"{remote.exactly} is one image, and {len(images)} are verified",
            hint="name the environment with --env, or give a registry without tag and digest",
        )
    if remote is not None and remote.exactly is not None and remote.registry.head(remote.exactly) is None:
        # Absence is no difference where an image was perhaps never pushed; this one was named.
        raise RegistryError(
            f"{remote.exactly}: no such image in the registry",
            hint="push it, or name another; a registry without tag and digest is asked for the tags of pushes",
        )
    from .bytecode import hosts_of

    recipes = {e.name: e.recipe for e in environments}
    locator: Locator = project_locator(recipes, locks, workspace.project.root, store=store)
    if shared is not None:
        shared.doubt_all()
    if not fetch:
        locator = Locators(_Artifacts(store), locator)
    with store.session() as session:
        scratch = Store(session.temporary("verify"))
        # Layers of registry bases are no work of ours: they are named by the lock, and not pulled.
        built = build(
            images,
            scratch,
            locator=locator,
            reporter=reporter,
            jobs=jobs,
            remote=shared,
            bases=base_repositories(images, locks),
            local=False,
            hosts=hosts_of(locks),
        )
        with reporter.work("compare", len(built)) as progress:
            found = []
            for image, made in zip(images, built, strict=True):
                compare = Comparison(session, scratch, image, made, remote)
                found.append(
                    Verified(
                        image.environment,
                        image.platform,
                        image.hash,
                        made.manifest_digest,
                        compare.pin(locks[image.environment].pins.get(image.platform)),
                        compare.store(),
                        compare.registry() if remote is not None else None,
                    )
                )
                progress.advance()
    return found


def mismatch(found: Sequence[Verified]) -> PinError | None:
    """The error for a verification with differences, which names the first of each image; ``None`` without any."""
    bad = [image for image in found if not image.good]
    if not bad:
        return None
    lines = []
    for image in bad:
        for name, compared in image.compared.items():
            if not compared.good:
                first = compared.differences[0] if compared.differences else compared.state
                lines.append(f"  {image.environment} on {image.platform}, {name}: {first}")
    outdated = all(c.state == "outdated" for image in bad for c in image.compared.values() if not c.good)
    return PinError(
        f"{len(bad)} of {len(found)} image{'s' if len(found) > 1 else ''} rebuilt from nothing "
        f"{'is' if len(bad) == 1 else 'are'} not what was recorded:\n" + "\n".join(lines),
        hint="`flyte-build build` without --locked makes new pins: commit them"
        if outdated
        else "what was rebuilt is what the lock's hashes give; do not use the other one before you know why it differs",
    )


class _Artifacts:
    """The user's store as a place to have artifacts from. Fetching hashes what it copies: damage is not taken over."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def places(self, artifact: Artifact) -> Iterator[Place]:
        path = self._store.artifact(artifact.sha256, artifact.size)
        if path is not None:
            yield Place(path.as_uri())

    def close(self) -> None:
        return None
