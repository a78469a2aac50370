"""A suite's Release file: fetched, its signature verified, and checked to be what was asked for.

Everything below it (indices, packages) is trusted through its SHA-256 sums. A signature alone is not
enough: a mirror could serve last year's file, or another suite's, correctly signed. Hence the checks of
Valid-Until, Date, Origin, Label and Codename, as apt makes them (apt-secure(8); Debian repository format,
"Release files").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from debian import deb822

from ...kernel.errors import FetchError
from ...sources.mirrors import Mirror
from .download import get, shown
from .signature import verified_text

__all__ = ["IndexFile", "Release", "expiry", "fetch_release", "parse_release"]

_LABELS = {"debian": "Debian", "debian-security": "Debian-Security"}
_LIMIT = 16 << 20
_SKEW = timedelta(hours=1)
_SAID = 200


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A file below ``dists/<suite>/``: path, size in bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Release:
    """A verified Release file. ``suite`` is the name it was asked by; ``date`` and ``valid_until`` are in UTC."""

    mirror: Mirror
    suite: str
    codename: str
    date: datetime
    valid_until: datetime | None
    architectures: tuple[str, ...]
    components: tuple[str, ...]
    by_hash: bool
    all_apart: bool
    files: Mapping[str, IndexFile]

    @property
    def url(self) -> str:
        return _folder(self.mirror, self.suite)


def fetch_release(client: httpx.Client, mirror: Mirror, suite: str, rings: Sequence[Path]) -> Release:
    """The Release file of ``suite`` at ``mirror``, verified.

    Raises :class:`.download.NotOffered` when the mirror has no such suite, :class:`FetchError` for a bad
    signature, for a file of another archive or suite, and for all that goes wrong on the way.
    """
    url = f"{_folder(mirror, suite)}/InRelease"
    text = verified_text(get(client, url, limit=_LIMIT), rings, shown(url))
    return parse_release(text, mirror, suite)


def parse_release(text: str, mirror: Mirror, suite: str) -> Release:
    """The Release whose verified text is ``text``; raises :class:`FetchError` where it is not the one asked for."""
    what = f"{shown(_folder(mirror, suite))}/InRelease"
    fields = deb822.Release(text)
    origin, label = fields.get("Origin"), fields.get("Label")
    # What other people's sources call themselves is theirs to say: their own key has signed it.
    if mirror.archive in _LABELS and (origin, label) != ("Debian", _LABELS[mirror.archive]):
        raise FetchError(
            f"{what}: expected the archive Debian, {_LABELS[mirror.archive]}, found {_cut(origin)}, {_cut(label)}",
            hint="the mirror carries another archive; see FLYTE_BUILD_DEBIAN_MIRROR",
        )
    codename, named = fields.get("Codename", ""), fields.get("Suite", "")
    if not suite.endswith("/") and not _is(suite, codename, named):
        raise FetchError(
            f"{what}: expected the suite {suite}, found {_cut(codename)} ({_cut(named)})",
            hint="the mirror answers with another suite's Release file: configure another, or ask who runs it",
        )
    date = _instant(fields, "Date", what)
    if date is None:
        raise FetchError(f"{what}: expected a Date, found none")
    files = {}
    for entry in fields.get("SHA256") or []:
        try:
            name, size, sha256 = entry["name"], int(entry["size"]), entry["sha256"].lower()
        except (KeyError, ValueError, TypeError, AttributeError):
            raise FetchError(
                f"{what}: SHA256: expected a hash, a size and a name a line, found {_cut(entry)}"
            ) from None
        files[name] = IndexFile(name, size, sha256)
    architectures = tuple(fields.get("Architectures", "").split())
    return Release(
        mirror=mirror,
        suite=suite,
        codename=codename,
        date=date,
        valid_until=_instant(fields, "Valid-Until", what),
        architectures=architectures,
        # The security archive calls its components updates/main, but lays out its indices as main.
        components=tuple(c.removeprefix("updates/") for c in fields.get("Components", "").split()),
        by_hash=fields.get("Acquire-By-Hash", "").lower() == "yes",
        all_apart="all" in architectures and "Packages" not in fields.get("No-Support-for-Architecture-all", ""),
        files=files,
    )


def _folder(mirror: Mirror, suite: str) -> str:
    """Where a suite lies; one whose name ends in a slash is a path (a flat repository)."""
    if suite.endswith("/"):
        return "/".join(part for part in (mirror.url, suite.strip("./")) if part)
    return f"{mirror.url}/dists/{suite}"


def expiry(release: Release, now: datetime) -> str | None:
    """Why ``release`` is no good at ``now`` (Valid-Until passed, Date in the future), ``None`` when it is good."""
    if release.valid_until is not None and release.valid_until < now:
        return f"expired on {_shown(release.valid_until)}, and it is {_shown(now)}"
    if release.date > now + _SKEW:
        return f"is of {_shown(release.date)}, in the future: it is {_shown(now)} by this machine's clock"
    return None


def _is(asked: str, codename: str, suite: str) -> bool:
    if asked in (codename, suite):
        return True
    # The Release file of bookworm-updates says Codename: bookworm-updates today, and said bookworm once.
    return asked.endswith("-updates") and suite.endswith("-updates") and codename == asked.removesuffix("-updates")


def _instant(fields: Mapping[str, str], name: str, what: str) -> datetime | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        at = parsedate_to_datetime(value.replace("UTC", "+0000"))
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        raise FetchError(f"{what}: {name}: expected a date, found `{_cut(value)}`") from None


def _cut(value: object) -> str:
    """What a field says, as far as a message has room for it."""
    text = str(value)
    return text if len(text) <= _SAID else f"{text[:_SAID]}…"


def _shown(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")
