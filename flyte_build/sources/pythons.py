"""The relocatable CPythons that uv installs: which there are, and an archive by its hash. Fetched by uv itself.

uv knows names, places and hashes, from its own table or from `python-downloads-json-url`, and how to reach them:
mirrors (`UV_PYTHON_INSTALL_MIRROR`, `python-install-mirror` of uv.toml and [tool.uv]), proxies, certificates,
credentials. It never keeps more than one build of a version in its table, so a locked build that it no longer has is
asked for beside those that it has, by the date in its name. Never chooses a version.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from ..deriving.nouns import Artifact
from ..kernel.errors import FetchError, InputError, RefusedError
from ..kernel.platforms import Platform
from ..kernel.pythons import is_threaded, plain
from ..kernel.scratch import scratch
from ..locks.nouns import LockedPython
from ..store.files import hash_file
from .places import Place

if TYPE_CHECKING:
    import subprocess

__all__ = ["Build", "PythonLocator", "bring", "builds"]

_ARCHITECTURE: dict[str, str] = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_FINAL = re.compile(r"3\.\d+\.\d+")
_DATE = re.compile(r"(?<=[+/])(20\d{6})(?=[-/])")
_WAY_OUT = (
    "uv takes Pythons from a mirror that UV_PYTHON_INSTALL_MIRROR or `python-install-mirror` (uv.toml, [tool.uv]) "
    "names, or from those that UV_PYTHON_DOWNLOADS_JSON_URL lists"
)


@dataclass(frozen=True, slots=True)
class Build:
    """One archive that uv knows. ``version`` is CPython's, ``date`` the day of the build (``YYYYMMDD``) if told."""

    key: str
    version: str
    url: str

    @property
    def file(self) -> str:
        return unquote(urlsplit(self.url).path.rsplit("/", 1)[-1])

    @property
    def date(self) -> str | None:
        found = _DATE.search(self.file) or _DATE.search(unquote(self.url))
        return found[1] if found else None


def builds(minor: str, platform: Platform, root: Path) -> list[Build]:
    """The final releases of ``minor`` (``"3.12"``; ``"3.13t"``: free-threaded) for ``platform`` that uv can install,
    newest first.

    ``root`` is the project, whose settings of uv hold. Raises :class:`RefusedError` without a uv,
    :class:`InputError` where uv's configuration cannot be read.
    """
    done = _uv(["python", "list", minor, "--all-versions", "--all-platforms", "--all-arches", *_JSON], root, {})
    if done.returncode:
        raise InputError(f"uv does not say which Pythons there are: {_said(done)}", hint=_WAY_OUT)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    machine = _ARCHITECTURE[platform]
    wanted = ("cpython", "linux", machine, "gnu", "freethreaded" if is_threaded(minor) else "default")
    found = [
        Build(row["key"], row["version"], row["url"])
        for row in rows
        if tuple(row.get(key) for key in ("implementation", "os", "arch", "libc", "variant")) == wanted
        and _FINAL.fullmatch(row["version"])
        and row["version"].startswith(f"{plain(minor)}.")
        and str(row.get("url", "")).endswith(".tar.gz")
    ]
    return sorted(found, key=lambda b: tuple(map(int, b.version.split("."))), reverse=True)


def bring(build: Build, root: Path, into: Path, sha256: str | None = None) -> LockedPython:
    """Have uv fetch ``build`` into the folder ``into``, as a file named by its SHA-256 (hex).

    uv holds it against the hash of its own table, or against ``sha256``. Raises :class:`FetchError` for
    other bytes, and where it cannot be had, with uv's words.
    """
    into.mkdir(parents=True, exist_ok=True)
    with scratch(into) as folder:
        cache = folder / "archives"
        more = {"UV_PYTHON_CACHE_DIR": str(cache), "TMPDIR": str(folder)}
        if sha256 is not None:
            listed = folder / "pythons.json"
            listed.write_text(json.dumps({build.key: _row(build, sha256)}), encoding="utf-8")
            more["UV_PYTHON_DOWNLOADS_JSON_URL"] = str(listed)
        options = ["--install-dir", str(folder / "installed"), "--no-bin", "--no-progress"]
        done = _uv(["python", "install", build.key, *options], root, more)
        if done.returncode:
            words = _said(done)
            if "Hash mismatch" in words:
                raise FetchError(
                    f"{build.file}: not the archive that is expected: {words}",
                    hint="the mirror holds another build under this name; name one that holds the builds themselves",
                )
            raise FetchError(f"{build.file}: uv could not fetch it: {words}", hint=_WAY_OUT)
        archives = [path for path in cache.iterdir() if path.is_file()] if cache.is_dir() else []
        if len(archives) != 1:
            raise FetchError(f"{build.file}: this uv keeps no archive of what it installs", hint="pip install -U uv")
        found, size = hash_file(archives[0])
        os.replace(archives[0], into / found)
    return LockedPython(build.version, build.file, size, found)


class PythonLocator:
    """Locked archives, from ``folder`` where :func:`bring` left one, else fetched by uv as ``root``'s settings say."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder

    def places(self, artifact: Artifact) -> Iterator[Place]:
        python = artifact.source
        if not isinstance(python, LockedPython):
            return
        path = self._folder / python.sha256
        try:
            if not path.is_file():
                bring(_known(python, self._root), self._root, self._folder, python.sha256)
            yield Place(path.absolute().as_uri())
        finally:
            # The store has it now.
            path.unlink(missing_ok=True)

    def close(self) -> None:
        return None


def _known(python: LockedPython, root: Path) -> Build:
    """The locked build, by its own place or beside the builds that this uv has."""
    platform: Platform = "linux/arm64" if "aarch64" in python.file else "linux/amd64"
    every = builds(python.minor, platform, root)
    for build in every:
        if build.file == python.file:
            return build
    date = _DATE.search(python.file)
    for build in every:
        if date is not None and build.date is not None and build.file.endswith(python.file[date.end() :]):
            head, _, _ = build.url.rpartition("/")
            url = f"{head.replace(build.date, date[1])}/{quote(python.file)}"
            return Build(build.key.replace(build.version, python.version), python.version, url)
    raise FetchError(f"{python.file}: uv knows no place that has CPython {python.version}", hint=_WAY_OUT)


def _row(build: Build, sha256: str) -> dict[str, Any]:
    """What uv reads: a list of downloads has one such object by key."""
    major, minor, patch = map(int, build.version.split("."))
    family = build.key.split("-")[3]
    return {
        "name": "cpython",
        "arch": {"family": family, "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        "url": build.url,
        "sha256": sha256,
        "variant": "freethreaded" if "+freethreaded" in build.key else None,
    }


_JSON = ("--only-downloads", "--output-format", "json")


def _uv(arguments: list[str], root: Path, more: dict[str, str]) -> subprocess.CompletedProcess[str]:
    # A build that fetches no Python needs neither.
    import subprocess

    from .indexes.settings import uv_binary

    binary = uv_binary()
    if binary is None:
        raise RefusedError(
            "uv is not installed, which knows where relocatable Pythons are",
            hint='run `pip install uv`, or set `base = "registry"` in [tool.flyte-build]',
        )
    env = {k: v for k, v in os.environ.items() if k not in ("UV_PYTHON", "UV_PYTHON_INSTALL_DIR", "VIRTUAL_ENV")} | more
    command = [binary, "--color", "never", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=root, check=False)


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """uv's words on one line, the last of its causes last."""
    lines = [line.strip().removeprefix("error: ") for line in done.stderr.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(("warning:", "Installing", "Downloading")))
