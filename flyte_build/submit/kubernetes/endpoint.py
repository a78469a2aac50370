"""How pods reach a run's actions service: its address with its token, in a Secret of the run's own and nowhere else.

Neither arguments, manifests nor logs hold the token: a pod has it as a variable from the Secret. What is made for a run
belongs to one object and goes with it.
"""

from __future__ import annotations

import base64
import secrets
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ...kernel.errors import InputError
from .api import ApiError, Cluster
from .calling import ENDPOINT
from .names import label_value, run_object
from .pod import MANAGED_BY
from .tls import Certificates, make_certificates

__all__ = ["SECRETS", "context_of", "listen", "make_endpoint", "new_token", "owner_of", "token_of"]

SECRETS = "v1/secrets"


def new_token() -> str:
    return secrets.token_urlsafe(24)


def owner_of(value: Mapping[str, Any]) -> dict[str, Any]:
    """An owner reference to an object of the cluster, as it was read."""
    metadata = value["metadata"]
    return {
        "apiVersion": value["apiVersion"], "kind": value["kind"], "name": metadata["name"], "uid": metadata["uid"],
        "blockOwnerDeletion": False,
    }  # fmt: skip


def make_endpoint(
    cluster: Cluster, run: str, host: str, port: int, token: str, owner: Mapping[str, Any] | None = None,
    *, tls: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The run's Secret, made, or as an earlier driver of the run made it; with ``tls``, it has the run's certificates.

    Raises :class:`ApiError`.
    """
    name = run_object(run)
    address = f"[{host}]" if ":" in host else host
    metadata: dict[str, Any] = {
        "name": name,
        "labels": {"run": label_value(run), MANAGED_BY: "flyte-build"},
        **({"ownerReferences": [dict(owner)]} if owner is not None else {}),
    }
    data = {ENDPOINT: f"http{'s' if tls else ''}://{address}:{port}/{token}"}
    if tls:
        data |= make_certificates(host).to_secret()
    value = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
    try:
        return {"apiVersion": "v1", "kind": "Secret", **cluster.create(SECRETS, value)}
    except ApiError as e:
        found = cluster.get(SECRETS, name) if e.status == 409 else None
        if found is None:
            raise
        return {"apiVersion": "v1", "kind": "Secret", **found}


def token_of(secret: Mapping[str, Any]) -> str:
    """The token in a run's Secret."""
    return urlsplit(_held(secret)[ENDPOINT]).path.strip("/")


def context_of(secret: Mapping[str, Any]) -> ssl.SSLContext | None:
    """How a driver serves by what is in a run's Secret; ``None``: as it is."""
    found = Certificates.of_secret(_held(secret))
    return found.context() if found is not None else None


def _held(secret: Mapping[str, Any]) -> dict[str, str]:
    held = {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
    return {**(secret.get("stringData") or {}), **held}


def listen(address: str | None, cluster: Cluster) -> socket.socket:
    """A socket that pods can call: on ``HOST[:PORT]``, by default this machine's address towards the cluster.

    Raises :class:`InputError` for an address that is none of this machine's, or that no pod could reach.
    """
    host, port = _parts(address) if address else (_towards(cluster.host), 0)
    if not address and host.startswith("127."):
        raise InputError(
            f"the cluster's API is at {cluster.host}, so nothing says by which address its pods reach this machine",
            hint="say it: `--address HOST`, or leave the driver to the cluster: `--driver cluster`",
        )
    try:
        family, kind, proto, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
    except OSError as e:
        raise InputError(
            f"--address: expected an address of this machine, found {address or host}: {e.strerror or e}",
            hint="`ip address` shows what it has",
        ) from None
    return listener


def _parts(address: str) -> tuple[str, int]:
    try:
        found = urlsplit(f"//{address}")
        if not found.hostname or found.path:
            raise ValueError
        return found.hostname, found.port or 0
    except ValueError:
        raise InputError(f"--address: expected HOST or HOST:PORT, found {address!r:.80}") from None


def _towards(url: str) -> str:
    """This machine's address towards a server; nothing is sent."""
    found = urlsplit(url)
    try:
        family, kind, proto, _, where = socket.getaddrinfo(found.hostname, found.port or 443, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.connect(where)
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
