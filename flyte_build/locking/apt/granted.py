"""What dpkg and the scripts that it runs take for granted: chosen besides, where scripts are run."""

from __future__ import annotations

from collections.abc import Sequence

from .package import Relation
from .solve import Omitted
from .universe import Universe

__all__ = ["for_dpkg"]


def for_dpkg(universe: Universe, omitted: Sequence[Omitted]) -> list[Relation]:
    """What dpkg and maintainer scripts take for granted; ``omitted``: what the base was chosen without."""
    # The first choice of init-system-helpers, usrmerge, moves files and brings all of perl along; ours are moved.
    first = ["usr-is-merged"] if universe.versions("usr-is-merged") else []
    names = [*first, *universe.essential, "dpkg", *(one.name for one in omitted)]
    return [Relation(name) for name in dict.fromkeys(names) if universe.versions(name)]
