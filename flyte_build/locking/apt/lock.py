"""The closure of an image's Debian packages, as the lock holds it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx

from ...kernel import tracing
from ...kernel.errors import FetchError, InputError, ResolutionError
from ...kernel.paths import cache_dir
from ...kernel.reporting import Reporter
from ...kernel.waiting import beside, wait_for
from ...locks.lockfile import LockedDeb
from ...sources.apt_third_parties import ThirdParty
from ...sources.mirrors import Mirrors, configured
from .granted import for_dpkg
from .index import Index, fetch_index, index_paths
from .locked import locked_deb
from .omissions import ESSENTIAL_REASON, UNUSED_ESSENTIAL
from .package import Package, Relation, installed_packages
from .release import Release
from .signature import keyrings
from .solve import Omitted, solve
from .state import State, find_state
from .third_parties import Beside, other_listings
from .universe import Listing, Universe

__all__ = ["BASE", "Debian", "DebianResolution", "lock_debian"]

COMPONENTS = ("contrib", "non-free", "non-free-firmware")
"""Besides ``main``."""
# Indices that are fetched and read at once; of two that are large, one is read while the other arrives.
_AT_ONCE = 4
BASE = (
    *("base-files", "base-passwd", "bash", "ca-certificates", "coreutils", "dash", "findutils", "grep", "gzip"),
    *("libc-bin", "libgcc-s1", "libstdc++6", "netbase", "sed", "tar", "tzdata"),
)
"""The base besides its Python: what a shell, a TLS client and compiled wheels expect of any Debian."""
BESIDE = ("libcrypt1", "libexpat1", "zlib1g")
"""What Debian's Python brings along, and wheels (PEP 600) or a relocatable Python itself take from the system."""

_REQUEST = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?::([a-z0-9-]+))?(?:=([0-9A-Za-z.+:~-]+))?")
_HINT = "Debian packages are asked for as `name` or `name=version`"


@dataclass(frozen=True, slots=True)
class DebianResolution:
    """What one image gets of Debian. ``snapshot`` is the instant of the archive's state, ``YYYYMMDDTHHMMSSZ``.

    ``debs`` are sorted by name; ``base`` tells the base's closure, which never depends on what else was asked
    for, so that images share its layer. ``omitted`` is what was cut and why; ``notes`` are sentences for a person.
    """

    suite: str
    snapshot: str
    debs: tuple[LockedDeb, ...]
    omitted: tuple[Omitted, ...]
    notes: tuple[str, ...]


class Debian:
    """Locks several images from one state of each suite: a Release file is asked for once.

    ``mirrors``, ``http``, ``cache`` (the folder of verified indices), ``rings`` (keyring files) and ``now``
    default to the host's; an ``http`` that is handed in is used with the proxies it has. ``ahead`` are suites and
    architectures that will be asked for: their indices are fetched and read side by side. ``components`` are those
    that are allowed besides main, ``others`` other people's sources. Close it, or use it as a context manager.
    """

    def __init__(
        self,
        *,
        cutoff: str | None,
        reporter: Reporter,
        http: httpx.Client | None = None,
        mirrors: Mirrors | None = None,
        cache: Path | None = None,
        rings: Sequence[Path] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        ahead: Collection[tuple[str, str]] = (),
        components: Sequence[str] = (),
        others: Sequence[ThirdParty] = (),
    ) -> None:
        if unknown := [name for name in components if name not in COMPONENTS]:
            raise InputError(
                f"apt-components: expected some of {', '.join(COMPONENTS)}, found {', '.join(unknown)}",
                hint="`main` is always there; other people's packages are `apt-sources`",
            )
        self._components, self._others = ("main", *dict.fromkeys(components)), tuple(others)
        self._cutoff, self._reporter, self._now, self._rings = cutoff, reporter, now, rings
        self._mirrors = configured() if mirrors is None else mirrors
        self._http = self._mirrors.client() if http is None else http
        self._owned = http is None
        self._cache = cache_dir() / "debian-indices" if cache is None else cache
        self._states: dict[str, State] = {}
        self._universes: dict[tuple[str, str], Universe] = {}
        self._ahead, self._stop, self._room = ahead, threading.Event(), threading.Semaphore(_AT_ONCE)
        self._begun: dict[tuple[str, str], list[Future[Index]]] = {}

    def __enter__(self) -> Debian:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Call off what is being fetched, and close the HTTP client, unless it was handed in."""
        self._stop.set()
        if self._owned:
            self._http.close()

    def lock(
        self,
        suite: str,
        architecture: str,
        python: str | None,
        packages: Sequence[str],
        scripts: Callable[[Sequence[LockedDeb], str], bool] | None = None,
    ) -> DebianResolution:
        """The base with Python ``python`` (``"3.11"``; ``None``: one that is no package of Debian's) and ``packages``
        for ``architecture`` (``amd64``, ``arm64``). Where ``scripts`` says of what was chosen (and the state's
        snapshot) that dpkg has to run its scripts, nothing is omitted that these may call.

        Raises :class:`InputError` for a request that is no package name, :class:`ResolutionError` where there is
        no such package or no solution, :class:`FetchError` for all that cannot be fetched or verified, and
        :class:`RefusedError` where this host has nothing to verify with.
        """
        requests = [_request(text, architecture) for text in packages]
        state = self._state(suite)
        universe = self._universe(suite, architecture, state)
        wanted = _base(universe, python)
        with tracing.timed("solver", f"Debian: {len(wanted) + len(requests)} packages asked for"):
            base = solve(universe, wanted)
            asked = [_definite(universe, r, base.chosen) for r in requests]
            # Debian's policy (3.8) lets every package take the Essential ones for granted.
        granted = [Relation(name) for name in universe.essential if name not in UNUSED_ESSENTIAL]
        more = solve(universe, [*asked, *granted] if asked else [], given=base.chosen)
        if asked and scripts and scripts([locked_deb(p, base=False) for p in more.chosen], state.snapshot):
            more = solve(universe, [*asked, *for_dpkg(universe, base.omitted)], given=base.chosen, omissions={})
        chosen = {p.name: p for p in (*base.chosen, *more.chosen)}
        debs = [locked_deb(p, base=True) for p in base.chosen] + [locked_deb(p, base=False) for p in more.chosen]
        omitted = _omitted(universe, chosen.keys(), (*base.omitted, *more.omitted))
        return DebianResolution(
            suite=suite,
            snapshot=state.snapshot,
            debs=tuple(sorted(debs, key=lambda d: d.name)),
            omitted=omitted,
            notes=tuple(_notes(state, requests, asked)),
        )

    def add(self, suite: str, architecture: str, status: Sequence[str], packages: Sequence[str]) -> DebianResolution:
        """``packages`` with what they need, on top of a system whose dpkg database (``status``, texts of
        ``/var/lib/dpkg``) says what is installed; none of that is changed.

        Raises as :meth:`lock` does, and :class:`ResolutionError` where something installed would have to be replaced.
        """
        requests = [_request(text, architecture) for text in packages]
        there = installed_packages(status, architecture)
        state = self._state(suite)
        universe = self._universe(suite, architecture, state)
        asked = [_definite(universe, r, there) for r in requests]
        try:
            # A system that dpkg made has all that its packages name; what is added to it is complete, too.
            more = solve(universe, asked, given=there, omissions={})
        except ResolutionError as e:
            raise ResolutionError(
                e.message,
                hint="what the base has installed is never replaced: take a newer base, or install them in the base",
                detail=e.detail,
            ) from None
        debs = sorted((locked_deb(p, base=False) for p in more.chosen), key=lambda d: d.name)
        return DebianResolution(suite, state.snapshot, tuple(debs), (), tuple(_notes(state, requests, asked)))

    def _state(self, suite: str) -> State:
        if not re.fullmatch(r"[a-z]+", suite):
            raise InputError(f"Debian suite: expected a name such as bookworm, found `{suite}`")
        if suite not in self._states:
            rings = keyrings() if self._rings is None else self._rings
            with self._reporter.work(f"Debian {suite}: Release files"):
                self._states[suite] = find_state(
                    suite, self._mirrors, self._http, rings, self._cutoff, self._reporter, self._now
                )
        return self._states[suite]

    def _universe(self, suite: str, architecture: str, state: State) -> Universe:
        key = (suite, architecture)
        if key not in self._universes:
            begun = self._begin(key, state)
            for other in self._ahead:
                if other[0] == suite:
                    with suppress(FetchError):  # who asks for it is told
                        self._begin(other, state)
            listings: list[Listing] = []
            with self._reporter.work(f"Debian {suite}/{architecture}: package indices", len(begun)) as progress:
                for one in begun:
                    wait_for([one])
                    listings.append(one.result())
                    progress.advance()
            names = frozenset[str]().union(*(listing.names for listing in listings))
            for source in self._others:
                if source.serves(architecture):
                    found = other_listings(self._http, source, architecture, self._cache, self._now())
                    listings += [Beside(one, names) for one in found]
            title = ", ".join(["+".join(self._components), *dict.fromkeys(one.name for one in self._others)])
            self._universes[key] = Universe(listings, f"{suite} ({title}, {architecture})")
        return self._universes[key]

    def _begin(self, key: tuple[str, str], state: State) -> list[Future[Index]]:
        """Have the indices of a suite and architecture fetched and read."""
        if key not in self._begun:
            todo = [
                (r, path)
                for r in state.releases
                for component in self._components
                if component == "main" or component in r.components
                for path in index_paths(r, component, key[1])
            ]
            self._begun[key] = [beside(partial(self._fetched, release, path, key[1])) for release, path in todo]
        return self._begun[key]

    def _fetched(self, release: Release, path: str, architecture: str) -> Index:
        with self._room:
            return fetch_index(self._http, release, path, architecture, self._cache, self._stop)


def lock_debian(
    suite: str,
    architecture: str,
    python: str,
    packages: Sequence[str],
    *,
    cutoff: str | None,
    reporter: Reporter,
    http: httpx.Client | None = None,
) -> DebianResolution:
    """:meth:`Debian.lock` for one image."""
    with Debian(cutoff=cutoff, reporter=reporter, http=http) as debian:
        return debian.lock(suite, architecture, python, packages)


def _request(text: str, architecture: str) -> Relation:
    m = _REQUEST.fullmatch(text)
    if m is None:
        raise InputError(f"expected the name of a Debian package, found `{text}`", hint=_HINT)
    if m[2] is not None and m[2] not in (architecture, "any", "native"):
        raise InputError(f"`{text}`: expected a package for {architecture}, found {m[2]}", hint=_HINT)
    return Relation(m[1], "=" if m[3] else None, m[3])


def _base(universe: Universe, python: str | None) -> list[Relation]:
    if python is None:
        return [Relation(name) for name in (*BASE, *BESIDE)]
    if not re.fullmatch(r"3\.\d+", python):
        raise InputError(f"Python: expected a version such as 3.11, found `{python}`")
    interpreter = f"python{python}"
    if not universe.versions(interpreter):
        found = [n for n in universe.names_like("python3.") if re.fullmatch(r"python3\.\d+", n)]
        raise ResolutionError(
            f"{universe.title}: expected {interpreter} for the image's Python, found {' '.join(found) or 'none'}",
            hint="Python 3.11 is in bookworm, 3.13 in trixie, 3.14 in forky; others are relocatable builds on them",
        )
    return [Relation(name) for name in (*BASE, interpreter, f"lib{interpreter}-stdlib")]


def _definite(universe: Universe, request: Relation, base: Sequence[Package]) -> Relation:
    """``request``, or the one package that provides it, as apt does; raises where several could be meant."""
    if universe.versions(request.name) or any(request.matched_by(p) for p in base):
        return request
    names = list(dict.fromkeys(p.name for p in universe.providers(request.name) if request.matched_by(p)))
    if len(names) > 1:
        raise ResolutionError(
            f"{universe.title}: `{request.name}` is a virtual package, provided by {', '.join(names)}",
            hint="ask for one of them by name",
        )
    return Relation(names[0]) if names else request


def _omitted(universe: Universe, present: Collection[str], cut: Sequence[Omitted]) -> tuple[Omitted, ...]:
    """One entry a package: those that were cut, and the Essential ones that nothing led to."""
    found: dict[str, Omitted] = {}
    for one in cut:
        if one.name not in present:
            named_by = {*one.named_by, *(found[one.name].named_by if one.name in found else ())}
            found[one.name] = Omitted(one.name, one.reason, tuple(sorted(named_by)))
    for name in universe.essential:
        if name not in present and name not in found:
            found[name] = Omitted(name, ESSENTIAL_REASON, ())
    return tuple(found[name] for name in sorted(found))


def _notes(state: State, requests: Sequence[Relation], asked: Sequence[Relation]) -> list[str]:
    newest = max(r.date for r in state.releases)
    parts = ", ".join(r.suite for r in state.releases)
    notes = [f"Debian of {newest:%Y-%m-%d %H:%M} UTC: {parts}"]
    notes += [
        f"`{request}` is provided by {found.name}"
        for request, found in zip(requests, asked, strict=True)
        if request != found
    ]
    return notes
