"""What only a lock knows of what a Dockerfile says: it is read once without it, and once more with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..kernel.values import dataclass, field
from .copying import CopyFiles
from .located import hidden
from .nouns import Recipe

__all__ = ["Known", "fetched", "known_in"]


@dataclass(frozen=True, slots=True)
class Known:
    """``triggers``: what images have those begin with that stand on them (``ONBUILD``), by their names. ``files``: what
    is at an address (``ADD``), by its digest (:func:`~flyte_build.recipe.located.hidden`): SHA-256 (hex) and size."""

    triggers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, tuple[str, int]] = field(default_factory=dict)


def fetched(recipe: Recipe) -> Iterator[CopyFiles]:
    """The steps of ``recipe``, and of its stages, that copy what is at an address."""
    for steps in (recipe.steps, *(stage.steps for stage in recipe.stages)):
        yield from (step for step in steps if isinstance(step, CopyFiles) and step.url is not None)


def known_in(recipe: Recipe) -> Known:
    """What ``recipe`` was read with."""
    rows = ((hidden(str(step.url)), step.sha256, step.size) for step in fetched(recipe))
    files = {url: (sha256, size) for url, sha256, size in rows if sha256 is not None and size is not None}
    return Known(dict(recipe.triggers), files)
