"""What is signed when an image is signed: the two forms that cosign knows, made and read. Pure.

The first is simple signing (cosign's SIGNATURE_SPEC), which every cosign and what is built on it look for. The second
is Sigstore's bundle around an in-toto statement in a DSSE envelope; cosign 3 writes that alone, and looks at nothing
else where an image has one. Whose a signature is, is asked of a key; here is only what was signed, and about which
digest.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, cast

__all__ = [
    "BUNDLE",
    "BUNDLE_NOTES",
    "SIGNATURE",
    "SIMPLE",
    "Signed",
    "bundle",
    "enveloped",
    "of_bundle",
    "of_simple",
    "simple",
    "statement",
]

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"

_TYPE = "cosign container image signature"
_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
_IN_TOTO = "application/vnd.in-toto+json"

BUNDLE_NOTES = {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": _PREDICATE}
"""The annotations of a bundle's manifest."""


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


def statement(digest: str) -> bytes:
    """The in-toto statement that the image ``digest`` is signed, and no more."""
    algorithm, _, value = digest.partition(":")
    said = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {algorithm: value}}],
        "predicateType": _PREDICATE,
        "predicate": {},
    }
    return json.dumps(said, separators=(",", ":")).encode()


def enveloped(body: bytes) -> bytes:
    """What is signed where ``body`` is a statement in an envelope: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(_IN_TOTO), _IN_TOTO.encode(), len(body), body)


def bundle(body: bytes, signature: bytes, hint: str) -> bytes:
    """Sigstore's bundle, version 0.3: ``signature`` over ``enveloped(body)`` by the key that ``hint`` tells."""
    said = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": hint}},
        "dsseEnvelope": {
            "payload": base64.b64encode(body).decode(),
            "payloadType": _IN_TOTO,
            "signatures": [{"sig": base64.b64encode(signature).decode()}],
        },
    }
    return json.dumps(said, separators=(",", ":")).encode()


def of_simple(payload: bytes, annotations: object) -> Signed | None:
    """A layer of a ``.sig`` manifest: its bytes and annotations; ``None`` where it is something else."""
    try:
        critical = json.loads(payload)["critical"]
        signature = base64.b64decode(cast("dict[str, Any]", annotations)[SIGNATURE], validate=True)
        if critical["type"] != _TYPE:
            return None
        return Signed(str(critical["image"]["docker-manifest-digest"]), signature, payload)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def of_bundle(bundle: bytes) -> list[Signed]:
    """Every signature of a bundle, one for each digest that the statement is about; none where it is something else.

    Other statements (an SBOM, provenance) are signed in the same form, and vouch for no image.
    """
    try:
        envelope = json.loads(bundle)["dsseEnvelope"]
        body = base64.b64decode(envelope["payload"], validate=True)
        said = json.loads(body)
        if envelope["payloadType"] != _IN_TOTO or said["predicateType"] != _PREDICATE:
            return []
        signatures = [base64.b64decode(s["sig"], validate=True) for s in envelope["signatures"]]
        digests = [f"sha256:{s['digest']['sha256']}" for s in said["subject"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return [Signed(digest, signature, enveloped(body)) for digest in digests for signature in signatures]
