"""The Simple Repository API's pages → files. Pure: text in, values out.

JSON (PEP 691, sizes and upload times from PEP 700) and HTML (PEP 503; yanked files PEP 592, metadata
PEP 658 and PEP 714). What an index does not say is ``None``: sizes and upload times are often absent,
hashes sometimes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from ...kernel.documents import parse

__all__ = ["ACCEPT", "IndexFile", "Page", "parse_html", "parse_json"]

# PEP 691, "Version + Format Selection": JSON first, both kinds of HTML accepted.
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
_VERSION = '"api-version"'
_KNOWN = re.compile(rf'{_VERSION}\s*:\s*"1\.')
# Braces before a file's name that may open its object: those of what stands before the name in it.
_NESTED = 8


@dataclass(frozen=True, slots=True)
class IndexFile:
    """One file as an index states it.

    ``size`` in bytes; ``upload_time`` as written (RFC 3339); ``yanked`` the reason, ``""`` for none given,
    ``None`` when it is not yanked; ``metadata``: the index serves ``url + ".metadata"`` (PEP 658), with
    ``metadata_sha256`` where stated. ``index`` is the position of its index in the settings.
    """

    name: str
    url: str = field(repr=False)
    sha256: str | None = None
    size: int | None = None
    upload_time: str | None = None
    requires_python: str | None = None
    yanked: str | None = None
    metadata: bool = False
    metadata_sha256: str | None = None
    index: int = 0


def _hex(value: object) -> str | None:
    return value.lower() if isinstance(value, str) and re.fullmatch(r"[0-9a-fA-F]{64}", value) else None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def parse_json(text: str, base: str, index: int = 0) -> list[IndexFile]:
    """The files of a JSON page at ``base``; raises ``ValueError`` saying what is not as PEP 691 has it."""
    raw = parse(text)
    if not isinstance(raw, dict) or not isinstance(raw.get("files"), list):
        raise ValueError('expected an object with "files"')
    version = str(_object(raw.get("meta")).get("api-version", "1.0"))
    if not version.startswith("1."):
        raise ValueError(f"the Simple API's version {version} is not known, only 1.x is")
    return [_file(entry, base, index) for entry in raw["files"]]


def _file(entry: object, base: str, index: int = 0) -> IndexFile:
    if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
        raise ValueError('expected files with a "filename"')
    if not isinstance(entry.get("url"), str):
        raise ValueError(f"{entry['filename']}: expected a url")
    metadata = entry.get("core-metadata", entry.get("dist-info-metadata", False))
    yanked = entry.get("yanked", False)
    size = entry.get("size")
    return IndexFile(
        name=entry["filename"],
        url=urljoin(base, entry["url"]),
        sha256=_hex(_object(entry.get("hashes")).get("sha256")),
        size=size if isinstance(size, int) and size >= 0 else None,
        upload_time=_text(entry.get("upload-time")),
        requires_python=_text(entry.get("requires-python")) or None,
        yanked=(yanked if isinstance(yanked, str) else "") if yanked else None,
        metadata=bool(metadata),
        metadata_sha256=_hex(metadata.get("sha256")) if isinstance(metadata, dict) else None,
        index=index,
    )


class Page:
    """A page as an index answered it, at ``base``; read as far as somebody asks. May be asked by several threads."""

    def __init__(self, text: str, base: str, *, html: bool) -> None:
        self._text, self.base, self._html = text, base, html
        self._files: tuple[IndexFile, ...] | None = None

    def files(self) -> tuple[IndexFile, ...]:
        """All of them; raises as :func:`parse_json` and :func:`parse_html` do."""
        text, read = self._text, parse_html if self._html else parse_json
        if self._files is None:
            self._files = tuple(read(text, self.base))
            self._text = ""
        return self._files

    def named(self, name: str) -> tuple[IndexFile, ...]:
        """Those called ``name``. Projects have thousands of files, so where that can be told the others are not read;
        what is amiss with them is not said then. Raises as :meth:`files` does."""
        text = self._text
        if not self._html and _KNOWN.match(text, max(text.find(_VERSION), 0)):
            entries = list(_objects(text, json.dumps(name)))
            if entries and all(_object(e).get("filename") == name and "url" in _object(e) for e in entries):
                return tuple(_file(entry, self.base) for entry in entries)
        return tuple(file for file in self.files() if file.name == name)


def _objects(text: str, value: str) -> Iterator[object]:
    """The innermost objects around each ``value`` in a JSON text, as far as that can be told without reading it all."""
    decoder, after = json.JSONDecoder(), 0
    while (at := text.find(value, after)) >= 0:
        after = at + 1
        begin = at
        for _ in range(_NESTED):
            begin = text.rfind("{", 0, begin)
            if begin < 0:
                break
            try:
                _, end = decoder.raw_decode(text, begin)
            except (ValueError, RecursionError):
                continue
            if end > at:
                yield parse(text[begin:end])
                after = end
                break


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base: str | None = None
        self.anchors: list[Mapping[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "base" and self.base is None:
            self.base = dict(attrs).get("href")
        elif tag == "a":
            self.anchors.append(dict(attrs))


def parse_html(text: str, base: str, index: int = 0) -> list[IndexFile]:
    """The files that an HTML page at ``base`` links to (PEP 503); links to other things are passed over.

    Raises ``ValueError`` for what the parser gives up on.
    """
    parser = _Links()
    try:
        parser.feed(text)
    except AssertionError as e:  # what it has for declarations that SGML has not
        raise ValueError(str(e)) from None
    root = urljoin(base, parser.base) if parser.base else base
    files = []
    for a in parser.anchors:
        href = a.get("href")
        if not href:
            continue
        url, fragment = urldefrag(urljoin(root, href))
        name = unquote(urlsplit(url).path.rsplit("/", 1)[-1])
        if not name.endswith((".whl", ".tar.gz", ".zip")):
            continue
        stated = re.match(r"sha256=([0-9a-fA-F]{64})", fragment)
        metadata: Any = a.get("data-core-metadata", a.get("data-dist-info-metadata"))
        files.append(
            IndexFile(
                name=name,
                url=url,
                sha256=stated[1].lower() if stated else None,
                upload_time=a.get("data-upload-time"),
                requires_python=a.get("data-requires-python") or None,
                yanked=(a["data-yanked"] or "") if "data-yanked" in a else None,
                metadata=bool(metadata) and metadata != "false",
                metadata_sha256=_hex((metadata or "").partition("sha256=")[2]),
                index=index,
            )
        )
    return files
