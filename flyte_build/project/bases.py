"""What an image starts from: ``flyte.Image``'s base → ours. Part of the SDK's edge, like ``images.py``.

| the SDK says | ours |
|---|---|
| ``from_debian_base()``, ``from_uv_script()``, Python 3.11, 3.13 or 3.14 | Debian assembled from locked .debs |
| the same, Python 3.10 or 3.12, or the setting ``base = "standalone"`` | Debian, and the CPython that uv installs |
| the same, ``python_version=(3, "14t")`` | Debian, and the free-threaded CPython that uv installs |
| the same, another Python, or the setting ``base = "registry"`` | the official slim image, locked by digest |
| ``from_base(reference)``, a string | that image, locked by digest |

Knows references, never a registry.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import flyte

from ..kernel.errors import RefusedError
from ..kernel.pythons import is_threaded, plain
from ..kernel.values import dataclass
from ..recipe import Base, DebianBase, RegistryBase

__all__ = ["HERE", "OFFICIAL", "SUITES", "ImageBase", "Prefer", "on_python", "pythons", "read_base"]

Prefer: TypeAlias = Literal["debian", "standalone", "registry"]

# The Debian release whose `python3` this is: packages.debian.org, package python3.
SUITES: Mapping[str, str] = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky"}
# The Pythons that uv's relocatable builds stand for, on the suite of the SDK's own base.
RELOCATABLE = ("3.10", "3.11", "3.12", "3.13", "3.14")
# Free-threaded builds (PEP 703) are had by name, from nowhere else, and never instead of another Python.
THREADED = ("3.13t", "3.14t")
_UNDER = "bookworm"
OFFICIAL = "docker.io/library/python:{python}-slim-bookworm"
"""The image that the SDK's own builder starts from, written out in full."""

# The released default image's reference is the SDK's way of writing `from_debian_base()`: .../flyte:py3.11-v2.12.1
_DEFAULT = re.compile(r"(?:.*/)?flyte:py(\d+\.\d+t?)-v(.+)")
_SLIM = re.compile(r"python:(\d+\.\d+t?)-slim-bookworm")


HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
"""The Python that imports the user's file."""


@dataclass(frozen=True, slots=True)
class ImageBase:
    """``python`` as :class:`~flyte_build.recipe.Recipe` has it; ``flyte``: the version that comes with the base;
    ``layers``: what the user put on it, as the SDK's objects."""

    base: Base
    python: str | None
    flyte: str | None
    layers: list[Any]


def read_base(image: flyte.Image, owner: str, prefer: Prefer) -> ImageBase:
    """The base of ``image``, whose fields are known; ``owner`` names the environment in errors.

    ``from_base`` has no say in which Python there is (the SDK notes the Python of whoever imports the file), so the
    base's own is taken. Raises :class:`RefusedError` where the default image was cloned with another Python.
    """
    layers = list(image._layers)
    reference = image.base_image or ""
    if default := _DEFAULT.fullmatch(reference):
        python, version = default[1], default[2]
    elif (slim := _SLIM.fullmatch(reference)) and (rest := _without_default_prefix(layers)) is not None:
        python, version, layers = slim[1], None, rest
    elif reference:
        return ImageBase(RegistryBase(reference), None, None, layers)
    else:
        raise RefusedError(
            f"{owner}: the image has neither a base nor a Dockerfile",
            hint="start from `flyte.Image.from_debian_base()` or `flyte.Image.from_base(…)`",
        )
    asked = ".".join(map(str, image.python_version))
    # `from_base` notes the Python of whoever imports the file, and a clone keeps the note: nobody asked for that one.
    if asked not in (python, HERE) and image._is_cloned:
        raise RefusedError(
            f"{owner}: the base is Python {python}, but the image was cloned with python_version {asked}",
            hint="give the version where the base is made: `from_debian_base(python_version=(3, 13))`",
        )
    if is_threaded(python) and python not in THREADED:
        raise RefusedError(
            f"{owner}: there is no free-threaded build of Python {plain(python)} to be had",
            hint=f'there are {" and ".join(THREADED)}: `from_debian_base(python_version=(3, "14t"))`',
        )
    return on_python(python, version, layers, prefer)


def on_python(python: str, version: str | None, layers: list[Any], prefer: Prefer) -> ImageBase:
    """The base that ``from_debian_base()`` means for a Python (``"3.13"``); the rest as :class:`ImageBase` has it."""
    suite = SUITES.get(python)
    if python in THREADED:
        return ImageBase(DebianBase(_UNDER, standalone=True), python, version, layers)
    if prefer != "registry" and python in RELOCATABLE and (suite is None or prefer == "standalone"):
        return ImageBase(DebianBase(_UNDER, standalone=True), python, version, layers)
    if suite is None or prefer == "registry":
        return ImageBase(RegistryBase(OFFICIAL.format(python=python), official=True), python, version, layers)
    return ImageBase(DebianBase(suite), python, version, layers)


def pythons(prefer: Prefer) -> tuple[str, ...]:
    """The Pythons that a base can have, those first that Debian itself has where it is Debian's that is taken."""
    return tuple(dict.fromkeys([*(SUITES if prefer == "debian" else ()), *RELOCATABLE]))


def _without_default_prefix(layers: list[Any]) -> list[Any] | None:
    """``layers`` less what ``from_debian_base(install_flyte=False)`` begins with, or ``None`` if it does not.

    That prefix is labels, the user, its folder, the venv's variables and two apt packages: our own base.
    Compared with what this SDK itself makes, so it is never recognised by a guess.
    """
    prefix = flyte.Image.from_debian_base(install_flyte=False)._layers
    return layers[len(prefix) :] if tuple(layers[: len(prefix)]) == prefix else None
