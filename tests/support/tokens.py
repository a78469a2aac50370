"""A token server as registries trust it: tokens are JWTs, signed with a key whose certificate the registry has."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.certificates import Certificates

__all__ = ["ISSUER", "SERVICE", "TokenServer", "token_server"]

ISSUER, SERVICE = "tests", "registry of the tests"


@dataclass
class TokenServer:
    """``asked``: the scopes of each request that was answered. ``life``: of tokens, in seconds; 300 is what is said."""

    url: str
    life: int = 300
    asked: list[list[str]] = field(default_factory=list)


@contextmanager
def token_server(files: Certificates, user: str, password: str) -> Iterator[TokenServer]:
    """Gives whatever is asked for to ``user``, and nobody else."""
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    der = x509.load_pem_x509_certificate(files.certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
            status, answer = 401, {"details": "incorrect username or password"}
            if self.headers.get("Authorization") == expected:
                made.asked.append(scopes)
                status, answer = 200, {"token": _signed(key, der, _claims(scopes, made.life)), "expires_in": 300}  # type: ignore[dict-item]
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = TokenServer(f"http://127.0.0.1:{server.server_address[1]}/token")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _claims(scopes: list[str], life: int) -> dict[str, Any]:
    now = int(time.time())
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(":", 2)
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    claims = {"iss": ISSUER, "sub": "user", "aud": SERVICE, "exp": now + life, "nbf": now - 5, "iat": now}
    return {**claims, "jti": secrets.token_hex(8), "access": access}


def _signed(key: ec.EllipticCurvePrivateKey, der: bytes, claims: dict[str, Any]) -> str:
    header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
    text = b".".join(_plain(json.dumps(part).encode()) for part in (header, claims))
    r, s = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
    return (text + b"." + _plain(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()


def _plain(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
