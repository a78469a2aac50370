"""Where a path leads below a root of its own, link by link, as the kernel goes for a process with that root.

``..`` never leaves the root, an absolute link starts there again, and too many links lead nowhere (path_resolution(7)).
What is at a path is the caller's to say: an unpacked layer, a tree in memory, what a sandbox sees. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["MOST_LINKS", "Nowhere", "TooManyLinks", "resolve"]

MOST_LINKS = 40
"""The kernel's own limit."""


class Nowhere(Exception):
    """For callers to raise: nothing is at a path on the way."""


class TooManyLinks(Nowhere):
    """More than :data:`MOST_LINKS` links were met."""


def resolve(path: str, link_of: Callable[[list[str], bool], str | None]) -> list[str]:
    """The components of ``path``, absolute or not, with links followed; none for the root itself.

    ``link_of(components, last)`` gives the target of the link there, ``None`` for what is no link or is not to be
    followed; ``last``: nothing comes after it. Raises :class:`TooManyLinks`, and what ``link_of`` raises.
    """
    todo, done, links = _parts(path), list[str](), 0
    while todo:
        part = todo.pop()
        if part == "..":
            done = done[:-1]
            continue
        target = link_of([*done, part], not todo)
        if target is None:
            done.append(part)
            continue
        links += 1
        if links > MOST_LINKS:
            raise TooManyLinks(path)
        if target.startswith("/"):
            done = []
        todo += _parts(target)
    return done


def _parts(path: str) -> list[str]:
    """The components that mean something, the first one last."""
    return [part for part in path.split("/") if part not in ("", ".")][::-1]
