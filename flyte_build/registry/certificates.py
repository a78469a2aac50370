"""Which authorities vouch for a registry: the system's or ``SSL_CERT_FILE``'s, and what Docker and podman keep a host.

``/etc/docker/certs.d/HOST[:PORT]/`` holds ``*.crt`` (authorities), and ``*.cert`` with ``*.key`` (our own
certificate). Verification is never turned off here; plain HTTP is another matter and is said by name.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..kernel.errors import RegistryError

__all__ = ["common_context", "context_for", "folders", "nobody", "speaks_tls"]

_HELLO = 1.0


def folders(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where certificates of hosts are kept, the user's own first."""
    found = [Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d")]
    if home := environ.get("HOME"):
        found[:0] = [Path(home) / ".docker" / "certs.d", Path(home) / ".config" / "containers" / "certs.d"]
    return tuple(found)


def context_for(host: str, environ: Mapping[str, str], places: Sequence[Path]) -> ssl.SSLContext | None:
    """The TLS settings for ``host`` (with its port, where it is named with one); ``None`` where it has none of its own.

    Raises :class:`RegistryError` that names a file that cannot be read as certificates.
    """
    own = [place / host for place in places if (place / host).is_dir()]
    if not own:
        return None
    context = common_context(environ)
    for folder in own:
        for file in sorted(folder.iterdir()):
            try:
                if file.suffix == ".crt":
                    context.load_verify_locations(cafile=str(file))
                elif file.suffix == ".cert":
                    context.load_cert_chain(str(file), str(file.with_suffix(".key")))
            except (OSError, ssl.SSLError) as e:
                raise RegistryError(f"{file}: cannot be read as certificates in PEM form: {e}") from None
    return context


def common_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """The TLS settings for hosts that have none of their own."""
    file, folder = environ.get("SSL_CERT_FILE") or None, environ.get("SSL_CERT_DIR") or None
    try:
        context = ssl.create_default_context(cafile=file, capath=folder)
    except (OSError, ssl.SSLError) as e:
        raise RegistryError(
            f"the authorities of {file or folder} (SSL_CERT_FILE, SSL_CERT_DIR) cannot be read: {e}"
        ) from None
    if not file and not folder and not context.cert_store_stats()["x509_ca"]:
        import httpx  # which a glance does without

        return httpx.create_ssl_context(trust_env=False)
    return context


def nobody() -> ssl.SSLContext:
    """Settings that trust nobody, for connections that have no TLS: they cost no reading of authorities."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def speaks_tls(host: str, port: int) -> bool | None:
    """Whether ``host`` understands a TLS handshake; ``None`` where the connection was lost before that could be told.

    Nothing is sent after it; whose certificate it is, is left open.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), _HELLO) as plain, context.wrap_socket(plain, server_hostname=host):
            return True
    # A line that ends early is the second to some releases of Python, and the first to others.
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError):
        return None
    except (OSError, ValueError):
        return False
