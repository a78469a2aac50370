"""Where bytes come from and go to: package indexes, Debian's archive, the project's registry; and the clock."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from ...kernel.errors import FlyteBuildError
from ...registry import Reference, Registry
from ...registry.credentials import Keychain
from ...settings import Settings, read_settings
from ...sources.indexes import IndexClient, configured
from ...sources.mirrors import configured as mirrors
from .lines import Line, bad, good, note, of_error

__all__ = ["of_places"]

AREA = "places"
# Tokens and signatures are refused by clocks that are further apart.
_APART = 120.0
_SUITE = "bookworm"


def of_places(root: Path) -> Iterator[Line]:
    """The lines about every place that the project in ``root`` is configured for; each is asked once."""
    try:
        settings = read_settings(root)
    except FlyteBuildError as e:
        yield of_error("project", "settings", e)
        settings = Settings()
    dates: list[float] = []
    yield from _indexes(root, dates)
    yield from _debian(dates)
    yield from _registry(settings)
    if dates:
        yield _clock(dates[0])


def _indexes(root: Path, dates: list[float]) -> Iterator[Line]:
    try:
        found = configured(root)
    except FlyteBuildError as e:
        yield of_error(AREA, "package index", e)
        return
    client = IndexClient(found, attempts=1)
    try:
        for index in found.indexes:
            shown = _shown(index.url)
            try:
                if index.url.startswith(("http:", "https:")):
                    with client.stream(f"{index.url.rstrip('/')}/flyte/") as answer:
                        status, headers = answer.status_code, answer.headers
                    _date(headers, dates)
                    if status in (401, 403):
                        yield bad(AREA, "package index", f"{shown} answers {status}", _CREDENTIALS, 6)
                        continue
                    if status >= 500:
                        yield bad(AREA, "package index", f"{shown} answers {status}", "ask whoever runs it", 6)
                        continue
                yield good(AREA, "package index", f"{shown} ({found.origin})")
            except FlyteBuildError as e:
                yield of_error(AREA, "package index", e)
            except httpx.HTTPError as e:
                yield bad(AREA, "package index", f"{shown}: {e}", _NETWORK, 6)
    finally:
        client.close()
    if not found.indexes:
        yield note(AREA, "package index", "none is configured: only local wheels can be had")


_CREDENTIALS = "give uv or pip its credentials (UV_INDEX_…_USERNAME, .netrc, the keyring)"
_NETWORK = "check the network, the proxy (HTTPS_PROXY) and the company's certificates (SSL_CERT_FILE)"


def _debian(dates: list[float]) -> Iterator[Line]:
    try:
        found = mirrors()
    except FlyteBuildError as e:
        yield of_error(AREA, "Debian's archive", e)
        return
    refusals = []
    with found.client() as client:
        for mirror in found.of("debian"):
            try:
                answer = client.head(f"{mirror.url}/dists/{_SUITE}/InRelease", timeout=10)
            except httpx.HTTPError as e:
                refusals.append(f"{_shown(mirror.url)}: {e}")
                continue
            _date(answer.headers, dates)
            if answer.status_code < 400:
                yield good(AREA, "Debian's archive", f"{_shown(mirror.url)} ({mirror.where})")
                return
            refusals.append(f"{_shown(mirror.url)} answers {answer.status_code}")
        if found.snapshots is not None:
            try:
                answer = client.head(f"{found.snapshots}/debian/", timeout=10)
                if answer.status_code < 500:
                    yield good(AREA, "Debian's archive", f"{_shown(found.snapshots)} (the snapshot archive)")
                    return
                refusals.append(f"{_shown(found.snapshots)} answers {answer.status_code}")
            except httpx.HTTPError as e:
                refusals.append(f"{_shown(found.snapshots)}: {e}")
    yield bad(
        AREA,
        "Debian's archive",
        "; ".join(refusals) or "no place is configured",
        "set FLYTE_BUILD_DEBIAN_MIRROR to a mirror of Debian (docs/bases.md)",
        6,
    )


def _registry(settings: Settings) -> Iterator[Line]:
    if settings.registry is None:
        yield note(AREA, "registry", "none is named: images stay on this machine", "`registry` of [tool.flyte-build]")
        return
    try:
        reference = Reference.parse(f"{settings.registry}/flyte-build-doctor:none")
        credentials = Keychain(os.environ, home=reference.host).find(reference.host, reference.repository)
        who = f"with credentials of {credentials.source}" if credentials is not None else "without credentials"
        with Registry(insecure=settings.insecure_registries, attempts=1, timeout=10.0) as registry:
            registry.head(reference)
        yield good(AREA, "registry", f"{settings.registry} answers, {who}")
    except FlyteBuildError as e:
        yield of_error(AREA, "registry", e)


def _now() -> float:
    return time.time()


def _date(headers: Mapping[str, str], dates: list[float]) -> None:
    try:
        dates.append(_now() - parsedate_to_datetime(headers["date"]).timestamp())
    except (KeyError, TypeError, ValueError):
        return


def _clock(apart: float) -> Line:
    if abs(apart) <= _APART:
        return good(AREA, "clock", "agrees with the servers that were asked")
    way = "ahead of" if apart > 0 else "behind"
    return bad(
        AREA,
        "clock",
        f"{abs(apart):.0f} seconds {way} the first server that was asked",
        "set the clock (NTP): signatures and tokens have dates",
        6,
    )


def _shown(url: str) -> str:
    """A URL without the credentials that may be in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
