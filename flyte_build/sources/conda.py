"""A locator of conda packages: where the project's ``pixi.lock`` says that they lie, or a mirror that pixi is told of.

Our locks hold names and hashes; the ``pixi.lock`` beside them has the addresses (law 1). Mirrors are those of pixi's
own configuration (``[mirrors]`` of ``config.toml``), the project's before the user's before the machine's. Logins are
in the address, in pixi's file of them (:mod:`.conda_logins`), or in netrc.
"""

from __future__ import annotations

import os
import threading
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..deriving.nouns import Artifact
from ..kernel.errors import FetchError, InputError
from ..recipe import Recipe
from .conda_logins import Logins
from .places import Place, Stream

if TYPE_CHECKING:
    import httpx

    from .index_clients import IndexClients

__all__ = ["CondaLocator", "mirrored", "mirrors"]


class CondaLocator:
    """The packages of these recipes' environments; ``root`` is the project, whose paths the recipes have."""

    def __init__(self, recipes: Iterable[Recipe], root: Path) -> None:
        steps = (recipe.conda for recipe in recipes)
        self._locks = list(dict.fromkeys(root / step.lock for step in steps if step is not None))
        self._root, self._guard = root, threading.Lock()
        self._known: dict[str, list[str]] | None = None
        self._mirrors: dict[str, list[str]] = {}
        self._logins: Logins | None = None
        self._clients: IndexClients | None = None

    def places(self, artifact: Artifact) -> Iterator[Place]:
        if artifact.source is None or not artifact.file.endswith((".conda", ".tar.bz2")):
            return
        stated = self._addresses().get(artifact.sha256, [])
        for url in dict.fromkeys(url for one in stated for url in mirrored(one, self._mirrors)):
            if url.startswith("file:"):
                yield Place(url)
            elif url.startswith(("http://", "https://")):
                assert self._logins is not None
                asked, headers = self._logins.of(url)
                yield Place(asked, self._stream(headers))
        if not stated:
            named = ", ".join(str(path) for path in self._locks)
            raise FetchError(
                f"{artifact.file}: expected SHA-256 {artifact.sha256} in {named}, found none there",
                hint="the pixi.lock says where its packages are: lock again where it changed",
            )

    def close(self) -> None:
        with self._guard:
            clients, self._clients = self._clients, None
        if clients is not None:
            clients.close()

    def _addresses(self) -> dict[str, list[str]]:
        with self._guard:
            if self._known is None:
                from ..recipe.pixi import addresses

                self._known, self._mirrors = {}, mirrors(self._root)
                self._logins = Logins(_configured(self._root).get("authentication-override-file"))
                for path in self._locks:
                    for sha256, urls in addresses(path, str(path)).items():
                        self._known.setdefault(sha256, []).extend(urls)
            return self._known

    def _stream(self, headers: Mapping[str, str]) -> Stream:
        from .index_clients import IndexClients
        from .indexes import configured

        with self._guard:
            if self._clients is None:
                self._clients = IndexClients()
            ask = self._clients.of(configured(self._root)).stream

        @contextmanager
        def asked(url: str, more: Mapping[str, str]) -> Iterator[httpx.Response]:
            with ask(url, {**more, **headers}) as response:
                if response.status_code in (401, 403):
                    raise FetchError(
                        f"{response.status_code} {response.reason_phrase}",
                        hint="who logs in there is read from pixi's file of logins (`RATTLER_AUTH_FILE`, else "
                        "~/.rattler/credentials.json), from ~/.netrc and from addresses; a keyring is not asked",
                    )
                yield response

        return asked


def mirrored(url: str, known: Mapping[str, list[str]]) -> list[str]:
    """The places for ``url``: those of the mirrors of the longest address that it begins with, else its own."""
    for start in sorted(known, key=len, reverse=True):
        if url == start or url.startswith(start.rstrip("/") + "/"):
            return [mirror.rstrip("/") + url[len(start.rstrip("/")) :] for mirror in known[start]]
    return [url]


def mirrors(root: Path, environ: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """Address → its mirrors, as pixi is configured for the project in ``root``. Raises :class:`InputError`."""
    held = _configured(root, environ).get("mirrors", {})
    return {str(start): [str(one) for one in some] for start, some in held.items()}


def _configured(root: Path, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """pixi's configuration for the project in ``root``, its ``[mirrors]`` joined. Raises :class:`InputError`."""
    env = os.environ if environ is None else environ
    home = Path(env.get("HOME", "/nonexistent"))
    places = [
        Path("/etc/pixi/config.toml"),
        Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "pixi/config.toml",
        Path(env.get("PIXI_HOME") or home / ".pixi") / "config.toml",
        root / ".pixi/config.toml",
    ]
    out: dict[str, Any] = {}
    for path in places:
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError:
            continue
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
            raise InputError(f"{path}: cannot be read: {e}") from None
        held = found.get("mirrors", {})
        if not isinstance(held, dict) or not all(isinstance(some, list) for some in held.values()):
            raise InputError(f"{path}: [mirrors]: expected lists of addresses by address")
        out |= {**found, "mirrors": out.get("mirrors", {}) | held}
    return out
