"""Locked conda packages → layers: the large ones each in its own, the others together. Pure.

They lie on the base and its Debian packages, and below everything else, as all that comes after is installed into their
environment. It follows from the lock alone, because Nix and Bazel have to know it before anything is there.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..locks.nouns import LockedPlatform
from ..recipe import CondaInstall, CondaPackage, Recipe
from .nouns import Artifact, LayerDerivation
from .specs import layer_of, named
from .wheel_layers import Venv

__all__ = ["LARGE_PACKAGE", "MOST_ALONE", "conda_layers", "site_of"]

LARGE_PACKAGE, MOST_ALONE = 8 << 20, 16
"""Bytes from which a package has a layer of its own, and how many have, the largest first."""


def conda_layers(locked: LockedPlatform, recipe: Recipe) -> list[LayerDerivation]:
    """The layers of the recipe's environment; none where it has none."""
    environment = recipe.conda
    if environment is None:
        return []
    large = sorted((p for p in locked.conda if p.size >= LARGE_PACKAGE), key=lambda p: (-p.size, p.name))[:MOST_ALONE]
    alone = sorted(large, key=lambda p: p.name)
    others = [p for p in locked.conda if p not in large]
    return [_layer(environment, [p]) for p in alone] + ([_layer(environment, others)] if others else [])


def site_of(environment: CondaInstall) -> Venv:
    """Where Python packages of the environment go."""
    return Venv(environment.python, environment.prefix)


def _layer(environment: CondaInstall, packages: Sequence[CondaPackage]) -> LayerDerivation:
    artifacts = [Artifact(p.sha256, p.size, p.file, p) for p in sorted(packages, key=lambda p: p.name)]
    first = f"{packages[0].name} {packages[0].version}"
    title = f"conda {first}" if len(packages) == 1 else f"conda {environment.environment}, {len(packages)} packages"
    site = f"lib/python{environment.python}/site-packages"
    return layer_of("conda", title, artifacts, prefix=environment.prefix, site=site, packages=named(artifacts))
