"""What must never be shown: passwords, tokens, and the signatures in URLs. Text that others wrote passes through here.

A URL keeps its path and the distribution specification's own parameters; every other parameter may be a signature
(object storage) or a state (uploads) and shows as ``***``, like a user and password before the host.
"""

from __future__ import annotations

import re
import threading
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

__all__ = ["Secrets", "redact_url"]

_PUBLIC = {"mount", "from", "digest", "n", "last", "artifactType", "service", "scope", "account"}
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>\\]*[^\s\"'<>\\.,;:)]")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_LONGEST = 600
_SHORTEST_SECRET = 4


def redact_url(url: str) -> str:
    """``url`` without user, password, and values of parameters that may be signatures or states; of one that cannot
    be read, its scheme."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{url.partition(':')[0]}://***"
    place = "***@" + parts.netloc.rpartition("@")[2] if "@" in parts.netloc else parts.netloc
    asked = parse_qsl(parts.query, keep_blank_values=True)
    shown = "&".join(f"{k}={quote(v, safe='/:,') if k in _PUBLIC else '***'}" for k, v in asked)
    return urlunsplit(parts._replace(netloc=place, query=shown, fragment=""))


class Secrets:
    """What must never be shown, as it becomes known; safe to use from several threads."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._guard = threading.Lock()

    def add(self, *values: str) -> None:
        with self._guard:
            self._known.update(v for v in values if len(v) >= _SHORTEST_SECRET)

    def redact(self, text: str) -> str:
        """``text`` without secrets, without what a terminal would obey, and not too long."""
        with self._guard:
            known = sorted(self._known, key=len, reverse=True)
        for secret in known:
            text = text.replace(secret, "***")
        text = _URL.sub(lambda m: redact_url(m[0]), text)
        text = _UNPRINTABLE.sub("?", _BEARER.sub(r"\1 ***", text)).strip()
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
