"""``project.verify``: images rebuilt from nothing, and compared with all that is recorded of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..building.comparing import Remote
from ..building.verifying import Verified, mismatch, verify_images
from ..project.nouns import Environment
from ..remote.connecting import connected
from .opened import OpenProject
from .shown import html_table, text_table

if TYPE_CHECKING:
    from ..remote.cache import RemoteCache
    from ..settings import Settings

__all__ = ["Verification", "verify"]


@dataclass(frozen=True, slots=True)
class Verification:
    """Every image that was rebuilt, with what it was held against."""

    images: tuple[Verified, ...]

    @property
    def good(self) -> bool:
        """Whether nothing differs from what is recorded."""
        return all(image.good for image in self.images)

    def refuse(self) -> None:
        """Raise :class:`PinError` where anything differs."""
        if (error := mismatch(self.images)) is not None:
            raise error

    def to_json(self) -> dict[str, object]:
        """The document of ``verify --json``."""
        return {"schema": 1, "good": self.good, "images": [v.to_json() for v in self.images]}

    def __iter__(self) -> Iterator[Verified]:
        return iter(self.images)

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        columns = ("environment", "platform", "rebuilt", "pin", "store", "registry")
        rows = []
        for v in self.images:
            states = [c.state if c is not None else "–" for c in (v.pin, v.store, v.registry)]
            rows.append((v.environment, v.platform, v.digest, *states))
        return columns, rows


def verify(
    bench: OpenProject,
    environments: Sequence[Environment],
    platform: str | None,
    registry: str | None,
    *,
    fetch: bool,
    jobs: int | None,
) -> Verification:
    """See :meth:`Workbench.verify`. No cache is asked."""
    settings = replace(bench.settings(), cache=())
    with connected(settings, bench.reporter) as shared:
        found = verify_images(
            bench.workspace,
            environments,
            bench.store,
            bench.reporter,
            platform=platform,
            fetch=fetch,
            remote=_remote(registry, settings, shared),
            shared=shared,
            jobs=jobs,
        )
    return Verification(tuple(found))


def _remote(asked: str | None, settings: Settings, shared: RemoteCache) -> Remote | None:
    """Where a registry has the images: in the one named or configured, or the one image that is named."""
    if asked is None and settings.registry is None:
        return None
    from ..registry.reference import Reference
    from ..remote.target import Target

    client = shared.registry(patient=True)
    # What has a tag or a digest is an image; the port of a registry that is no more than a host is no tag.
    if asked is not None and ("@" in asked or ("/" in asked and ":" in asked.rpartition("/")[2])):
        return Remote(client, exactly=Reference.parse(asked))
    target = Target.of(replace(settings, registry=asked or settings.registry), client)
    return Remote(client, target, demanded=asked is not None)
