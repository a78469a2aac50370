"""A lock's wheels as files under their own names: from the store, or fetched by hash into it.

Nothing is written that does not have the hash of the lock. A folder gets wheels and keeps whatever else it holds.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..deriving.derivation import Artifact
from ..kernel.errors import InputError
from ..kernel.reporting import Reporter
from ..locks.nouns import Lock, LockedWheel
from ..sources.fetching import fetch
from ..sources.places import Locator
from ..store import Store
from ..store.checked import damaged
from ..store.files import Refused, hash_file, share, storing

__all__ = ["fetched", "put_wheels", "wheels_of"]


def wheels_of(lock: Lock, platforms: Sequence[str]) -> list[LockedWheel]:
    """The wheels of these platforms, each once, sorted by name.

    Raises :class:`InputError` where two of one name have not the same bytes: no folder can hold both; and for an image
    of conda packages, of which they are the lesser part.
    """
    if any(lock.platforms[platform].conda for platform in platforms):
        raise InputError(
            f"{lock.environment}: its environment is of conda packages, which are no wheels",
            hint="its pixi.lock makes the same environment here: `pixi install --frozen`",
        )
    found: dict[str, LockedWheel] = {}
    for platform in platforms:
        for wheel in lock.platforms[platform].wheels:
            other = found.setdefault(wheel.file, wheel)
            if other.sha256 != wheel.sha256:
                raise InputError(
                    f"{wheel.file}: platforms have different wheels of this name ({other.sha256}, {wheel.sha256})",
                    hint="export one platform at a time with --platform",
                )
    return [found[file] for file in sorted(found)]


def fetched(
    wheels: Iterable[LockedWheel], store: Store, locator: Locator, reporter: Reporter
) -> dict[LockedWheel, Path]:
    """Each wheel with its path in ``store``, fetched if need be. Raises :class:`FetchError`."""
    artifacts = {w: Artifact(w.sha256, w.size, w.file, w) for w in wheels}
    paths = fetch(artifacts.values(), store, locator=locator, reporter=reporter)
    return {wheel: paths[wheel.sha256] for wheel in artifacts}


def put_wheels(folder: Path, wheels: Mapping[LockedWheel, Path], refused: Refused = storing) -> list[Path]:
    """Put the wheels into ``folder`` under their own names, sharing the store's bytes where the file system can.

    ``wheels``: their paths in a store. One that is there already with the right bytes stays. Each is whole or not
    there. Raises :class:`StoreError` where the folder cannot be written, in the words of ``refused``, and
    :class:`FetchError` where the store's bytes are not those of the lock any more.
    """
    out = []
    with refused(folder, None):
        folder.mkdir(parents=True, exist_ok=True)
        for wheel, source in wheels.items():
            target = folder / wheel.file
            out.append(target)
            if target.is_file() and hash_file(target)[0] == wheel.sha256:
                continue
            if (found := hash_file(source)[0]) != wheel.sha256:
                raise damaged(source.parents[2], source, found, wheel.file)
            with tempfile.TemporaryDirectory(prefix=".flyte-build-", dir=folder) as temporary:
                share(source, Path(temporary) / wheel.file, lambda _, needed: refused(folder, needed))
                os.replace(Path(temporary) / wheel.file, target)
            with suppress(OSError):
                target.chmod(0o444)
    return out
