"""Where images go: one repository an environment, and the tags that they get there. No I/O.

Tags are for people and garbage collectors; the identity of an image is its digest. Each pushed manifest gets
``drv-<derivation>``, which never moves, so that no registry takes it for garbage; what ``--tag`` asks for does move.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..kernel.canonical import digest
from ..kernel.errors import InputError
from ..registry.reference import Reference

if TYPE_CHECKING:
    from ..registry.client import Registry
    from ..settings import Settings
    from .cache import RemoteCache

__all__ = ["Target", "derivation_tag", "index_tag", "registry_host", "repository_name"]

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_FIELD = re.compile(r"\{([^{}]*)\}")
# Digits of a derivation's hash in a tag: enough that no two of a repository's derivations ever share them.
_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Target:
    """``template``: what ``repository`` of the settings says, its registry put in. ``tags``: those asked for.

    ``cache`` is where realisations are written after a push (``None``: nowhere), ``registry`` the client that sends,
    and ``elsewhere`` one that reads what is not here.
    """

    registry: Registry
    elsewhere: Registry
    template: str
    tags: tuple[str, ...] = ()
    cache: RemoteCache | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls,
        settings: Settings,
        registry: Registry,
        tags: tuple[str, ...] = (),
        cache: RemoteCache | None = None,
        elsewhere: Registry | None = None,
    ) -> Target:
        """The target that ``settings`` name. Raises :class:`InputError` where they name none, or no repository."""
        if settings.registry is None:
            raise InputError(
                "no registry to push to",
                hint="name one: `flyte-build push --registry REGISTRY`, `registry` in [tool.flyte-build] of "
                "pyproject.toml, or $FLYTE_BUILD_REGISTRY",
            )
        unknown = set(_FIELD.findall(settings.repository)) - {"registry", "environment"}
        if unknown or "{registry}" not in settings.repository:
            raise InputError(
                f"repository: expected `{{registry}}` and perhaps `{{environment}}`, found `{settings.repository}`"
            )
        registry_host(settings.registry)
        made = cls(
            registry,
            elsewhere or registry,
            settings.repository.replace("{registry}", settings.registry.rstrip("/")),
            tags,
            cache,
        )
        place = made.repository("environment")
        for tag in tags:
            place.with_tag(tag)
        return made

    def repository(self, environment: str) -> Reference:
        """The repository of this environment's images. Raises :class:`InputError` where it cannot be one's name."""
        found = Reference.parse(self.template.replace("{environment}", repository_name(environment)))
        if found.tag or found.digest:
            raise InputError(f"expected a repository to push to, found the image `{found}`")
        return found


def registry_host(text: str) -> str:
    """The host of a registry that images are pushed below. Raises :class:`InputError` that shows what was given."""
    try:
        return Reference.parse(f"{text.rstrip('/')}/x").host
    except InputError:
        hint = None
        if "@" in text or ":" in text.partition("/")[2]:
            hint = "give it without a tag or digest: images get their own, and `--tag` names more"
        if "://" in text:
            hint = "leave out the scheme: plain HTTP is used with loopback, and with what `insecure-registries` names"
        raise InputError(
            f"expected a registry `host[:port]`, or a path in it in lower case, found `{text}`", hint=hint
        ) from None


def repository_name(environment: str) -> str:
    """An environment's name within the grammar of repositories (distribution-spec, "Pulling manifests"): lower case.

    What has other characters gets a hash, so that two environments do not come to one name.
    """
    name = environment.lower()
    if _COMPONENT.fullmatch(name):
        return name
    plain = re.sub(r"[^a-z0-9]+", "-", name).strip("-") or "image"
    return f"{plain}-{hashlib.sha256(environment.encode()).hexdigest()[:8]}"


def derivation_tag(derivation: str) -> str:
    """The tag of the manifest that this derivation became."""
    return f"drv-{derivation.removeprefix('sha256:')[:_DIGITS]}"


def index_tag(derivations: Mapping[str, str]) -> str:
    """The tag of the index of several platforms' images: platform → derivation."""
    return derivation_tag(digest(dict(derivations)))
