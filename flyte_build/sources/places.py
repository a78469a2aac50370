"""A place where bytes may be had, and who names them: the nouns of :mod:`flyte_build.sources.locators`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ..deriving.nouns import Artifact
from ..kernel.values import dataclass

if TYPE_CHECKING:
    # An HTTP client takes longer to load than a build that fetches nothing takes to run.
    import httpx

__all__ = ["Locator", "Place", "Stream"]

Stream: TypeAlias = "Callable[[str, Mapping[str, str]], AbstractContextManager[httpx.Response]]"
"""GET a URL with these headers: an open response, its body unread. May raise ``httpx`` errors and ``FetchError``."""


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere the bytes may be. ``stream`` asks an http(s) ``url``; ``None`` for ``file:``."""

    url: str
    stream: Stream | None = None


class Locator(Protocol):
    """Names places for artifacts. Called from several threads."""

    def places(self, artifact: Artifact) -> Iterator[Place]:
        """Places to try, likeliest first; none where the artifact is not this locator's kind.

        May raise :class:`FlyteBuildError` where no place can be named, with the reason.
        """

    def close(self) -> None:
        """Let go of connections; the next question may open new ones."""
