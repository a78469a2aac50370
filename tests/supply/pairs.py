"""Pairs of keys, made anew each run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

__all__ = ["written"]


def written(
    folder: Path, name: str, key: Any, *, password: bytes | None = None, form: PrivateFormat = PrivateFormat.PKCS8
) -> tuple[str, str]:
    """The files of a private key and its public half."""
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    private.write_bytes(key.private_bytes(Encoding.PEM, form, encryption))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(private), str(public)
