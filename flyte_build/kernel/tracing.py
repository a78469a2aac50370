"""What is asked of whom, and how long it takes, for whoever wants to know (`--verbose`). Off unless somebody listens.

Nothing secret is ever told: of a URL the host is shown, of its path what names a thing, and neither user, password nor
parameters; headers, bodies and variables never; and what a variable holds whose name says that it is secret is left
out wherever it stands.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from .struck import struck

__all__ = ["Listener", "active", "hooks", "listen", "redacted", "shown_url", "tell", "timed"]

Listener = Callable[[float, str, str], object]
"""Takes seconds since it began to listen, what it is about, and the words; from any thread."""

_URL = r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>\\]+"
_SECRET_NAME = r"(?i)token|passw|secret|credential|auth|api_?key|private_?key"
_SHORTEST = 6
_listening: tuple[Listener, float] | None = None
_hooked = False


def listen(listener: Listener | None) -> None:
    """Tell ``listener`` from here on; ``None``: nobody. Programs that are started are told of, too."""
    global _listening, _hooked
    _listening = (listener, time.monotonic()) if listener is not None else None
    if listener is not None and not _hooked:
        # It cannot be taken away again, and costs a look at a name an event.
        sys.addaudithook(_audited)
        _hooked = True


def active() -> bool:
    return _listening is not None


def tell(what: str, words: str) -> None:
    """``words`` about ``what`` (`store`, `cache`, `http`, `tool`, …)."""
    if _listening is not None:
        listener, began = _listening
        listener(time.monotonic() - began, what, redacted(words))


@contextmanager
def timed(what: str, words: str) -> Iterator[None]:
    """Tell when it begins, and when it ended with how long it took."""
    if _listening is None:
        yield
        return
    began = time.monotonic()
    tell(what, words)
    try:
        yield
    finally:
        tell(what, f"{words}: {_milliseconds(time.monotonic() - began)}")


def hooks() -> dict[str, list[Callable[..., Any]]]:
    """``event_hooks`` of an ``httpx.Client``: each request when it is sent, each answer when its head is there."""
    return {"request": [_asked], "response": [_answered]} if _listening is not None else {}


def shown_url(url: str) -> str:
    """``url`` as it may be shown: a registry's path whole, of any other the last part."""
    try:
        parts = urlsplit(url)
        place = parts.hostname or ""
        place += f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(a URL)"
    path = parts.path
    if not path.startswith("/v2/"):
        last = path.rstrip("/").rpartition("/")[2]
        path = f"/…/{last}" if path.strip("/") != last else path
    return f"{parts.scheme}://{place}{path}"


def redacted(words: str) -> str:
    """``words`` without what is secret in them."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and value in words and re.search(_SECRET_NAME, name) and not os.path.isabs(value):
            words = words.replace(value, "***")
    return re.sub(_URL, lambda found: shown_url(found[0]), struck(words))


def _asked(request: Any) -> None:
    request.extensions["flyte-build.began"] = time.monotonic()
    tell("http", f"{request.method} {request.url}")


def _answered(response: Any) -> None:
    request = response.request
    took = time.monotonic() - request.extensions.get("flyte-build.began", time.monotonic())
    tell("http", f"{response.status_code} {request.method} {request.url} {_milliseconds(took)}")


def _audited(event: str, args: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and _listening is not None:
        program, words = args[0], args[1]
        given = [os.fsdecode(w) for w in words] if isinstance(words, Sequence) and not isinstance(words, str) else []
        tell("tool", _command(os.fsdecode(program), given))


def _command(program: str, words: Sequence[str]) -> str:
    """A program and what it is asked to do; long words (scripts, documents) by their size only."""
    shown = [w if len(w) <= 80 and "\n" not in w else f"({len(w)} characters)" for w in words[1:]]
    more = f" … ({len(shown) - 24} more)" if len(shown) > 24 else ""
    return " ".join([os.path.basename(program), *shown[:24]]) + more


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
