"""Errors of registries: ``METHOD url: code reason``, what the registry itself says, and what to do. Never a secret."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..kernel.errors import RegistryError
from .messages import Answer
from .secrets import Secrets, redact_url

if TYPE_CHECKING:
    import httpx

__all__ = ["StatusError", "Transient", "login_hint", "lost", "refused"]


class StatusError(RegistryError):
    """A registry answered with a status that ends the matter: ``status``, and the ``codes`` of its error body."""

    def __init__(self, message: str, status: int, codes: tuple[str, ...], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.codes = codes


class Transient(Exception):
    """Worth another try; ``error`` is what to raise when there was enough of that.

    ``pause``: the seconds that the registry asks to wait, if it does.
    """

    def __init__(self, error: RegistryError, pause: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.pause = pause


def refused(answer: Answer, secrets: Secrets, hint: str | None = None) -> StatusError:
    """The error for an ``answer`` that ends the matter; ``hint`` is a better one than its status gives."""
    codes, words = answer.said()
    message = f"{answer.method} {redact_url(answer.url)}: {answer.status} {answer.reason}".rstrip()
    said = secrets.redact(words)
    message += f": {said}" if said else ""
    return StatusError(message.rstrip("."), answer.status, codes, hint=hint or _hint(answer.url, answer.status, codes))


def login_hint(host: str, source: str | None) -> str:
    """What to do where ``host`` lets nobody in; ``source`` says where the credentials are from that it was sent."""
    variable = re.sub(r"[^A-Za-z0-9]", "_", host).upper()
    if source is None:
        return (
            f"log in with `docker login {host}` or `podman login {host}`, or set "
            f"FLYTE_BUILD_REGISTRY_USER_{variable} and FLYTE_BUILD_REGISTRY_PASSWORD_{variable}"
        )
    return (
        f"the credentials from {source} were sent, and not accepted for this: correct them, or log in as another with "
        f"`docker login {host}` or `podman login {host}`"
    )


def _hint(url: str, status: int, codes: tuple[str, ...]) -> str | None:
    host = urlsplit(url).netloc.rpartition("@")[2]
    if "NAME_UNKNOWN" in codes and status == 404:
        return "the repository does not exist: create it first, where the registry does not do so on a push"
    if "MANIFEST_BLOB_UNKNOWN" in codes or ("BLOB_UNKNOWN" in codes and status == 400):
        return "the registry misses a blob that the manifest names: push again"
    if status == 401:
        return login_hint(host, None)
    hints = {
        403: "the account may not do this in that repository: ask for the permission, or log in as another",
        404: "the repository or what was asked for does not exist there: check the name, or create the repository",
        405: "the registry does not allow this: is it read-only, a mirror or a proxy?",
        413: "the registry or a proxy before it limits a request's size: raise it (nginx: client_max_body_size)",
        429: "the registry limits requests: wait, log in for a higher limit, or use a mirror of your own",
        507: "the registry has no space left",
    }
    if status >= 500 and status not in hints:
        return "the registry has a problem of its own: try again later, or ask who runs it"
    return hints.get(status)


def lost(method: str, url: str, error: httpx.HTTPError, secrets: Secrets) -> RegistryError | Transient:
    """What a connection that failed means: an error where trying again cannot help."""
    reason, hint, again = _reason(error)
    failure = RegistryError(f"{method} {redact_url(url)}: {secrets.redact(reason).rstrip('.')}", hint=hint)
    return Transient(failure) if again else failure


def _reason(error: httpx.HTTPError) -> tuple[str, str, bool]:
    import httpx  # which a glance does without

    words = str(error).strip() or type(error).__name__
    reach = "is the registry's name right, and can this machine reach it (HTTPS_PROXY, NO_PROXY)?"
    if isinstance(error, httpx.TimeoutException):
        doing = {httpx.ConnectTimeout: "connecting", httpx.WriteTimeout: "sending"}.get(type(error), "waiting for data")
        return f"timed out {doing}", "the registry or the network is slow or down: try again", True
    if "CERTIFICATE_VERIFY_FAILED" in words:
        why = re.search(r"certificate verify failed: ([^(]+)", words)
        hint = (
            "the registry's certificate is not trusted here: put its authority's certificate into "
            "/etc/docker/certs.d/HOST[:PORT]/ca.crt or the system's store, or name a bundle in SSL_CERT_FILE"
        )
        return f"x509: {why[1].strip() if why else words}", hint, False
    if any(known in words for known in ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")):
        hint = "plain HTTP is used with loopback only, or with hosts named in `insecure-registries`"
        return "the server does not speak TLS", hint, False
    unknown = _caused_by(error, socket.gaierror)
    return words, reach, not unknown and not isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol)


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
