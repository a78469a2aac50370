"""An authority of the test's own, and a server's certificate that it signed."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Certificates", "make_certificates"]


@dataclass(frozen=True)
class Certificates:
    """PEM files: the authority's certificate, the server's, and the server's key."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path, *, expired: bool = False, host: str = "127.0.0.1") -> Certificates:
    """Certificates for ``host`` (an IP address), good for a day, or until yesterday."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    start, end = now - datetime.timedelta(days=2), now + datetime.timedelta(days=-1 if expired else 1)
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().issuer_name(name).public_key(key.public_key())
        made = made.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        return made.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)

    identifier = x509.SubjectKeyIdentifier.from_public_key(root.public_key())
    signing = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    ca = builder("test authority", root).add_extension(x509.BasicConstraints(True, 0), critical=True)
    ca = ca.add_extension(signing, critical=True).add_extension(identifier, critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    server = builder(host, leaf).add_extension(names, critical=False).add_extension(issuer, critical=False)
    files = Certificates(folder / "authority.crt", folder / "server.crt", folder / "server.key")
    pem = serialization.Encoding.PEM
    files.authority.write_bytes(ca.sign(root, hashes.SHA256()).public_bytes(pem))
    files.certificate.write_bytes(server.sign(root, hashes.SHA256()).public_bytes(pem))
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files.key.write_bytes(leaf.private_bytes(pem, form, none))
    return files
