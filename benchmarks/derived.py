"""A lock → the image that is built of it: what is measured runs this, and nothing that it does not need."""

from __future__ import annotations

from flyte_build.deriving.derivation import derive
from flyte_build.deriving.from_lock import recorded_recipe
from flyte_build.deriving.nouns import ImageDerivation
from flyte_build.kernel.values import replace
from flyte_build.locks.nouns import Lock
from flyte_build.recipe import Platform

__all__ = ["AMD64", "derivation"]

AMD64: Platform = "linux/amd64"


def derivation(lock: Lock) -> ImageDerivation:
    """The image of a lock, for AMD64, as the recipe in it says. One without .debs gets no Debian layers."""
    platform = lock.platforms[AMD64]
    made = derive(lock, recorded_recipe(lock), AMD64)
    if platform.debs:
        return made
    layers = tuple(layer for layer in made.layers if layer.kind == "wheels")
    return replace(made, layers=layers, spec={**made.spec, "layers": [dict(layer.spec) for layer in layers]})
