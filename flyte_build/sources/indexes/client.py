"""The client of package indexes: what files a project has, what a wheel requires, where a locked file lies.

Answers are kept for the life of the client; a wheel's metadata is kept on disk by the wheel's SHA-256,
where it can never be out of date. Where a file was seen when it was locked is kept as well, as a hint
that saves reading a project's page; it is no part of a lock and holds only under the same settings.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock
from urllib.parse import unquote, urlsplit

import httpx
from packaging.utils import canonicalize_name

from ...kernel.documents import is_number
from ...kernel.errors import ArtifactError, FetchError
from ...kernel.reporting import Reporter, Silent
from ...kernel.scratch import scratch
from . import index_cache as remembered
from . import metadata as wheel_metadata
from .http import Transport, redact, without_userinfo
from .metadata import WheelMetadata
from .pages import ACCEPT, IndexFile, Page, parse_html
from .settings import IndexSettings

__all__ = ["IndexClient", "Location", "WheelMetadata"]


@dataclass(frozen=True, slots=True)
class Location:
    """Where a file may be had: ``url`` (``https:``, ``http:`` or ``file:``), and the index it is from, for messages.

    ``stated``: the index itself states the hash that was asked for. Without it the bytes are as good a
    guess as the name; the fetcher verifies either way (law 5).
    """

    url: str = field(repr=False)
    index: str
    stated: bool


class IndexClient:
    """Asks the indexes of ``settings``. Every method may raise :class:`FetchError` (``GET <url>: 503 …``)."""

    def __init__(
        self,
        settings: IndexSettings,
        environ: Mapping[str, str] | None = None,
        *,
        attempts: int = 4,
        pause: float = 0.5,
        given_up: dict[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self._transport = Transport(settings, environ, attempts=attempts, pause=pause, given_up=given_up)
        self._pages: dict[str, Page] = {}
        self._lock = Lock()

    def close(self) -> None:
        self._transport.close()

    def stream(self, url: str, headers: Mapping[str, str] | None = None) -> AbstractContextManager[httpx.Response]:
        """GET ``url`` with the index's credentials and certificates; the body is the caller's to read and verify."""
        return self._transport.stream("GET", url, headers)

    # -- projects --------------------------------------------------------------------------------------

    def files(self, project: str) -> tuple[IndexFile, ...]:
        """Every file of ``project`` on every index, in the indexes' order; empty when none has it."""
        name = canonicalize_name(project)
        sources = enumerate(files for _, files in self._sources(name))
        return tuple(replace(f, index=at) for at, files in sources for f in files() if _of(f.name, name))

    def _sources(self, project: str, file: str = "") -> Iterator[tuple[str, Callable[[], tuple[IndexFile, ...]]]]:
        """Every index with its files of ``project``, each asked by itself; those called ``file``, if that is given."""
        name = canonicalize_name(project)
        for index in self.settings.indexes:
            yield redact(index.url), partial(self._page, f"{index.url.rstrip('/')}/{name}/", file)
        for link in self.settings.find_links:
            yield redact(link), partial(self._linked, link, file)

    def _page(self, url: str, file: str = "") -> tuple[IndexFile, ...]:
        bare, _ = without_userinfo(url)
        if urlsplit(bare).scheme == "file":
            return self._local(Path(unquote(urlsplit(bare).path)))
        with self._lock:
            page = self._pages.get(url)
        if page is None:
            response = self._transport.get(bare, {"Accept": ACCEPT})
            if response.status_code not in (200, 404):
                raise self._status(response)
            page = _page_of(response)
        try:
            found = page.named(file) if file else page.files()
        except (ValueError, AttributeError, TypeError, AssertionError, RecursionError) as e:
            raise FetchError(
                f"GET {redact(page.base)}: not a page of the Simple API (PEP 503, PEP 691): {e}",
                hint="is this URL the root of a package index?",
            ) from None
        with self._lock:
            self._pages[url] = page
        return found

    def _status(self, response: httpx.Response) -> FetchError:
        words = f"{response.request.method} {redact(str(response.request.url))}: {response.status_code} "
        hint = None
        if response.status_code in (401, 403):
            hint = "give the index's credentials in its URL, in UV_INDEX_<NAME>_USERNAME/_PASSWORD, or in ~/.netrc"
        return FetchError(words + response.reason_phrase, hint=hint)

    def _linked(self, link: str, file: str = "") -> tuple[IndexFile, ...]:
        if "://" in link and not link.startswith("file:"):
            return self._page(link, file)
        path = Path(unquote(urlsplit(link).path) if link.startswith("file:") else link).expanduser()
        return self._local(path)

    def _local(self, path: Path) -> tuple[IndexFile, ...]:
        files = [path] if path.suffix == ".whl" else sorted(path.glob("*.whl")) if path.is_dir() else []
        if path.suffix == ".html" and path.is_file():
            return tuple(parse_html(path.read_text(encoding="utf-8"), path.absolute().as_uri()))
        return tuple(IndexFile(f.name, f.absolute().as_uri(), size=f.stat().st_size) for f in files if f.is_file())

    # -- wheels ----------------------------------------------------------------------------------------

    def metadata_of(self, files: Sequence[IndexFile], reporter: Reporter | None = None) -> list[WheelMetadata]:
        """:meth:`metadata` of all ``files``, in parallel, in their order."""
        with (reporter or Silent()).work("reading wheels' metadata", len(files)) as progress:
            with ThreadPoolExecutor(max_workers=min(12, max(1, len(files)))) as pool:
                out = []
                for found in pool.map(self.metadata, files):
                    out.append(found)
                    progress.advance()
                return out

    def metadata(self, file: IndexFile) -> WheelMetadata:
        """Hash, size and requirements of a wheel, from as few bytes as the index allows.

        A hash that the index does not state is computed from the whole file. Raises
        :class:`ArtifactError` when the file is not a wheel.
        """
        if file.sha256 is not None:
            known = remembered.read_metadata(file.sha256)
            if known is not None:
                remembered.remember_place(self.settings, file.sha256, file.url)
                return known
        try:
            sha256, size, text = self._read_metadata(file)
        except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, EOFError) as e:
            raise ArtifactError(f"{redact(file.url)}: not a wheel: {str(e).strip(chr(39))}") from None
        requires, python = wheel_metadata.parse(text)
        found = WheelMetadata(sha256, size, requires, python)
        remembered.write_metadata(found)
        remembered.remember_place(self.settings, sha256, file.url)
        return found

    def _read_metadata(self, file: IndexFile) -> tuple[str, int, str]:
        parts = urlsplit(file.url)
        if parts.scheme == "file":
            return self._whole(Path(unquote(parts.path)), file)
        if file.sha256 is not None and file.size is not None and file.metadata:
            response = self._transport.get(file.url + ".metadata")
            digest = hashlib.sha256(response.content).hexdigest()
            if response.status_code == 200 and file.metadata_sha256 in (None, digest):
                return file.sha256, file.size, response.content.decode("utf-8")
        if file.sha256 is not None and (ranged := self._by_ranges(file, file.sha256)) is not None:
            return file.sha256, *ranged
        with scratch() as folder:
            path = Path(folder, "wheel")
            self._download(file.url, path)
            return self._whole(path, file)

    def _by_ranges(self, file: IndexFile, sha256: str) -> tuple[int, str] | None:
        found = self._tail(file.url)
        if found is None:
            return None
        whole, tail = found
        if file.size not in (None, whole):
            raise FetchError(
                f"{redact(file.url)}: the index states {file.size} bytes, the file has {whole}",
                hint="the index is inconsistent; tell whoever runs it, or configure another",
            )
        if len(tail) == whole:
            _verify(file, hashlib.sha256(tail).hexdigest())

        def read_range(start: int, stop: int) -> bytes:
            response = self._transport.get(file.url, {"Range": f"bytes={start}-{stop - 1}"})
            if response.status_code != 206:
                raise self._status(response)
            return response.content

        text, listed = wheel_metadata.with_entries(whole, tail, read_range)
        remembered.write_entries(sha256, listed)
        return whole, text

    def _tail(self, url: str) -> tuple[int, bytes] | None:
        """The file's size and last bytes; ``None`` where the server gives whole files only."""
        with self._transport.stream("GET", url, {"Range": f"bytes=-{wheel_metadata.TAIL}"}) as response:
            size = _total(response) if response.status_code == 206 else _length(response)
            if response.status_code == 206 or (
                response.status_code == 200 and 0 <= (size or -1) <= wheel_metadata.TAIL
            ):
                try:
                    body = response.read()
                except httpx.TransportError:
                    return None
                return (size, body) if size is not None else None
            if response.status_code in (401, 403, 404, 410):
                raise self._status(response)
            if response.status_code == 200:
                return None
        # Some servers know ranges from the start only (RFC 9110, 14.1.2 makes suffixes no duty).
        size = _length(self._transport.get(url, method="HEAD"))
        if size is None:
            return None
        start = max(0, size - wheel_metadata.TAIL)
        answer = self._transport.get(url, {"Range": f"bytes={start}-{size - 1}"})
        return (size, answer.content) if answer.status_code == 206 else None

    def _download(self, url: str, path: Path) -> None:
        with self._transport.stream("GET", url) as response, path.open("wb") as out:
            if response.status_code != 200:
                raise self._status(response)
            try:
                for chunk in response.iter_bytes(1 << 20):
                    out.write(chunk)
            except httpx.TransportError as e:
                raise FetchError(f"GET {redact(url)}: {str(e) or type(e).__name__}") from None

    def _whole(self, path: Path, file: IndexFile) -> tuple[str, int, str]:
        try:
            with path.open("rb") as f:
                sha256 = hashlib.file_digest(f, "sha256").hexdigest()
                size = f.tell()
                _verify(file, sha256)
                return sha256, size, wheel_metadata.from_archive(size, b"", lambda a, b: _pread(path, a, b))
        except OSError as e:
            raise FetchError(f"{path}: cannot be read: {e}") from None

    # -- locations -------------------------------------------------------------------------------------

    def locate(self, file_name: str, sha256: str) -> Iterator[Location]:
        """Where the wheel ``file_name`` with this hash may be had, likeliest first; empty when nowhere.

        Places whose index states the hash come before those whose index states none; a file of this
        name with another hash is never given. An index that cannot be asked is passed over, and its
        :class:`FetchError` raised when no other place is left to try.
        """
        seen: set[str] = set()
        hint = remembered.place(self.settings, sha256)
        if hint is not None:
            seen.add(hint)
            yield Location(hint, "as locked", True)
        places: list[tuple[IndexFile, str]] = []
        trouble: FetchError | None = None
        for name, files in self._sources(file_name.split("-")[0], file_name):
            try:
                places += [(f, name) for f in files() if f.name == file_name and f.sha256 in (None, sha256)]
            except FetchError as e:
                trouble = trouble or e
        for file, name in sorted(places, key=lambda place: place[0].sha256 is None):
            if file.url not in seen:
                seen.add(file.url)
                yield Location(file.url, name, file.sha256 is not None)
        if trouble is not None:
            raise trouble

    def nowhere(self, file_name: str, sha256: str) -> FetchError:
        """The error for a file that :meth:`locate` led to nothing: what was asked for, and what there is."""
        others = sorted({f.sha256 for f in self.files(file_name.split("-")[0]) if f.name == file_name and f.sha256})
        asked = ", ".join(redact(i.url) for i in self.settings.indexes) or "no index"
        found = f"it has sha256 {', '.join(others)} there" if others else "no index has a file of this name"
        return FetchError(
            f"{file_name}: expected sha256 {sha256}, {found}; asked {asked} ({self.settings.origin})",
            hint="configure the index it was locked from, or lock again with `flyte-build lock --upgrade`",
        )


def _pread(path: Path, start: int, stop: int) -> bytes:
    with path.open("rb") as f:
        f.seek(start)
        return f.read(stop - start)


def _verify(file: IndexFile, sha256: str) -> None:
    if file.sha256 not in (None, sha256):
        raise FetchError(
            f"{redact(file.url)}: the index states sha256 {file.sha256}, the file has {sha256}",
            hint="nothing was taken: try again, and if it stays so, tell whoever runs the index, or configure another",
        )


def _of(file_name: str, project: str) -> bool:
    """Whether a wheel is the project's; a folder of links holds others' too. Of other files the name cannot tell."""
    return not file_name.endswith(".whl") or canonicalize_name(file_name.split("-")[0]) == project


def _page_of(response: httpx.Response) -> Page:
    html = response.status_code != 200 or "json" not in response.headers.get("content-type", "")
    return Page(response.text if response.status_code == 200 else "", str(response.url), html=html)


def _length(response: httpx.Response) -> int | None:
    value = response.headers.get("content-length", "")
    return int(value) if is_number(value) else None


def _total(response: httpx.Response) -> int | None:
    total = response.headers.get("content-range", "").rpartition("/")[2]
    return int(total) if is_number(total) else None
