"""The channel between a run's pods and its driver, encrypted: a certificate of the run's own, which its driver makes.

An authority that lives as long as the run signs one certificate, for the address that pods call, and is forgotten. Pods
are given the authority by the run's Secret, and prove who they are by the run's token, as without it. The stock runtime
hears of the authority by a file of its own settings, which it is pointed at as a backend that mounts credentials does.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["AUTHORITY", "CERTIFICATE", "KEY", "SETTINGS", "Certificates", "make_certificates", "trusting"]

AUTHORITY, CERTIFICATE, KEY, SETTINGS = "ca.crt", "tls.crt", "tls.key", "config.yaml"
"""Keys of the run's Secret; pods get the first and the last."""
MOUNT = "/etc/flyte/run"
_VOLUME = "flyte-build-run"
# Longer than any run; clocks of nodes may be behind.
_LIVES, _EARLIER = datetime.timedelta(days=365), datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM: the run's ``authority``, the driver's ``certificate`` and its ``key``."""

    authority: str
    certificate: str
    key: str

    def to_secret(self) -> dict[str, str]:
        # Everything else that the runtime has to know are variables, which it gives precedence.
        return {AUTHORITY: self.authority, CERTIFICATE: self.certificate, KEY: self.key, SETTINGS: "admin: {}\n"}

    @classmethod
    def of_secret(cls, data: Mapping[str, str]) -> Certificates | None:
        return cls(data[AUTHORITY], data[CERTIFICATE], data[KEY]) if KEY in data else None

    def context(self) -> ssl.SSLContext:
        """The server's. Its key is on no disk for longer than it takes to read it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.TemporaryDirectory(prefix="flyte-build-tls-") as folder:
            path = Path(folder, "both.pem")
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
                f.write(self.key + self.certificate)
            context.load_cert_chain(path)
        return context


def make_certificates(host: str) -> Certificates:
    """Those of a run whose driver is called by ``host``: an address, or a name."""
    now = datetime.datetime.now(datetime.UTC)
    own, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def signed(whose: str, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> str:
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named(whose))
            .issuer_name(_named("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLIER)
            .not_valid_after(now + _LIVES)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        )
        if not authority:
            builder = builder.add_extension(x509.SubjectAlternativeName([_called(host)]), critical=False)
        return builder.sign(own, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    key = leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return Certificates(signed("authority", own, authority=True), signed("driver", leaf, authority=False), key)


def _named(whose: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"flyte-build run's {whose}")])


def _called(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def trusting(main: dict[str, Any], pod: dict[str, Any], secret: str) -> None:
    """Have ``main`` of ``pod`` call its driver by TLS: it trusts the authority in ``secret`` for it, and no other."""
    files = [{"key": name, "path": name} for name in (AUTHORITY, SETTINGS)]
    volume = {"name": _VOLUME, "secret": {"secretName": secret, "defaultMode": 0o444, "items": files}}
    pod.setdefault("volumes", []).append(volume)
    main.setdefault("volumeMounts", []).append({"name": _VOLUME, "mountPath": MOUNT, "readOnly": True})
    told = {
        "FLYTECTL_CONFIG": f"{MOUNT}/{SETTINGS}",
        "FLYTE_ADMIN_CACERTFILEPATH": f"{MOUNT}/{AUTHORITY}",
        "FLYTE_ADMIN_ENDPOINT": "$(_U_EP_OVERRIDE)",
        # As the runtime has it where it is told of no settings.
        "FLYTE_ADMIN_DISABLEKEYRING": "true",
        "FLYTE_IMAGE_BUILDER": "remote",
    }
    kept = [v for v in main.get("env") or () if v.get("name") not in (*told, "_U_INSECURE")]
    main["env"] = [*kept, *({"name": name, "value": value} for name, value in told.items())]
