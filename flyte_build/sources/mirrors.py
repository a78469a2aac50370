"""Where Debian's files come from: configuration, never part of a lock (law 1).

Asked in this order:

1. ``FLYTE_BUILD_DEBIAN_MIRROR`` and ``FLYTE_BUILD_DEBIAN_SECURITY_MIRROR``: one URL or several, separated by
   spaces, each the folder that holds ``dists`` and ``pool``;
2. the host's own apt sources, where they carry Debian (:mod:`flyte_build.sources.apt_sources`);
3. the snapshot archive, or one of the same shape named by ``FLYTE_BUILD_DEBIAN_SNAPSHOT`` (``off`` for none).

A mirror of the main archive whose path ends in ``/debian`` is also asked for the security archive at the
sibling path ``/debian-security``, where mirrors that have it keep it. Proxies are apt's where apt has one
configured, else the usual environment variables. This module trusts nothing and verifies nothing: its
callers hold a signature or a hash against whatever a URL answers.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import quote, urlsplit

import httpx

from ..kernel import tracing
from ..kernel.errors import InputError, LockError
from ..locks.lockfile import LockedDeb
from .apt_sources import Archive, HostApt, Skipped, read_host_apt

__all__ = [
    "MAIN_MIRROR",
    "SECURITY_MIRROR",
    "SNAPSHOT_MIRROR",
    "Archive",
    "Mirror",
    "Mirrors",
    "configured",
    "pool_urls",
]

MAIN_MIRROR = "FLYTE_BUILD_DEBIAN_MIRROR"
SECURITY_MIRROR = "FLYTE_BUILD_DEBIAN_SECURITY_MIRROR"
SNAPSHOT_MIRROR = "FLYTE_BUILD_DEBIAN_SNAPSHOT"

_SNAPSHOT = "https://snapshot.debian.org/archive"
_STAMP = "%Y%m%dT%H%M%SZ"
_TIMEOUT = httpx.Timeout(60, connect=10)


@dataclass(frozen=True, slots=True)
class Mirror:
    """One archive's root at one place. ``url`` has no trailing slash.

    ``where`` says who configured it. ``guessed`` mirrors may well not exist: that is worth no word.
    ``stamp`` is the instant of a snapshot, ``None`` for a living mirror.
    """

    url: str
    archive: str
    where: str
    guessed: bool = False
    stamp: str | None = None
    check_valid_until: bool = True


@dataclass(frozen=True, slots=True)
class Mirrors:
    """All configured places. ``snapshots`` is the root of a snapshot archive, or ``None``."""

    live: tuple[Mirror, ...]
    snapshots: str | None
    apt: HostApt = field(default_factory=HostApt)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The host's apt sources that are not used, and why."""
        return self.apt.skipped

    def of(self, archive: Archive) -> tuple[Mirror, ...]:
        """The living mirrors of ``archive``, in the order to ask them."""
        return tuple(m for m in self.live if m.archive == archive)

    def at(self, archive: Archive, stamp: str) -> Mirror | None:
        """``archive`` as it was at ``stamp`` (``YYYYMMDDTHHMMSSZ``); the snapshot archive redirects to the
        nearest state before it."""
        if self.snapshots is None:
            return None
        return Mirror(f"{self.snapshots}/{archive}/{stamp}", archive, "the snapshot archive", stamp=stamp)

    def pool_urls(self, deb: LockedDeb, snapshot: str) -> list[str]:
        """Where ``deb`` may lie, in order of preference: living mirrors, then the snapshot archive.

        Living mirrors drop superseded packages, the snapshot archive keeps them. ``snapshot`` is a lock's: the
        newest Date of its Release files. The state of that very instant was copied by the snapshot archive only some
        time afterwards, and asking for an instant gives the copy before it; so the day after is asked too,
        which has whatever the last push added.
        """
        archive: Archive = "debian-security" if deb.archive == "debian-security" else "debian"
        path = quote(deb.pool_path, safe="/+~")
        roots = [m.url for m in self.of(archive)]
        for stamp in (snapshot, _day_after(snapshot)):
            place = self.at(archive, stamp)
            if place is not None:
                roots.append(place.url)
        return [f"{root}/{path}" for root in dict.fromkeys(roots)]

    def mounts(self) -> dict[str, httpx.BaseTransport]:
        """``httpx`` mounts that send each mirror's requests through the proxy that apt has for it."""
        found: dict[str, httpx.BaseTransport] = {}
        for url in (*(m.url for m in self.live), *((self.snapshots,) if self.snapshots else ())):
            proxy = self.apt.proxy(url)
            if proxy is not None:
                parts = urlsplit(url)
                key = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
                found[key] = httpx.HTTPTransport(
                    verify=_trusted(), proxy=None if proxy == "DIRECT" else proxy, retries=2
                )
        return found

    def client(self) -> httpx.Client:
        """A client for these places: redirects, apt's or the environment's proxies, bounded waiting. Close it."""
        return httpx.Client(
            timeout=_TIMEOUT,
            follow_redirects=True,
            mounts=self.mounts(),
            verify=_trusted(),
            event_hooks=tracing.hooks(),
        )


def _trusted() -> ssl.SSLContext:
    """httpx's own, of the environment as it is."""
    return _context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=4)
def _context(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """What it trusts is read once a process: 25 ms of processor time."""
    return httpx.create_ssl_context()


def configured(environ: Mapping[str, str] | None = None, apt: HostApt | None = None) -> Mirrors:
    """The mirrors that the environment and the host's apt name.

    Raises :class:`InputError` for a variable that holds no http or https URL.
    """
    env = os.environ if environ is None else environ
    host = _host_apt() if apt is None else apt
    checked = host.check_valid_until
    live: list[Mirror] = []
    variables: tuple[tuple[Archive, str], ...] = (("debian", MAIN_MIRROR), ("debian-security", SECURITY_MIRROR))
    for archive, variable in variables:
        named = _urls(env, variable)
        live += [Mirror(url, archive, f"${variable}", check_valid_until=checked) for url in named]
    live += _siblings(live)
    from_apt = [
        Mirror(
            s.url,
            s.archive,
            s.where,
            check_valid_until=checked if s.check_valid_until is None else s.check_valid_until,
        )
        for s in host.sources
    ]
    live += from_apt + _siblings(from_apt)
    unique: dict[tuple[str, str], Mirror] = {}
    for mirror in live:
        unique.setdefault((mirror.archive, mirror.url), mirror)
    return Mirrors(tuple(unique.values()), _snapshots(env), host)


def pool_urls(deb: LockedDeb, snapshot: str) -> list[str]:
    """:meth:`Mirrors.pool_urls` of the configured mirrors."""
    return configured().pool_urls(deb, snapshot)


@lru_cache(maxsize=1)
def _host_apt() -> HostApt:
    return read_host_apt()


def _urls(env: Mapping[str, str], variable: str) -> list[str]:
    urls = env.get(variable, "").split()
    for url in urls:
        if not url.startswith(("http://", "https://")) or not urlsplit(url).hostname:
            raise InputError(
                f"${variable}: expected http or https URLs, found `{url}`",
                hint="name the folder that holds `dists` and `pool`, for example http://mirror.example/debian",
            )
    return [url.rstrip("/") for url in urls]


def _snapshots(env: Mapping[str, str]) -> str | None:
    value = env.get(SNAPSHOT_MIRROR, "")
    if value.lower() in ("off", "none", "no"):
        return None
    named = _urls(env, SNAPSHOT_MIRROR)
    if len(named) > 1:
        raise InputError(f"${SNAPSHOT_MIRROR}: expected one URL, found {len(named)}")
    return named[0] if named else _SNAPSHOT


def _siblings(mirrors: list[Mirror]) -> list[Mirror]:
    known = {m.url for m in mirrors if m.archive == "debian-security"}
    roots = [m for m in mirrors if m.archive == "debian" and m.url.endswith("/debian")]
    return [
        Mirror(
            m.url + "-security",
            "debian-security",
            f"next to {m.where}",
            guessed=True,
            check_valid_until=m.check_valid_until,
        )
        for m in roots
        if m.url + "-security" not in known
    ]


def _day_after(stamp: str) -> str:
    try:
        at = datetime.strptime(stamp, _STAMP)
    except ValueError:
        raise LockError(
            f"snapshot: expected an instant such as 20260102T030405Z, found `{stamp}`",
            hint="the lock was edited by hand; run `flyte-build lock` again",
        ) from None
    return (at + timedelta(days=1)).strftime(_STAMP)
