"""Pins: the digest that each derivation became, recorded in the locks and held against every later build.

A pin says "this derivation is these bytes". It is a record, never an input: nothing is chosen by it, and no derivation
depends on it, so writing one never makes anything stale. Its use is that a team and its CI notice when the same
derivation becomes other bytes (which law 3 forbids), or when what they build is not what was committed.

========================  ==============================  =====================================================
the pin                   ``build``                       ``build --locked``
========================  ==============================  =====================================================
none                      written                         :class:`PinError`
same derivation, digest   nothing to do                   nothing to do
same derivation, another  :class:`PinError`, kept         :class:`PinError`
other derivation          replaced                        :class:`PinError`, with what changed where that is known
========================  ==============================  =====================================================

Never builds, never compares bytes (``verifying`` does), never prints.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..kernel.errors import PinError, StoreError
from ..kernel.paths import shown
from ..kernel.reporting import Reporter, Silent
from ..locks.directory import writing
from ..locks.lockfile import lock_path, read, write_all
from ..locks.nouns import Lock, Pin
from ..planning.plan import spec_differences

if TYPE_CHECKING:
    from ..deriving.derivation import ImageDerivation
    from ..planning.workspace import Workspace
    from ..project.loading import Environment
    from ..store import Store

__all__ = ["Locked", "Made", "check_pins", "check_planned", "pinned", "record_pins"]

_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}


_WORDLESS = "only what the derivation does not say in words"
_UNKNOWN = (
    "not known here, as the pinned one was not built here; it can be a copied file, the configuration, "
    "or flyte-build's own rules (another version of it)"
)


class Locked(Protocol):
    """What has a folder of locks: a :class:`flyte_build.planning.workspace.Workspace`."""

    @property
    def lockfiles(self) -> Path: ...


class Made(Protocol):
    """An image with the derivation it came from: a :class:`flyte_build.store.BuiltImage`."""

    @property
    def environment(self) -> str: ...
    @property
    def platform(self) -> str: ...
    @property
    def derivation(self) -> str: ...
    @property
    def manifest_digest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Planned:
    """An image that is to be made: what it will be is not known yet."""

    environment: str
    platform: str
    derivation: str


def record_pins(workspace: Locked, built: Sequence[Made], reporter: Reporter | None = None) -> list[str]:
    """Write the pins of ``built`` into their locks; the environments whose lock was rewritten.

    Only what changed is written, each file whole, and what another build pinned meanwhile stays. An environment without
    a lock, or without this platform in it, is passed over. A folder that may not be written to is a warning: the images
    are there, only the record is not. Raises :class:`PinError` where a pin of the same derivation has another digest
    (then nothing is written), :class:`LockError` for a lock that cannot be read, :class:`StoreError` for a full disk.
    """
    with writing(workspace.lockfiles):
        changed: dict[str, Lock] = {}
        for environment, images in _by_environment(built).items():
            lock = read(workspace.lockfiles, environment)
            if lock is None:
                continue
            pins = dict(lock.pins)
            for image in images:
                if image.platform in lock.platforms:
                    _refuse_other_bytes(workspace.lockfiles, pins.get(image.platform), image)
                    pins[image.platform] = Pin(image.derivation, image.manifest_digest)
            if pins != lock.pins:
                changed[environment] = replace(lock, pins=pins)
        try:
            written = write_all(workspace.lockfiles, changed.values())
        except StoreError as e:
            if not isinstance(e.__cause__, OSError) or e.__cause__.errno not in _FORBIDDEN:
                raise
            (reporter or Silent()).warn(
                f"{workspace.lockfiles}: may not be written to: the digests of {_names(changed)} are not pinned"
            )
            return []
    if written:
        (reporter or Silent()).note(f"pins written to {shown(workspace.lockfiles)} ({len(written)}): commit them")
    return written


def check_pins(workspace: Locked, built: Sequence[Made], *, strict: bool = False, store: Store | None = None) -> None:
    """Hold ``built`` against the pins in their locks. Raises :class:`PinError` for the first that differs.

    ``strict`` (``--locked``): every image must have a pin of its own derivation. ``store``, where given, tells what
    changed since a pin of another derivation was written, if it still knows that derivation.
    """
    for environment, images in _by_environment(built).items():
        lock = read(workspace.lockfiles, environment)
        for image in images:
            pin = lock.pins.get(image.platform) if lock is not None else None
            _refuse_other_bytes(workspace.lockfiles, pin, image)
            if strict and (pin is None or pin.derivation != image.derivation):
                raise _not_pinned(workspace.lockfiles, pin, image, _changes(pin, image, store))


def check_planned(workspace: Locked, planned: Iterable[ImageDerivation], store: Store) -> None:
    """What ``--locked`` can refuse before anything is fetched or built: an image without a pin of its derivation.

    ``store`` tells what changed since a pin was written, if it still knows that derivation. Raises :class:`PinError`.
    """
    for image in planned:
        lock = read(workspace.lockfiles, image.environment)
        pin = lock.pins.get(image.platform) if lock is not None else None
        if pin is None or pin.derivation != image.hash:
            before = store.derivation(pin.derivation) if pin is not None else None
            changed = spec_differences(before["spec"], image.spec) if before is not None else [_UNKNOWN]
            found = Planned(image.environment, image.platform, image.hash)
            raise _not_pinned(workspace.lockfiles, pin, found, changed or [_WORDLESS])


def pinned(workspace: Workspace, environments: Sequence[Environment], platform: str) -> dict[str, str]:
    """Environment → manifest digest, of those whose pin on ``platform`` is of what they would be built from now.

    An environment without a pin, or with one of another derivation, is left out: its digest would be of another image.
    Raises :class:`LockError` where a lock is missing or stale.
    """
    locks = workspace.locks(environments)
    found = {}
    for image in workspace.derivations(environments, locks, platform):
        pin = locks[image.environment].pins.get(platform)
        if pin is not None and pin.derivation == image.hash:
            found[image.environment] = pin.digest
    return found


def _by_environment(built: Iterable[Made]) -> dict[str, list[Made]]:
    grouped: dict[str, list[Made]] = {}
    for image in built:
        grouped.setdefault(image.environment, []).append(image)
    return grouped


def _refuse_other_bytes(directory: Path, pin: Pin | None, image: Made) -> None:
    if pin is None or pin.derivation != image.derivation or pin.digest == image.manifest_digest:
        return
    path = lock_path(directory, image.environment)
    raise PinError(
        f"{image.environment} on {image.platform}: the image is not the one that {path} pins, though it is of the same "
        f"derivation ({pin.derivation}):\n  expected {pin.digest}\n  found    {image.manifest_digest}",
        hint="one derivation has one image: find the difference with `flyte-build verify FILE --env "
        f"{image.environment}`, which rebuilds it from nothing. If that gives the digest found here, the pin is wrong: "
        "restore the lock from version control, or delete the pin and build again",
    )


def _not_pinned(directory: Path, pin: Pin | None, image: Made | Planned, changed: Sequence[str]) -> PinError:
    path = lock_path(directory, image.environment)
    way_out = "`flyte-build build` without --locked writes the new pin: review it in the lock, and commit it"
    digest = getattr(image, "manifest_digest", None)
    if pin is None:
        return PinError(
            f"{image.environment} on {image.platform}: {path} has no pin for this platform, and --locked "
            f"accepts no image that is not pinned" + (f"; found {digest}" if digest else ""),
            hint=way_out,
        )
    return PinError(
        f"{image.environment} on {image.platform}: the pin in {path} is of another derivation, and --locked accepts "
        f"only what was pinned:\n  pinned  {pin.derivation} → {pin.digest}\n"
        f"  found   {image.derivation}" + (f" → {digest}" if digest else "") + f"\n  changed: {'; '.join(changed)}",
        hint=way_out,
    )


def _changes(pin: Pin | None, image: Made, store: Store | None) -> list[str]:
    """What differs between two derivations, as far as the store remembers the pinned one."""
    from ..diffing.comparison import difference
    from ..diffing.stored import read_derivation
    from ..diffing.wording import brief, several

    if pin is not None and store is not None:
        with store.reading():
            before = read_derivation(store, pin.derivation, "the pin", files=False)
            after = read_derivation(store, image.derivation, "the image", files=False)
        if before is not None and after is not None:
            return several(brief(difference(before, after))) or [_WORDLESS]
    return [_UNKNOWN]


def _names(changed: Mapping[str, Lock]) -> str:
    return ", ".join(sorted(changed))
