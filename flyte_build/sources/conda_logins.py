"""Who logs in where conda packages lie: what ``pixi auth login`` keeps in a file of its own.

That file is what ``RATTLER_AUTH_FILE`` names, else ``authentication-override-file`` of pixi's configuration, else
``~/.rattler/credentials.json`` (pixi's documentation, "Authentication"). Where a desktop has a keyring pixi keeps
logins there, which is not asked here. Says no login to anybody but the host that it is for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ..kernel.errors import FetchError, InputError
from ..kernel.struck import strike

__all__ = ["Logins"]

_KINDS = "a token, a name and a password, or a conda token"


class Logins:
    """``configured``: the file that pixi's configuration names. Raises :class:`InputError` for one that is no JSON."""

    def __init__(self, configured: str | None, environ: Mapping[str, str] | None = None) -> None:
        env = os.environ if environ is None else environ
        named = env.get("RATTLER_AUTH_FILE") or configured
        home = Path(env.get("HOME", "/nonexistent"))
        self._file = Path(named).expanduser() if named else home / ".rattler/credentials.json"
        try:
            held = json.loads(self._file.read_text(encoding="utf-8"))
        except OSError:
            held = {}
        except ValueError:
            raise InputError(
                f"{self._file}: expected JSON, as `pixi auth login` writes it, found something else"
            ) from None
        if not isinstance(held, dict):
            raise InputError(f"{self._file}: expected an object of logins by host")
        self._held: dict[str, Any] = held

    def of(self, url: str) -> tuple[str, dict[str, str]]:
        """``url`` as its host is to be asked, and the headers that go with it.

        Raises :class:`FetchError` for a login of a kind that only pixi can use.
        """
        parts = urlsplit(url)
        key = next((key for key in _keys(parts.hostname or "") if key in self._held), None)
        if key is None or "@" in parts.netloc:
            return url, {}
        match self._held[key]:
            case {"BearerToken": str(token)}:
                strike(token)
                return url, {"Authorization": f"Bearer {token}"}
            case {"BasicHTTP": {"username": str(user), "password": str(password)}}:
                strike(password)
                login = f"{quote(user, safe='')}:{quote(password, safe='')}"
                return parts._replace(netloc=f"{login}@{parts.netloc}").geturl(), {}
            case {"CondaToken": str(token)}:
                strike(token)
                return parts._replace(path=f"/t/{quote(token, safe='')}{parts.path}").geturl(), {}
        raise FetchError(
            f"{self._file}: the login of `{key}` is of a kind that is not used here; expected {_KINDS}",
            hint=f"`pixi auth login {key} --token …`, or an address of the channel that needs none",
        )


def _keys(host: str) -> Iterator[str]:
    """The names that a login of ``host`` may have, the nearest first."""
    if host:
        yield host
    while host:
        yield f"*.{host}"
        host = host.partition(".")[2]
