"""Where an image of a registry is really read: the registry itself, or a mirror of it. Configuration, never in a lock.

``FLYTE_BUILD_REGISTRY_MIRROR`` holds pairs ``host=place``, separated by spaces: ``docker.io=mirror.example/hub`` reads
``docker.io/library/python`` as ``mirror.example/hub/library/python``. What comes from a mirror is held against the
digest that was locked, as all bytes are; while locking, a tag means what the mirror says it means.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..kernel.errors import InputError
from ..kernel.values import replace
from ..registry.reference import Reference

__all__ = ["VARIABLE", "located", "located_name"]

VARIABLE = "FLYTE_BUILD_REGISTRY_MIRROR"


def located(reference: Reference, environ: Mapping[str, str] = os.environ) -> Reference:
    """The reference to ask for ``reference``; raises :class:`InputError` where the variable is not understood."""
    for pair in environ.get(VARIABLE, "").split():
        host, equals, place = pair.partition("=")
        if not equals or not host or not place:
            raise InputError(f"${VARIABLE}: expected pairs such as `docker.io=mirror.example`, found `{pair}`")
        if host == reference.host:
            there = Reference.parse(f"{place}/{reference.repository}")
            return replace(reference, host=there.host, repository=there.repository)
    return reference


def located_name(repository: str, environ: Mapping[str, str] = os.environ) -> str:
    """:func:`located` for a repository's name, ``host/name``."""
    return located(Reference.parse(repository), environ).name
