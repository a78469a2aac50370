"""A folder of wheels → those of it that the SDK's builder installs for a package. Part of the SDK's edge.

The builder installs the package with the folder as a place to find wheels, and forces the folder's own wheel of it in
the end: so that is the newest version there, and of the other wheels those that it requires. What else lies in the
folder, older versions included, is left alone. Reads file names and METADATA; runs nothing.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from email import message_from_string
from email.policy import compat32
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from ..kernel.errors import LoadError

__all__ = ["wheels_of"]

_CHECKOUT = (
    "`with_local_v2()` is for a checkout of the SDK, and installs the wheels that `make dist` builds there; leave it "
    "out, and the image has the flyte that you have"
)


def wheels_of(folder: Path, package: str, owner: str) -> list[Path]:
    """The wheels for ``package``, sorted; more than one of a distribution where they are for several platforms.

    Raises :class:`LoadError` where the folder has none of it, or a wheel that cannot be read; ``owner`` names the
    environment.
    """
    held: dict[NormalizedName, dict[Version, list[Path]]] = {}
    for file in sorted(folder.glob("*.whl")):
        try:
            name, version, _, _ = parse_wheel_filename(file.name)
        except InvalidWheelFilename as e:
            raise LoadError(f"{owner}: {file}: {e}") from None
        held.setdefault(name, {}).setdefault(version, []).append(file)
    wanted = canonicalize_name(package)
    if wanted not in held:
        raise LoadError(
            f"{owner}: {folder} holds no wheel of `{package}`",
            hint=_CHECKOUT
            if wanted == "flyte"
            else f"build it there first: `uv build --wheel --out-dir {folder}` in the folder of its sources; or ask "
            f"for a released one: with_pip_packages({package!r})",
        )
    chosen: dict[NormalizedName, list[Path]] = {}
    pending = [wanted]
    while pending:
        name = pending.pop()
        if name in chosen or name not in held:
            continue
        versions = held[name]
        # As installers have it, a pre-release only where there is nothing else.
        newest = max(versions, key=lambda v: (not v.is_prerelease, v))
        chosen[name] = versions[newest]
        pending += [required for file in chosen[name] for required in _required(file, owner)]
    return sorted(file for files in chosen.values() for file in files)


def _required(file: Path, owner: str) -> Iterator[NormalizedName]:
    try:
        with zipfile.ZipFile(file) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1]
            text = archive.read(name).decode()
    except (OSError, ValueError, zipfile.BadZipFile) as e:
        raise LoadError(f"{owner}: {file}: cannot be read as a wheel: {e}") from None
    for line in message_from_string(text, policy=compat32).get_all("Requires-Dist", []):
        try:
            yield canonicalize_name(Requirement(str(line)).name)
        except InvalidRequirement:
            continue
