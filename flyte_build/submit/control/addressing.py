"""Who asks: the path of a request has the run's token first, then, of a sandbox's, ``as/<action>``. Pure.

Every sandbox of a run knows the token, so what an action says of itself is no proof of anything; it tells where a child
run belongs in the tree. Processes that several actions share say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["ACTION_NAME", "AS", "address", "caller", "split", "told"]

ACTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""An action's name, which is a folder's: the runtime's own are letters and digits."""

AS = "as"
_ACTION, _TOKEN = b"x-flyte-build-action", b"x-flyte-build-token"
Headers = Iterable[tuple[bytes, bytes]]


def split(path: str) -> tuple[str, str]:
    """The action that asks, empty where none is named, and the rest of a path without its token."""
    first, _, rest = path.partition("/")
    if first != AS:
        return "", path
    name, _, rest = rest.partition("/")
    return (name if ACTION_NAME.fullmatch(name) else ""), rest


def told(headers: Headers, action: str, token: str) -> list[tuple[bytes, bytes]]:
    """``headers`` of a request of ``action``, whatever the request itself says of that."""
    kept = [(name, value) for name, value in headers if name.lower() not in (_ACTION, _TOKEN)]
    return [*kept, (_ACTION, action.encode()), (_TOKEN, token.encode())]


def caller(ctx: Any) -> str:
    """The action that a call is of, by its context; empty where that is not known."""
    return str(ctx.request_headers().get(_ACTION.decode()) or "")


def address(ctx: Any) -> str:
    """Where who called reaches this service: the address that it called."""
    headers = ctx.request_headers()
    return f"http://{headers.get('host') or ''}/{headers.get(_TOKEN.decode()) or ''}"
