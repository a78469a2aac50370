"""How an image came to be: an in-toto statement (v1) with SLSA provenance (v1), from the lock and the derivation. Pure.

The statement says what was asked (environment, platform, the lock by its hash), what went in (every artifact and the
base image by digest), and who put it together. It holds no time and no machine: an image here is a function of its
inputs, and so is what is said about it. It is not signed; see ``signing``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..assemble.version import ASSEMBLER
from ..kernel.canonical import Json, digest
from ..kernel.version import __version__
from ..locks.nouns import Lock
from .packages import Inventory

__all__ = ["BUILDER", "BUILD_TYPE", "MEDIA_TYPE", "PREDICATE", "Made", "lock_digest", "provenance"]

MEDIA_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "pkg:pypi/flyte-build#image/v1"
"""What the parameters below mean; the page docs/supply-chain.md defines it."""
BUILDER = "pkg:pypi/flyte-build"


@dataclass(frozen=True, slots=True)
class Made:
    """What is known of an image's making beyond its lock: ``derivation`` is its hash, ``files`` are copied files (and
    links' targets are not), path in the image → SHA-256 in hex."""

    derivation: str
    files: Mapping[str, str]


def lock_digest(lock: Lock) -> str:
    """``sha256:<hex>`` of the lock's canonical JSON without its pins, which say what came out and not what went in.

    ``jq -cjS 'del(.pins)' lockfiles/ENV.json | sha256sum`` gives the same.
    """
    return digest(replace(lock, pins={}).to_json())


def provenance(lock: Lock, image: Inventory, made: Made | None = None) -> bytes:
    """The statement about ``image``, whose digest has to be known: UTF-8, ends in a line feed."""
    if image.digest is None:
        raise ValueError(f"provenance of {image.environment} is about a digest, and there is none")
    statement: dict[str, Json] = {
        "_type": STATEMENT,
        "subject": [{"name": image.environment, "digest": _digest(image.digest)}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "environment": image.environment,
                    "platform": image.platform,
                    "lock": {"name": f"{image.environment}.json", "digest": _digest(lock_digest(lock))},
                },
                "internalParameters": {"derivation": made.derivation} if made is not None else {},
                "resolvedDependencies": _materials(image, made),
            },
            "runDetails": {
                "builder": {
                    "id": BUILDER,
                    "version": {"flyte-build": __version__, "assembler": str(ASSEMBLER)},
                }
            },
        },
    }
    return (json.dumps(statement, indent=2, ensure_ascii=False) + "\n").encode()


def _materials(image: Inventory, made: Made | None) -> list[Json]:
    """Everything whose bytes are in the image, by digest (in-toto's ResourceDescriptor)."""
    out: list[Json] = []
    if image.base is not None:
        out.append({"name": image.base.name, "uri": image.base.purl, "digest": _digest(image.base.digest)})
    for taken in image.taken:
        row = {"name": taken.name, "uri": taken.purl, "digest": _digest(taken.digest)}
        out.append({**row, "annotations": {"stage": True}})
    out += [{"name": p.file, "uri": p.purl, "digest": {"sha256": p.sha256}} for p in image.packages if not p.from_base]
    if made is not None:
        out += [
            {"name": path, "digest": {"sha256": sha256}, "annotations": {"copied": True}}
            for path, sha256 in sorted(made.files.items())
        ]
    return out


def _digest(text: str) -> Json:
    algorithm, _, value = text.partition(":")
    return {algorithm: value}
