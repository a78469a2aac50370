"""What is signed when an image is signed: two forms that cosign writes, made and read. Pure.

The first is simple signing (cosign's SIGNATURE_SPEC), which every cosign verifies: what we write. The second is
Sigstore's bundle around an in-toto statement in a DSSE envelope, which cosign 3 writes: what we read besides. Whose a
signature is, is asked of a key; here is only what was signed, and about which digest.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, cast

__all__ = ["BUNDLE", "SIGNATURE", "SIMPLE", "Signed", "of_bundle", "of_simple", "simple"]

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"

_TYPE = "cosign container image signature"
_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
_IN_TOTO = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True)
class Signed:
    """``signature`` over ``data``, which says that the image with the manifest ``digest`` is meant."""

    digest: str
    signature: bytes
    data: bytes


def simple(name: str, digest: str) -> bytes:
    """The payload about the image ``digest`` in the repository ``name`` (``host/repository``)."""
    payload = {
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": digest},
            "type": _TYPE,
        },
        "optional": None,
    }
    return json.dumps(payload, separators=(",", ":")).encode()


def of_simple(payload: bytes, annotations: object) -> Signed | None:
    """A layer of a ``.sig`` manifest: its bytes and annotations; ``None`` where it is something else."""
    try:
        critical = json.loads(payload)["critical"]
        signature = base64.b64decode(cast("dict[str, Any]", annotations)[SIGNATURE], validate=True)
        if critical["type"] != _TYPE:
            return None
        return Signed(str(critical["image"]["docker-manifest-digest"]), signature, payload)
    except (ValueError, KeyError, TypeError):
        return None


def of_bundle(bundle: bytes) -> list[Signed]:
    """Every signature of a bundle, one for each digest that the statement is about; none where it is something else.

    Other statements (an SBOM, provenance) are signed in the same form, and vouch for no image.
    """
    try:
        envelope = json.loads(bundle)["dsseEnvelope"]
        body = base64.b64decode(envelope["payload"], validate=True)
        statement = json.loads(body)
        if envelope["payloadType"] != _IN_TOTO or statement["predicateType"] != _PREDICATE:
            return []
        signatures = [base64.b64decode(s["sig"], validate=True) for s in envelope["signatures"]]
        digests = [f"sha256:{s['digest']['sha256']}" for s in statement["subject"]]
    except (ValueError, KeyError, TypeError):
        return []
    signed = b"DSSEv1 %d %s %d %s" % (len(_IN_TOTO), _IN_TOTO.encode(), len(body), body)
    return [Signed(digest, signature, signed) for digest in digests for signature in signatures]
