"""Whether an index takes the login that an image has for it: asked before versions are chosen.

A resolver that is told several indexes goes on to the next where one refuses, and would take a package of the same name
from there, which somebody else may have put there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from ...recipe import PipInstall
from ...sources.indexes import IndexClient, IndexSettings

__all__ = ["check_logins"]


def check_logins(
    settings: IndexSettings,
    ordinary: IndexSettings,
    steps: Iterable[PipInstall],
    client: Callable[[IndexSettings], IndexClient],
) -> None:
    """Ask those indexes of ``settings`` that ``ordinary`` has not, and that have a login, for a package of ``steps``.

    Raises :class:`FetchError` where one refuses it.
    """
    known = {index.url for index in ordinary.indexes}
    asked = tuple(i for i in settings.indexes if i.url not in known and "@" in urlsplit(i.url).netloc)
    name = next((name for step in steps for text in step.requirements if (name := _name(text))), None)
    if asked and name is not None:
        client(replace(settings, default=None, extra=asked, find_links=())).files(name)


def _name(text: str) -> str | None:
    try:
        return Requirement(text).name
    except InvalidRequirement:
        return None
