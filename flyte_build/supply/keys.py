"""Keys that sign and verify: PEM files in this process, everything else through cosign's program.

In this process are public keys, and private keys in PEM with or without a password (PKCS #8, SEC 1): ECDSA on P-256 or
RSA, over SHA-256. A key that cosign alone can open (its own encrypted files, and keys of clouds, vaults and tokens such
as ``awskms://…``) stays with it: it is asked to sign bytes, and for the public key. No key is ever made here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from ..kernel.errors import InputError
from ..kernel.scratch import scratch

__all__ = ["PublicKey", "Signer", "public_key", "signer"]

PASSWORD = "COSIGN_PASSWORD"
"""The variable that holds a private key's password, for cosign and for us."""

_SCHEME = re.compile(r"[a-z0-9+]{2,}://")
_COSIGN_FILE = re.compile(rb"-----BEGIN ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY-----")
_SMALLEST_RSA = 2048
_PATIENCE = 120


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies; ``name`` is what the user called it."""

    name: str
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey

    @property
    def hint(self) -> str:
        """What tells this key from others in a bundle, as cosign has it: the hash of its DER form."""
        der = self.key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(der).digest()).decode()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` (DER for ECDSA, PKCS #1 v1.5 for RSA) over SHA-256 of ``data`` is by this key."""
        try:
            if isinstance(self.key, rsa.RSAPublicKey):
                self.key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            else:
                self.key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


class Signer(Protocol):
    """A key that signs."""

    @property
    def public(self) -> PublicKey: ...

    def sign(self, data: bytes) -> bytes:
        """A signature that ``public`` verifies."""


def public_key(key: str, environ: Mapping[str, str] = os.environ) -> PublicKey:
    """The key that ``key`` names: a PEM file (of a private key, its public half), or a reference that cosign knows.

    Raises :class:`InputError` where it is no key, or one of a kind that is not used here.
    """
    if _SCHEME.match(key):
        return PublicKey(key, _public(_cosign(["public-key", "--key", key], key, environ), key))
    data = _read(key)
    if _COSIGN_FILE.search(data):
        return PublicKey(key, _public(_cosign(["public-key", "--key", key], key, environ), key))
    if b"PRIVATE KEY-----" in data:
        return _Pem(key, data, environ).public
    return PublicKey(key, _public(data, key))


def signer(key: str, environ: Mapping[str, str] = os.environ) -> Signer:
    """The private key that ``key`` names, as :func:`public_key`; its password is ``$COSIGN_PASSWORD``."""
    if _SCHEME.match(key):
        return _Cosign(key, environ)
    data = _read(key)
    if _COSIGN_FILE.search(data):
        return _Cosign(key, environ)
    if b"PRIVATE KEY-----" not in data:
        raise InputError(f"{key}: expected a private key to sign with, found something else")
    return _Pem(key, data, environ)


class _Pem:
    def __init__(self, name: str, data: bytes, environ: Mapping[str, str]) -> None:
        password = environ.get(PASSWORD) or None
        encrypted = b"ENCRYPTED" in data
        if encrypted and password is None:
            raise InputError(f"{name}: this private key has a password", hint=f"set {PASSWORD}")
        try:
            key = serialization.load_pem_private_key(data, password.encode() if password and encrypted else None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as e:
            wrong = f", or that {PASSWORD} is not its password" if encrypted else ""
            raise InputError(
                f"{name}: expected a private key in PEM; found that it cannot be read{wrong}: {e}"
            ) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise _unusable(name, key)
        self._key = key
        self.public = PublicKey(name, _usable(key.public_key(), name))

    def sign(self, data: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))


class _Cosign:
    """Holds no key: cosign does. Nothing is uploaded to a transparency log, and no service of Sigstore is asked."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self._name, self._environ = name, environ
        self.public = public_key(name, environ)

    def sign(self, data: bytes) -> bytes:
        command = ["sign-blob", "--key", self._name, "--yes", "--tlog-upload=false"]
        if b"--use-signing-config" in _cosign(["sign-blob", "--help"], self._name, self._environ):
            command.append("--use-signing-config=false")
        with scratch() as folder:
            payload, bundle = Path(folder, "payload"), Path(folder, "bundle")
            payload.write_bytes(data)
            _cosign([*command, "--bundle", str(bundle), str(payload)], self._name, self._environ)
            signature = _signature(bundle)
        if signature is None or not self.public.verifies(signature, data):
            raise InputError(f"{self._name}: cosign gave no signature that its own public key verifies")
        return signature


def _signature(bundle: Path) -> bytes | None:
    """What ``sign-blob --bundle`` wrote: Sigstore's bundle, or the form that cosign 2 has."""
    try:
        said = json.loads(bundle.read_bytes())
        text = said["messageSignature"]["signature"] if "messageSignature" in said else said["base64Signature"]
        return base64.b64decode(text, validate=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _cosign(arguments: list[str], key: str, environ: Mapping[str, str]) -> bytes:
    program = shutil.which("cosign", path=environ.get("PATH"))
    if program is None:
        raise InputError(
            f"{key}: this key can be used by cosign only, and there is no `cosign` in PATH",
            hint="install cosign, or give the key as a PEM file",
        )
    try:
        done = subprocess.run(
            [program, *arguments],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{key}: cosign gave no answer within {_PATIENCE} seconds") from None
    if done.returncode:
        raise InputError(
            f"{key}: cosign refuses this key",
            hint=f"the password of a key file is taken from {PASSWORD}",
            detail=done.stderr.decode("utf-8", "replace").strip(),
        )
    return done.stdout


def _read(key: str) -> bytes:
    try:
        return Path(key).expanduser().read_bytes()
    except OSError as e:
        raise InputError(f"{key}: the key cannot be read: {e.strerror or e}") from None


def _public(data: bytes, name: str) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    try:
        return _usable(serialization.load_pem_public_key(data), name)
    except (ValueError, UnsupportedAlgorithm) as e:
        raise InputError(f"{name}: expected a public key in PEM; found that it cannot be read: {e}") from None


def _usable(key: object, name: str) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA:
        return key
    raise _unusable(name, key)


def _unusable(name: str, key: object) -> InputError:
    found = type(key).__name__.lstrip("_")
    return InputError(f"{name}: expected an ECDSA key on P-256 or an RSA key of at least 2048 bits, found {found}")
