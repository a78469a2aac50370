"""What a request to a registry carries to be let in: Basic credentials, or a token for its scopes.

Follows the distribution project's token authentication: a challenge names a token server (``realm``), a ``service``
and a ``scope``; the token server is asked with the host's credentials, or anonymously, and gives a token that
expires. Tokens are kept by host and scopes, so that a push asks once a repository. Nothing is sent to a host before
that host has challenged.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from ..kernel.documents import parse
from ..kernel.errors import RegistryError
from ..kernel.values import dataclass
from .challenge import Challenge, parse_challenges
from .credentials import Credentials, Keychain
from .failures import StatusError, login_hint
from .messages import Access, Answer
from .secrets import Secrets, redact_url

__all__ = ["Authorizer", "scope"]

_UNSAID_LIFE = 60.0
_MARGIN = 10.0


def scope(repository: str, *actions: str) -> str:
    """A scope in the token servers' grammar: ``repository:NAME:pull,push``."""
    return f"repository:{repository}:{','.join(actions)}"


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    scopes: frozenset[str]
    expires: float


class _Ask(Protocol):
    def __call__(self, method: str, url: str, headers: Mapping[str, str], params: Any, form: Any) -> Answer: ...


class Authorizer:
    """Gives the ``Authorization`` of a request; safe to use from several threads.

    ``ask`` sends a request (method, URL, headers, parameters, form) to a token server and gives what answered 200;
    ``trusted`` says whether a host may be spoken to in plain HTTP; ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        keychain: Keychain,
        secrets: Secrets,
        ask: _Ask,
        trusted: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keychain = keychain
        self._secrets = secrets
        self._ask = ask
        self._trusted = trusted
        self._clock = clock
        self._challenges: dict[str, Challenge] = {}
        self._tokens: dict[tuple[str, str], list[_Token]] = {}
        self._demanded: dict[tuple[str, str], frozenset[str]] = {}
        self._asking: dict[tuple[str, str, frozenset[str]], threading.Lock] = {}
        self._guard = threading.Lock()

    def header(self, access: Access) -> str | None:
        """The header for a request that needs ``access``; ``None`` where the host has not asked for one."""
        challenge = self._challenges.get(access.host)
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            found = self._credentials(access)
            return _basic(found) if found is not None and found.user else None
        return f"Bearer {self._token(challenge, access).value}"

    def challenged(self, access: Access, response: Answer, sent: str | None) -> bool:
        """Take note of a 401 to a request that carried ``sent``; whether trying once more may help."""
        offered = parse_challenges(response.headers.get_list("www-authenticate"))
        chosen = next((c for c in offered if c.scheme == "bearer" and c.parameters.get("realm")), None)
        chosen = chosen or next((c for c in offered if c.scheme == "basic"), None)
        if chosen is None:
            return False
        with self._guard:
            self._challenges[access.host] = chosen
            if chosen.scheme == "bearer" and sent is not None:
                # It expired, or our scopes were not enough: the registry's own are asked for as well.
                key = (access.host, access.repository)
                kept = self._tokens.get(key, [])
                kept[:] = [t for t in kept if f"Bearer {t.value}" != sent]
                more = chosen.parameters.get("scope", "").split()
                self._demanded[key] = self._demanded.get(key, frozenset()).union(more)
        if chosen.scheme == "basic":
            found = self._credentials(access)
            return found is not None and bool(found.user) and sent != _basic(found)
        return True

    def hint(self, access: Access, sent: str | None) -> str:
        """What to do where a request for ``access`` that carried ``sent`` was not let in."""
        found = self._keychain.find(access.host, access.repository) if sent is not None else None
        return login_hint(access.host, found.source if found is not None else None)

    def _credentials(self, access: Access) -> Credentials | None:
        found = self._keychain.find(access.host, access.repository)
        if found is not None:
            self._secrets.add(found.password, found.identity_token or "")
            if found.user:
                self._secrets.add(_basic(found).partition(" ")[2])
        return found

    def _token(self, challenge: Challenge, access: Access) -> _Token:
        key = (access.host, access.repository)
        with self._guard:
            scopes = access.scopes | self._demanded.get(key, frozenset())
            lock = self._asking.setdefault((*key, scopes), threading.Lock())
        with lock:
            now = self._clock()
            with self._guard:
                kept = self._tokens.setdefault(key, [])
                kept[:] = [t for t in kept if t.expires > now]
                known = next((t for t in kept if _covers(t.scopes, scopes)), None)
            if known is not None:
                return known
            token = self._fetch(challenge, access, scopes)
            with self._guard:
                self._tokens[key].append(token)
            return token

    def _fetch(self, challenge: Challenge, access: Access, scopes: frozenset[str]) -> _Token:
        realm = challenge.parameters["realm"]
        try:
            parts = urlsplit(realm)
        except ValueError as e:
            raise RegistryError(f"{access.host}: its token server has no address: {e}") from None
        if parts.scheme != "https" and not (parts.scheme == "http" and self._trusted(parts.netloc)):
            raise RegistryError(
                f"{access.host}: its token server {redact_url(realm)} is not asked: expected https",
                hint="a password would travel in the clear; the registry's `realm` has to be an https address",
            )
        found = self._credentials(access)
        try:
            return self._read(self._exchanged(challenge, realm, found, scopes), realm, scopes)
        except StatusError as e:
            if e.status != 401:
                raise
            # The host to log in to is the registry's: the token server has none of its own.
            hint = login_hint(access.host, found.source if found is not None else None)
            raise StatusError(e.message, e.status, e.codes, hint=hint) from None

    def _exchanged(self, challenge: Challenge, realm: str, found: Credentials | None, scopes: frozenset[str]) -> Answer:
        """What the token server at ``realm`` answers to the credentials ``found``."""
        service = challenge.parameters.get("service", "")
        wanted = sorted(scopes)
        if found is not None and found.identity_token is not None:
            form = {"grant_type": "refresh_token", "refresh_token": found.identity_token, "client_id": "flyte-build"}
            form |= {"service": service, "scope": " ".join(wanted)}
            return self._ask("POST", realm, {}, None, form)
        params = [("service", service)] if service else []
        params += [("scope", s) for s in wanted]
        headers = {}
        if found is not None:
            params.append(("account", found.user))
            headers = {"Authorization": _basic(found)}
        return self._ask("GET", realm, headers, params, None)

    def _read(self, response: Answer, realm: str, scopes: frozenset[str]) -> _Token:
        try:
            answer = parse(response.body)
            value = answer.get("token") or answer["access_token"]
            life = float(answer.get("expires_in") or _UNSAID_LIFE)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RegistryError(
                f"{response.method} {redact_url(realm)}: expected JSON with a token, found none"
            ) from None
        if not isinstance(value, str) or not value.isprintable() or not value.isascii():
            raise RegistryError(f"{response.method} {redact_url(realm)}: expected a token, found none")
        self._secrets.add(value)
        return _Token(value, scopes, self._clock() + life - min(_MARGIN, life / 4))


def _basic(found: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{found.user}:{found.password}".encode()).decode()


def _covers(have: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether a token for the scopes ``have`` is good for those ``wanted``."""
    held: dict[str, set[str]] = {}
    for one in have:
        name, _, actions = one.rpartition(":")
        held.setdefault(name, set()).update(actions.split(","))
    pairs = ((name, actions) for name, _, actions in (one.rpartition(":") for one in wanted))
    return all(set(actions.split(",")) <= held.get(name, set()) for name, actions in pairs)
