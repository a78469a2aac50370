"""A request and its answer, as values; sending is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

from ..kernel.documents import parse
from ..kernel.values import dataclass, field

__all__ = ["Access", "Answer", "Body", "Headers", "Request"]

Body: TypeAlias = "bytes | Callable[[], Iterable[bytes]]"
"""What is sent: bytes, or what gives the pieces for each attempt (``Content-Length`` is then among the headers)."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a request needs: which registry's credentials, those for ``repository`` there, and the ``scopes``."""

    host: str
    repository: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Request:
    """``expected`` are the statuses that the caller judges; any other is an error.

    ``limit``: bytes of an answer's body.
    """

    method: str
    url: str
    access: Access
    expected: frozenset[int] = frozenset({200})
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = b""
    limit: int = 16 << 20


class Headers(Protocol):
    """Those of an answer, by name in any case; ``get_list`` has each that is there more than once."""

    def get(self, key: str, default: Any = None, /) -> Any: ...

    def get_list(self, key: str, /) -> list[str]: ...

    def __getitem__(self, key: str, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """``url`` is the one that answered, after redirects. ``body`` is empty for HEAD, and of a streamed answer."""

    method: str
    url: str
    status: int
    reason: str
    headers: Headers
    body: bytes = b""

    def said(self) -> tuple[tuple[str, ...], str]:
        """The codes and the words of an error body, as the specification has it, or the token servers' way."""
        try:
            document = parse(self.body)
        except ValueError:
            plain = self.headers.get("content-type", "").startswith("text/plain")
            return (), " ".join(self.body.decode("utf-8", "replace").split()) if plain else ""
        if not isinstance(document, dict):
            return (), ""
        codes, words = [], []
        errors = document.get("errors")
        for error in errors if isinstance(errors, list) else ():
            if isinstance(error, dict):
                code, message, detail = (error.get(k) for k in ("code", "message", "detail"))
                codes.append(str(code or ""))
                shown = [str(x) for x in (code, message) if x]
                if isinstance(detail, str) and detail and detail != message:
                    shown.append(detail)
                words.append(": ".join(shown))
        if not words:
            keys = ("details", "message", "error_description", "error")
            words = [str(document[k]) for k in keys if document.get(k)][:1]
        return tuple(codes), "; ".join(words)
