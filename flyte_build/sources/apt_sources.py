"""What this host's own apt knows about Debian: its sources, its proxies, its checks.

apt's configuration is where an administrator has already written down which mirror is near and how
to reach it, so it is where our defaults come from. Only read, never run but for ``apt-config dump``
(which merges apt.conf.d the way apt does). What is not Debian's own archive (Ubuntu, third parties)
is skipped with a reason; a source kept by mistake costs one request, because nothing is believed
without a Debian signature.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from ..kernel.stanzas import stanzas as read_stanzas

__all__ = ["Archive", "HostApt", "Skipped", "Source", "read_host_apt"]

Archive: TypeAlias = Literal["debian", "debian-security"]

_RELEASES = (
    *("oldoldstable", "oldstable", "stable", "testing", "unstable", "sid"),
    *("buster", "bullseye", "bookworm", "trixie", "forky", "duke"),
)
_POCKET = re.compile(r"(-updates|-security|-backports(-sloppy)?|-proposed-updates|/updates)$")
_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<url>\S+)\s+(?P<suite>\S+)(?P<components>.*)")
_SETTING = re.compile(r'^(\S+) "(.*)";$')


@dataclass(frozen=True, slots=True)
class Source:
    """The root of one of Debian's archives on some mirror (no trailing slash), and which file says so.

    ``check_valid_until`` is apt's option of that name (sources.list(5)); ``None`` where not given.
    """

    url: str
    archive: Archive
    where: str
    check_valid_until: bool | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A source that is not used, and why."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class HostApt:
    """This host's apt: ``settings`` are apt.conf's, with keys in lower case (apt ignores case)."""

    sources: tuple[Source, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def check_valid_until(self) -> bool:
        """``Acquire::Check-Valid-Until`` (apt.conf(5)); true unless switched off."""
        return _truth(self.settings.get("acquire::check-valid-until")) is not False

    def proxy(self, url: str) -> str | None:
        """The proxy apt would use for ``url``: a URL, ``"DIRECT"``, or ``None`` where apt leaves it to the environment.

        The rule is apt-transport-http(1)'s: the host's own setting, then the scheme's; https falls back to http's.
        """
        parts = urlsplit(url)
        for scheme in dict.fromkeys((parts.scheme, "http")):
            for key in (f"acquire::{scheme}::proxy::{parts.hostname}", f"acquire::{scheme}::proxy"):
                value = self.settings.get(key)
                if value:
                    return "DIRECT" if value.upper() == "DIRECT" else value
        return None


@dataclass(frozen=True, slots=True)
class _Stanza:
    where: str
    urls: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str | None
    check_valid_until: bool | None


def read_host_apt(dump: str | None = None, root: Path = Path("/")) -> HostApt:
    """The host's apt configuration; empty where there is no apt.

    ``dump`` is the text of ``apt-config dump`` (run when not given), ``root`` the folder that stands for ``/``.
    Unreadable and malformed files are skipped with a reason, as a broken source must not stop a build that
    does not need it.
    """
    settings = _settings(_apt_config() if dump is None else dump)
    etc = PurePosixPath(settings.get("dir") or "/") / (settings.get("dir::etc") or "etc/apt")
    main = etc / (settings.get("dir::etc::sourcelist") or "sources.list")
    parts = etc / (settings.get("dir::etc::sourceparts") or "sources.list.d")

    skipped: list[Skipped] = []
    sources: dict[tuple[str, str], Source] = {}
    for path in _files(root, main, parts):
        shown = "/" + str(path.relative_to(root))
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
            stanzas = list(_deb822(text, shown) if path.suffix == ".sources" else _one_line(text, shown))
        except (OSError, ValueError) as e:
            skipped.append(Skipped(shown, f"cannot be read: {e}"))
            continue
        for stanza in stanzas:
            for source in _accept(stanza, root, skipped):
                sources.setdefault((source.archive, source.url), source)
    return HostApt(tuple(sources.values()), tuple(skipped), settings)


def _apt_config() -> str:
    try:
        done = subprocess.run(["apt-config", "dump"], capture_output=True, timeout=10, check=True, text=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout


def _settings(dump: str) -> dict[str, str]:
    found = (_SETTING.match(line) for line in dump.splitlines())
    return {m[1].lower(): m[2] for m in found if m}


def _files(root: Path, main: PurePosixPath, parts: PurePosixPath) -> Iterator[Path]:
    first = root / main.relative_to("/")
    if first.is_file():
        yield first
    folder = root / parts.relative_to("/")
    if folder.is_dir():
        # sources.list(5): the extensions .list and .sources, and names of letters, digits, "_", "-", "."
        names = (p for p in folder.iterdir() if re.fullmatch(r"[\w.-]+\.(list|sources)", p.name))
        yield from sorted(p for p in names if p.is_file())


def _truth(value: str | None) -> bool | None:
    """apt's notion of a truth value (StringToBool); ``None`` where it is none."""
    word = (value or "").lower()
    if word in ("no", "false", "without", "off", "disable", "0"):
        return False
    return True if word in ("yes", "true", "with", "on", "enable", "1") else None


def _one_line(text: str, path: str) -> Iterator[_Stanza]:
    for number, line in enumerate(text.splitlines(), 1):
        m = _ONE_LINE.fullmatch(line.split("#", 1)[0].strip())
        if m is None:
            continue
        options = dict(o.split("=", 1) for o in (m["options"] or "").split() if "=" in o)
        options = {k.lower(): v for k, v in options.items()}
        yield _Stanza(
            f"{path}:{number}",
            (m["url"],),
            (m["suite"],),
            tuple(m["components"].split()),
            options.get("signed-by"),
            _truth(options.get("check-valid-until")),
        )


def _deb822(text: str, path: str) -> Iterator[_Stanza]:
    for number, fields in enumerate(read_stanzas(text), 1):
        if "deb" not in fields.get("Types", "").split() or _truth(fields.get("Enabled")) is False:
            continue
        yield _Stanza(
            f"{path} (stanza {number})",
            tuple(fields.get("URIs", "").split()),
            tuple(fields.get("Suites", "").split()),
            tuple(fields.get("Components", "").split()),
            fields.get("Signed-By"),
            _truth(fields.get("Check-Valid-Until")),
        )


def _accept(stanza: _Stanza, root: Path, skipped: list[Skipped]) -> Iterator[Source]:
    key = (stanza.signed_by or "").strip()
    if key.startswith("/") and not PurePosixPath(key).name.startswith("debian-archive"):
        skipped.append(Skipped(stanza.where, f"not Debian: signed by {key}"))
        return
    if "main" not in stanza.components:
        skipped.append(Skipped(stanza.where, "not Debian: no component `main`"))
        return
    for written in stanza.urls:
        try:
            urls = _expand(written, root)
        except ValueError as e:
            skipped.append(Skipped(stanza.where, str(e)))
            continue
        for url in urls:
            for suite in stanza.suites:
                if _POCKET.sub("", suite) in _RELEASES or urlsplit(url).path.endswith(("/debian", "/debian-security")):
                    security = suite.endswith(("-security", "/updates"))
                    archive: Archive = "debian-security" if security else "debian"
                    yield Source(url, archive, stanza.where, stanza.check_valid_until)
                else:
                    skipped.append(Skipped(stanza.where, f"not Debian: suite `{suite}`"))


def _expand(url: str, root: Path) -> list[str]:
    """The HTTP roots that an URI of a source stands for; ``ValueError`` says why there are none."""
    scheme, _, rest = url.partition(":")
    if scheme in ("http", "https"):
        if "$(" in url:
            raise ValueError(f"`{url}` has a variable in it")
        return [url.rstrip("/")]
    if scheme == "mirror+file":
        # apt-transport-mirror(1): one URI a line, options after a tab. Debian's cloud images use this form.
        listing = root / rest.lstrip("/")
        try:
            lines = listing.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise ValueError(f"`{url}`: the list of mirrors cannot be read: {e}") from None
        return list(_http(line.split("\t")[0].strip() for line in lines))
    raise ValueError(f"`{scheme}:` sources are not supported, only http and https")


def _http(urls: Iterable[str]) -> Iterator[str]:
    return (url.rstrip("/") for url in urls if url.startswith(("http://", "https://")))
