"""What conda packages ask of the machine that runs them, held against what an image knows of it.

Channels say it as dependencies on packages that nobody installs (conda's documentation, "Managing virtual packages").
The C library is the image's own: one that is too old would end tasks at their first import. The driver, the kernel and
the processor are those of whatever machine a task will run on, so that a line says what is asked of them.
"""

from __future__ import annotations

import re

from ..kernel.errors import RefusedError, ResolutionError
from ..kernel.platforms import Platform
from ..recipe import CondaInstall
from .wheels import Target

__all__ = ["asked_of_machines", "held_against"]

_ELSEWHERE = ("__osx", "__win")
# Bare, these only say "Linux".
_SYSTEM = ("__linux", "__unix")


def held_against(conda: CondaInstall, target: Target) -> Target:
    """``target``, whose C library all packages of ``conda`` can do with.

    Raises :class:`ResolutionError` where one needs a newer one, and :class:`RefusedError` for one of another system.
    """
    found = ".".join(map(str, target.glibc))
    for package in conda.of(target.platform):
        for text in package.machine:
            name, stated = _read(text)
            if name in _ELSEWHERE:
                raise RefusedError(
                    f"{conda.lock}: {package.file} is for another system than Linux (`{text}`)",
                    hint="run `pixi lock` again: it is no package of the platform that the lock has it for",
                )
            if name == "__glibc" and stated is not None and not _holds(stated, found):
                raise ResolutionError(
                    f"{conda.lock}: {package.file} requires `{text}`, and the image's base has glibc {found} "
                    f"({target.platform})",
                    hint="take a base with a newer one (`from_debian_base(python_version=(3, 13))` is Debian 13, with "
                    f'2.41), or tell pixi of this one (`glibc = "{found}"` of the platform in the manifest, or '
                    f'`[system-requirements] libc = "{found}"`) and run `pixi lock`',
                )
    return target


def asked_of_machines(conda: CondaInstall, platform: Platform) -> str:
    """What the machines that run ``conda`` have to have, which no image brings; empty where that is nothing."""
    found: dict[str, list[str]] = {}
    for package in conda.of(platform):
        for text in package.machine:
            name, stated = _read(text)
            if name not in ("__glibc", *_ELSEWHERE) and (name not in _SYSTEM or stated is not None):
                found.setdefault(text, []).append(package.name)
    return ", ".join(f"`{text}` ({_few(names)})" for text, names in sorted(found.items()))


def _few(names: list[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _read(text: str) -> tuple[str, str | None]:
    """The name, and what is asked of the version (and of the build)."""
    from rattler import MatchSpec

    name = re.split(r"[\s\[=<>!~]", text, maxsplit=1)[0]
    spec = MatchSpec(text)
    return name, spec.version if spec.version not in (None, "*") else spec.build


def _holds(stated: str, found: str) -> bool:
    from rattler import Version, VersionSpec

    return bool(VersionSpec(stated).matches(Version(found)))
