"""Whether recipes were read with what their bases have them begin with (``ONBUILD``).

A recipe is read off a Dockerfile before anybody has read its bases: where these say something else than it was read
with, it has to be read again, and the lock made of that. Reads locks only; runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..kernel.errors import RefusedError
from ..locks.base import LockedBase
from ..locks.known import begun_by
from ..locks.nouns import LockedPlatform
from ..recipe import Recipe, RegistryBase

__all__ = ["TriggersError", "check_triggers"]


class TriggersError(Exception):
    """Bases say other triggers than recipes were read with: ``found``, by environment. For whoever reads recipes, never
    for a person."""

    def __init__(self, found: Mapping[str, Mapping[str, tuple[str, ...]]]) -> None:
        super().__init__(", ".join(found))
        self.found = found


def check_triggers(recipes: Mapping[str, Recipe], parts: Mapping[tuple[str, str], LockedPlatform]) -> None:
    """Raises :class:`TriggersError` where bases say what recipes were not read with, and :class:`RefusedError` where
    one does not say the same on every platform."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    told: dict[tuple[str, str], tuple[str, ...]] = {}
    for (name, _), part in parts.items():
        expected = dict(recipes[name].triggers)
        for reference, base in _bases(recipes[name], part):
            if reference not in expected:
                continue
            said = begun_by(base)
            if told.setdefault((name, reference), said) != said:
                raise RefusedError(
                    f"environment {name}: {reference}: its ONBUILD is not the same on every platform",
                    hint="lock the image for one platform: `flyte.Image.from_dockerfile(…, platform=…)`",
                )
            if said != expected[reference]:
                found.setdefault(name, {})[reference] = said
    if found:
        raise TriggersError(found)


def _bases(recipe: Recipe, part: LockedPlatform) -> Iterator[tuple[str, LockedBase]]:
    bases = [(recipe.base, part.base), *((s.base, x.base) for s, x in zip(recipe.stages, part.stages, strict=False))]
    for said, base in bases:
        if isinstance(said, RegistryBase) and base is not None:
            yield said.reference, base
