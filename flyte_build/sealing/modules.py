"""Which Python modules a step added, off the paths that it changed: so that checks of imports know of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["ANY", "modules_of"]

ANY = "*"
"""Where a ``.pth`` file or an egg link was added, the import path leads elsewhere: any module may be there."""

_SITE = re.compile(r"(.*/)?(site|dist)-packages")
_MODULE = re.compile(r"([^\W\d]\w*)(?:\.py|(?:\.[\w-]+)?\.so)?")


def modules_of(paths: Iterable[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """The top-level modules among ``paths`` (relative to the root): of folders called ``site-packages`` or
    ``dist-packages``, and of those in ``PYTHONPATH``."""
    asked = {folder.strip("/") for folder in environment.get("PYTHONPATH", "").split(":") if folder}
    found = set()
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name.startswith(".wh.") or not (folder in asked or _SITE.fullmatch(folder)):
            continue
        if name.endswith((".pth", ".egg-link")):
            found.add(ANY)
        elif module := _MODULE.fullmatch(name):
            found.add(module[1])
    return tuple(sorted(found))
