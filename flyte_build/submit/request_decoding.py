"""Requests of the actions service, decoded with care: what is no message is its sender's fault, in words.

The library answers ``unknown`` with status 500 where a body cannot be decoded, which the runtime takes for a service
that is broken and asks again; and it inflates a body before it looks at its size.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from connectrpc.code import Code
from connectrpc.codec import proto_binary_codec, proto_json_codec
from connectrpc.errors import ConnectError
from connectrpc.server import ConnectASGIApplication

__all__ = ["LARGEST", "bounded", "careful"]

LARGEST = 64 << 20
"""Bytes that a request may have, inflated or not: many times what flyte passes beside its storage."""


def _refused(why: object) -> ConnectError:
    return ConnectError(Code.INVALID_ARGUMENT, f"expected a message of this method, found {why}"[:500])


class _Codec:
    """A codec whose failures are invalid arguments."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def name(self) -> str:
        return str(self._inner.name())

    def encode(self, message: Any) -> bytes:
        encoded: bytes = self._inner.encode(message)
        return encoded

    def decode(self, data: Any, message: Any) -> Any:
        try:
            return self._inner.decode(data, message)
        except Exception as e:  # protobuf's, json's and Python's own have no other base
            raise _refused(e) from None


class _Gzip:
    """gzip of one member, and never more than :data:`LARGEST` bytes of it."""

    def name(self) -> str:
        return "gzip"

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        return zlib.compress(data, 1, 31)

    def decompress(self, data: bytes | bytearray | memoryview) -> bytes:
        inflater = zlib.decompressobj(31)
        try:
            plain = inflater.decompress(data, LARGEST + 1)
        except zlib.error as e:
            raise _refused(e) from None
        if len(plain) > LARGEST:
            raise ConnectError(Code.RESOURCE_EXHAUSTED, f"expected at most {LARGEST} bytes when inflated, found more")
        if not inflater.eof or inflater.unused_data:
            raise _refused("gzip that does not end where it should")
        return plain


class _Careful(ConnectASGIApplication[Any]):
    def __init__(self, **given: Any) -> None:
        codecs = [_Codec(proto_binary_codec()), _Codec(proto_json_codec())]
        super().__init__(**{**given, "codecs": codecs, "compressions": [_Gzip()], "read_max_bytes": LARGEST})


def careful(kind: Any, service: object) -> Any:
    """The application that the library makes (``kind``) for ``service``, with our codecs and compression."""
    return type("Application", (_Given, kind, _Careful), {})(service)


class _Given:
    """Takes a service alone: what else the library's applications may be given is ours to say."""

    def __init__(self, service: object) -> None:
        given: Any = {"service": service}
        super().__init__(**given)


def bounded(receive: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """``receive`` of ASGI, for a body of at most :data:`LARGEST` bytes."""
    size = 0

    async def counted() -> Any:
        nonlocal size
        message = await receive()
        size += len(message.get("body") or b"")
        if size > LARGEST:
            raise ConnectError(Code.RESOURCE_EXHAUSTED, f"expected at most {LARGEST} bytes, found more")
        return message

    return counted
