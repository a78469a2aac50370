"""Who trusts whom in the cluster: one authority, one certificate for all servers, one user who may do everything."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .site import Site

__all__ = ["folder", "make_certificates", "write_kubeconfigs"]

_DAYS = 30
_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


def folder(site: Site) -> Path:
    """``authority.crt``; ``server`` and ``admin``, each ``.crt`` and ``.key``; ``accounts.key`` signs their tokens."""
    return site.home / "certificates"


def make_certificates(site: Site) -> None:
    """New ones, unless the folder is there."""
    if folder(site).exists():
        return
    new = folder(site).with_suffix(".new")
    new.mkdir(mode=0o700, exist_ok=True)
    authority = _Authority()
    _write(new / "authority.crt", _pem(authority.certificate))
    addresses = ("127.0.0.1", site.gateway, site.node, site.api_service)
    names = [x509.DNSName(name) for name in _NAMES] + [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
    server, key = authority.sign(
        _subject("server"), x509.SubjectAlternativeName(names), ExtendedKeyUsageOID.SERVER_AUTH
    )
    _write(new / "server.crt", _pem(server))
    _write(new / "server.key", _private(key))
    # The group that RBAC lets do everything (https://kubernetes.io/docs/reference/access-authn-authz/rbac/).
    admin, key = authority.sign(_subject("admin", "system:masters"), None, ExtendedKeyUsageOID.CLIENT_AUTH)
    _write(new / "admin.crt", _pem(admin))
    _write(new / "admin.key", _private(key))
    _write(new / "accounts.key", _private(ec.generate_private_key(ec.SECP256R1())))
    new.rename(folder(site))


def write_kubeconfigs(site: Site) -> None:
    """``kubeconfig`` for this machine, and ``kubeconfig.node`` for the node, which has a network of its own."""
    for path, server in ((site.kubeconfig, site.api), (site.home / "kubeconfig.node", f"{site.gateway}:443")):
        new = path.with_suffix(".new")
        _write(new, json.dumps(_kubeconfig(site, f"https://{server}"), indent=1).encode())
        new.rename(path)


def _kubeconfig(site: Site, server: str) -> dict[str, object]:
    def encoded(name: str) -> str:
        return base64.b64encode((folder(site) / name).read_bytes()).decode()

    name = "flyte-build-tests"
    # YAML reads JSON.
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": encoded("authority.crt")}}
        ],
        "users": [
            {
                "name": "admin",
                "user": {
                    "client-certificate-data": encoded("admin.crt"),
                    "client-key-data": encoded("admin.key"),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "admin"}}],
        "current-context": name,
    }


class _Authority:
    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _subject("flyte-build test cluster")
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = self._builder(self.name, self.key).add_extension(x509.BasicConstraints(True, 0), critical=True)
        made = made.add_extension(usage, critical=True)
        self.certificate = made.sign(self.key, hashes.SHA256())

    def sign(
        self, subject: x509.Name, names: x509.SubjectAlternativeName | None, purpose: x509.ObjectIdentifier
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(subject, key).add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if names is not None:
            made = made.add_extension(names, critical=False)
        return made.sign(self.key, hashes.SHA256()), key

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder().issuer_name(self.name).subject_name(subject).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        made = made.not_valid_after(now + datetime.timedelta(days=_DAYS))
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        made = made.add_extension(identifier, critical=False)
        return made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _subject(name: str, group: str | None = None) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    form, none = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, none)


def _write(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)
