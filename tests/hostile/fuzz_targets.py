"""The table of the fuzzer's targets: a reader, what it may refuse with, how its input is changed, and its seeds."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from flyte_build.assemble.errors import AssembleError
from flyte_build.kernel.canonical import digest
from flyte_build.kernel.documents import parse_object
from flyte_build.kernel.errors import (
    ArtifactError,
    FetchError,
    InputError,
    LockError,
    PinError,
    RefusedError,
    RegistryError,
    RunError,
)
from flyte_build.kernel.layer_tar import BadLayer
from flyte_build.remote.cache_entries import Unbelievable
from flyte_build.submit import door

from . import fuzz_actions, fuzz_documents, fuzz_files, mutating, mutating_packed

__all__ = ["CORPUS", "TARGETS", "Target", "seeds"]

CORPUS = Path(__file__).with_name("corpus")
FOUND = "found.zip"
"""Beside the seeds that builders make: what went where none of them goes, found by the fuzzer itself."""
Mutator = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


@dataclass(frozen=True)
class Target:
    """``run(data, folder)`` takes ``data`` or raises one of ``refusals``; ``seeds``: the corpus's folder."""

    run: Callable[[bytes, Path], object]
    refusals: tuple[type[Exception], ...]
    mutate: Mutator
    seeds: str


def _locks(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Changed, and mostly with the fingerprint of the recipe that it has then."""
    changed = mutating.document(r, data, others)
    if r.random() < 0.8:
        try:
            raw = parse_object(changed)
            raw["fingerprint"] = digest(raw["recipe"])
            return json.dumps(raw).encode()
        except (ValueError, KeyError, TypeError):
            pass
    return changed


_BAD = (AssembleError, ArtifactError, RefusedError, BadLayer)
_TEXT, _JSON, _PACKED = mutating.text, mutating.document, mutating_packed
_DOC, _FILE = fuzz_documents, fuzz_files
TARGETS: dict[str, Target] = {
    "wheel": Target(_FILE.wheel, _BAD, _PACKED.wheel, "wheel"),
    "core": Target(_FILE.core, _BAD, _PACKED.wheel, "wheel"),
    "python": Target(_FILE.python, _BAD, _PACKED.gzipped(mutating.tar), "python"),
    "conda": Target(_FILE.conda, _BAD, _PACKED.bzipped(mutating.tar), "conda"),
    "zip": Target(_FILE.zip_archive, _BAD, mutating.binary, "wheel"),
    "metadata": Target(_DOC.of_range, (zipfile.BadZipFile, KeyError), _PACKED.wheel, "wheel"),
    "deb": Target(_FILE.deb, _BAD, _PACKED.deb, "deb"),
    "ar": Target(_FILE.deb, _BAD, mutating.binary, "deb"),
    "tar": Target(_DOC.tar_members, _BAD, mutating.tar, "tar"),
    "layer": Target(_FILE.layer, _BAD, mutating.tar, "tar"),
    "gzip": Target(_DOC.gzip_members, _BAD, mutating.binary, "gzip"),
    "elf": Target(_DOC.elf, (), mutating.binary, "elf"),
    "licence": Target(_DOC.licence, (), _TEXT, "licence"),
    "manifest": Target(_DOC.manifest, (RegistryError,), _JSON, "manifest"),
    "config": Target(_DOC.config, (ArtifactError,), _JSON, "config"),
    "layout": Target(_FILE.layout, (ArtifactError, InputError), _JSON, "layout"),
    "challenge": Target(_DOC.challenge, (RegistryError,), _TEXT, "challenge"),
    "realisation": Target(_DOC.realisation, (Unbelievable,), _JSON, "realisation"),
    "image": Target(_DOC.image, (Unbelievable,), _PACKED.divided, "image"),
    "listing": Target(_DOC.listing, (Unbelievable,), _PACKED.deflated(_JSON), "listing"),
    "signature": Target(_DOC.signature, (), _PACKED.divided, "signature"),
    "lock": Target(_DOC.lock, (LockError,), _locks, "lock"),
    "pins": Target(_DOC.lock, (LockError,), _PACKED.pins, "lock"),
    "bundle": Target(_FILE.bundle, (ArtifactError, InputError, LockError, PinError), _PACKED.bundle, "bundle"),
    "settings": Target(_FILE.settings, (InputError,), _TEXT, "settings"),
    "status": Target(_DOC.status, (ArtifactError,), _TEXT, "status"),
    "packages": Target(_DOC.packages, (FetchError,), _TEXT, "packages"),
    "release": Target(_DOC.release, (FetchError,), _TEXT, "release"),
    "page": Target(_DOC.index_page, (ValueError,), _TEXT, "page"),
    "page-json": Target(_DOC.index_page, (ValueError,), _JSON, "page-json"),
    "journal": Target(_FILE.journal, (RunError,), _TEXT, "journal"),
    "actions": Target(fuzz_actions.actions, (), _PACKED.headed, "actions"),
    "outputs": Target(_FILE.outputs, (door.Refused, DecodeError, ValueError), _PACKED.proto, "outputs"),
    "error": Target(_DOC.error, (), _PACKED.proto, "error"),
}


def seeds(target: Target) -> list[bytes]:
    """What the builders make, and what was found."""
    folder = CORPUS / target.seeds
    made = [path.read_bytes() for path in sorted(folder.iterdir()) if path.name != FOUND]
    if not (folder / FOUND).exists():
        return made
    with zipfile.ZipFile(folder / FOUND) as found:
        return [*made, *(found.read(name) for name in sorted(found.namelist()))]
