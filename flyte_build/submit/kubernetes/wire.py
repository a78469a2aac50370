"""HTTP/1.1 (RFC 9112) as bytes: requests, and answers taken apart as they come. Of a server that is trusted, asked with
GET, POST or the like, and for no coding of what it says. Pure."""

from __future__ import annotations

import re

__all__ = ["Answer", "asking"]

_MOST_HEAD = 1 << 16
_FIRST = re.compile(r"HTTP/1\.([01]) ([0-9]{3})(?: (.*))?")
_LENGTH, _SIZE = re.compile(r"[0-9]{1,18}"), re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_TO_THE_END, _IN_CHUNKS = -1, -2
_TARGET = re.compile(r"/[\x21-\x7e]*")


def asking(method: str, target: str, head: bytes, body: bytes | None = None) -> bytes:
    """A request: ``head`` are its headers' lines, ``body`` is JSON. Raises ValueError for what is no target."""
    if not _TARGET.fullmatch(target):
        raise ValueError(f"expected a path, found {target[:80]!r}")
    length = b"" if body is None else b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return b"%s %s HTTP/1.1\r\n%s%s\r\n%s" % (method.encode(), target.encode(), head, length, body or b"")


class Answer:
    """``status`` (0 before it is known), ``reason``, ``headers`` (names in lower case), and what was said, in pieces.

    ``begun``: there was a byte of it; ``over``: it is whole; ``keep``: its connection is good for another request.
    """

    __slots__ = (
        "_chunk",
        "_length",
        "_line_end",
        "_rest",
        "_said",
        "begun",
        "headers",
        "keep",
        "over",
        "reason",
        "status",
    )

    def __init__(self) -> None:
        self.status, self.reason = 0, ""
        self.headers: dict[str, str] = {}
        self.begun = self.over = self.keep = False
        self._said: list[bytes] = []
        self._rest = b""
        # Bytes that are to come, or how the end is known; of chunks: of this one, and whether its line's end is due.
        self._length = 0
        self._chunk: int | None = None
        self._line_end = False

    def said(self) -> bytes:
        """What was said since this was asked last."""
        found = self._said[0] if len(self._said) == 1 else b"".join(self._said)
        self._said.clear()
        return found

    def take(self, data: bytes) -> None:
        """Take what came. Raises ValueError for what is no such answer, and for bytes behind its end: nobody asked for
        them."""
        self.begun = True
        if not self.status:
            data = self._head(self._rest + data)
        if not data and (self.over or self._length):
            return
        if self._length == _IN_CHUNKS:
            self._chunks(data)
        elif self.status:
            self._plain(data)

    def end(self) -> None:
        """The connection has ended, which is the end of an answer that said no length."""
        self.over = self.over or bool(self.status and self._length == _TO_THE_END)

    def _head(self, data: bytes) -> bytes:
        """What is behind the head, once that is there; what comes before an answer (1xx) is passed over."""
        while (at := data.find(b"\r\n\r\n")) >= 0:
            text, data = data[:at].decode("latin-1"), data[at + 4 :]
            first, *lines = text.split("\r\n")
            found = _FIRST.fullmatch(first)
            if found is None:
                raise ValueError(f"expected an answer of HTTP/1.1, found {first[:80]!r}")
            if not found[2].startswith("1"):
                self._rest = b""
                self._read(found, lines)
                return data
        if len(data) > _MOST_HEAD:
            raise ValueError(f"the head of an answer has more than {_MOST_HEAD} bytes")
        self._rest = data
        return b""

    def _read(self, first: re.Match[str], lines: list[str]) -> None:
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise ValueError(f"expected a header, found {line[:80]!r}")
            self.headers[name.lower()] = value.strip()
        told = self.headers.get
        connection = told("connection", "").lower()
        self.keep = "close" not in connection and (first[1] == "1" or "keep-alive" in connection)
        if (coding := told("content-encoding", "identity").lower()) != "identity":
            raise ValueError(f"expected no coding, found {coding[:80]!r}")
        if first[2] in ("204", "304"):
            self.over = True
        elif (coding := told("transfer-encoding", "").lower()) == "chunked":
            self._length = _IN_CHUNKS
        elif coding:
            raise ValueError(f"expected chunks, found {coding[:80]!r}")
        elif (length := told("content-length")) is None:
            self._length, self.keep = _TO_THE_END, False
        elif _LENGTH.fullmatch(length):
            self._length = int(length)
            self.over = not self._length
        else:
            raise ValueError(f"expected a length, found {length[:80]!r}")
        self.status, self.reason = int(first[2]), first[3] or ""

    def _plain(self, data: bytes) -> None:
        if self._length != _TO_THE_END:
            if len(data) > self._length:
                raise ValueError("bytes behind an answer's end")
            self._length -= len(data)
            self.over = not self._length
        self._said.append(data)

    def _chunks(self, data: bytes) -> None:
        data, at = self._rest + data, 0
        while at < len(data):
            if self.over:
                raise ValueError("bytes behind an answer's end")
            if self._chunk and not self._line_end:
                self._said.append(piece := data[at : at + self._chunk])
                at += len(piece)
                self._chunk -= len(piece)
                self._line_end = not self._chunk
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            line, at = data[at:end], end + 2
            if self._chunk == 0 and not self._line_end:  # the last one's: trailers, to an empty line
                self.over = not line
            elif self._line_end:
                if line:
                    raise ValueError(f"expected a chunk's end, found {line[:80]!r}")
                self._line_end, self._chunk = False, None
            elif found := _SIZE.fullmatch(line):
                self._chunk = int(found[1], 16)
            else:
                raise ValueError(f"expected a chunk's length, found {line[:80]!r}")
        self._rest = data[at:]
        if len(self._rest) > _MOST_HEAD:
            raise ValueError(f"a line between chunks has more than {_MOST_HEAD} bytes")
