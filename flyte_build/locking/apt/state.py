"""Which state of the archive a lock is made from: the Release files of a suite, its updates and its security.

A cut-off date is honoured exactly where that is possible: by living mirrors whose Release files are all older
than it, else by the snapshot archive at that instant. Where neither can be had, the lock is made from the
living state with a warning that says its date: refusing would make a cut-off meant for Python packages
(a cooling-off period, say) withhold Debian's security updates, and the lock records which state it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx

from ...kernel.cutoff import parse_cutoff
from ...kernel.errors import FetchError
from ...kernel.reporting import Reporter
from ...sources.mirrors import SECURITY_MIRROR, SNAPSHOT_MIRROR, Archive, Mirror, Mirrors
from .download import NotOffered, shown
from .release import Release, expiry, fetch_release

__all__ = ["State", "find_state"]

_STAMP = "%Y%m%dT%H%M%SZ"
_COPIED_WITHIN = (12, 4, 0)
_ROLLING = frozenset({"sid", "unstable", "experimental"})


@dataclass(frozen=True, slots=True)
class State:
    """The Release files to lock from, in the order suite, updates, security; ``snapshot`` is their instant."""

    releases: tuple[Release, ...]
    snapshot: str


def find_state(
    suite: str,
    mirrors: Mirrors,
    client: httpx.Client,
    rings: Sequence[Path],
    cutoff: str | None,
    reporter: Reporter,
    now: Callable[[], datetime],
) -> State:
    """The state of ``suite`` to lock from. Raises :class:`FetchError` when no place can give a verified one."""
    until = parse_cutoff(cutoff) if cutoff is not None else None
    finder = _Finder(suite, mirrors, client, rings, reporter, now())
    releases: list[Release] | None = None
    trouble: FetchError | None = None
    if any(not m.guessed for m in mirrors.of("debian")) or mirrors.snapshots is None:
        try:
            releases = finder.living()
        except FetchError as e:
            if mirrors.snapshots is None:
                raise
            trouble = e
    if releases is None:
        return _from_snapshot_only(finder, until, trouble)
    newest = max(r.date for r in releases)
    if until is not None and until < newest:
        stamp = until.strftime(_STAMP)
        try:
            return State(tuple(finder.snapshot(until)), stamp)
        except FetchError as e:
            reporter.warn(
                f"Debian {suite}: its state of {until:%Y-%m-%d %H:%M} UTC cannot be had, that of "
                f"{newest:%Y-%m-%d %H:%M} UTC is used: the mirrors have no other, and the snapshot archive "
                f"cannot be used ({e.message}); ${SNAPSHOT_MIRROR} can name another"
            )
    return State(tuple(releases), newest.strftime(_STAMP))


def _from_snapshot_only(finder: _Finder, until: datetime | None, trouble: FetchError | None) -> State:
    try:
        releases = finder.snapshot(until or finder.now)
    except FetchError as e:
        if trouble is None:
            raise FetchError(
                f"Debian {finder.suite}: no mirror is configured, and the snapshot archive cannot be used: {e.message}",
                hint="set FLYTE_BUILD_DEBIAN_MIRROR (and FLYTE_BUILD_DEBIAN_SECURITY_MIRROR) to a mirror you can reach",
            ) from None
        raise trouble from None
    if trouble is not None:
        finder.reporter.warn(f"{trouble.message}; the snapshot archive is used instead")
    at = until or max(r.date for r in releases)
    return State(tuple(releases), at.strftime(_STAMP))


@dataclass(frozen=True, slots=True)
class _Finder:
    suite: str
    mirrors: Mirrors
    client: httpx.Client
    rings: Sequence[Path]
    reporter: Reporter
    now: datetime

    def _parts(self) -> list[tuple[Archive, str]]:
        parts: list[tuple[Archive, str]] = [("debian", self.suite)]
        if self.suite not in _ROLLING:
            parts += [("debian", f"{self.suite}-updates"), ("debian-security", f"{self.suite}-security")]
        return parts

    def living(self) -> list[Release]:
        """The Release files of the living mirrors."""
        found = [self._first(archive, name) for archive, name in self._parts()]
        return [r for r in found if r is not None]

    def snapshot(self, until: datetime) -> list[Release]:
        """The newest Release files of the snapshot archive with a Date up to ``until``, and not expired then.

        The archive is copied hours after a Release file is dated, so the state that mirrors had at ``until`` may be
        found under a later instant only; the last guess is ``until`` itself, which is never too new.
        """
        found = [self._newest(archive, name, until) for archive, name in self._parts()]
        return [r for r in found if r is not None]

    def _newest(self, archive: Archive, name: str, until: datetime) -> Release | None:
        problem: str | None = None
        for hours in _COPIED_WITHIN:
            try:
                release = self._copied(archive, name, until + timedelta(hours=hours))
            except NotOffered:
                if name.endswith("-updates"):
                    return None
                raise
            late = release.date > until
            problem = f"is of {release.date}, after {until}" if late else expiry(release, until)
            if problem is None:
                return release
            if not late:
                break
        raise FetchError(f"{shown(release.url)}/InRelease {problem}")

    def _copied(self, archive: Archive, name: str, at: datetime) -> Release:
        mirror = self.mirrors.at(archive, at.strftime(_STAMP))
        if mirror is None:
            raise FetchError(f"no snapshot archive: ${SNAPSHOT_MIRROR} is off")
        return fetch_release(self.client, mirror, name, self.rings)

    def _check_clock(self, release: Release) -> None:
        problem = expiry(release, self.now)
        if problem is None:
            return
        message = f"{shown(release.url)}/InRelease {problem}"
        if release.mirror.check_valid_until:
            raise FetchError(
                message,
                hint="the mirror is no longer updated, or this machine's clock is wrong; "
                "apt's own `Acquire::Check-Valid-Until` is honoured",
            )
        self.reporter.warn(f"{message}; apt is configured here not to check that")

    def _first(self, archive: Archive, name: str) -> Release | None:
        """The Release of ``name`` at the first mirror that has a good one; ``None`` where updates are not offered."""
        problems: list[tuple[Mirror, FetchError]] = []
        for mirror in self.mirrors.of(archive):
            try:
                release = fetch_release(self.client, mirror, name, self.rings)
                self._check_clock(release)
            except FetchError as e:
                problems.append((mirror, e))
                continue
            for other, problem in problems:
                if not isinstance(problem, NotOffered):
                    self.reporter.warn(
                        f"{problem.message}; {shown(release.mirror.url)} is used instead of {other.where}"
                    )
            return release
        if name.endswith("-updates") and all(isinstance(e, NotOffered) for _, e in problems):
            self.reporter.note(f"Debian {name} is not offered by the configured mirrors")
            return None
        told = [e for m, e in problems if not m.guessed] or [e for _, e in problems]
        if len(told) == 1:
            raise told[0]
        detail = "\n".join(e.message for e in told) or None
        variable = SECURITY_MIRROR if archive == "debian-security" else "FLYTE_BUILD_DEBIAN_MIRROR"
        raise FetchError(
            f"Debian {name}: none of {len(told)} configured mirrors has a good Release file"
            if told
            else f"Debian {name}: no mirror of the {archive} archive is configured",
            hint=f"set ${variable} to a mirror of the {archive} archive",
            detail=detail,
        )
