"""Registry bases: a name in a recipe → the image it means on a platform, by digest, with what is in it.

The registry is asked for the index, one manifest, one configuration, and the layers once; what was found in them is
kept under the cache directory by the manifest's digest, so that no base is read twice on one machine. Nothing of a base
is unpacked or run. Where bytes come from is configuration (:mod:`flyte_build.sources.registry_mirrors`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..kernel.canonical import Json
from ..kernel.errors import ArtifactError, FlyteBuildError, LockError, RefusedError, RegistryError
from ..kernel.paths import cache_dir
from ..kernel.reporting import Reporter
from ..kernel.scratch import scratch
from ..locks.base import OCI_TYPES, BaseFacts, LockedBase, LockedBlob, LockedLayer, parse_facts
from ..locks.reading import DIGEST, Reader
from ..recipe import Platform, RegistryBase
from ..registry import Manifest, Reference, Registry
from ..registry.values import descriptor
from ..sources.registry_mirrors import located
from .base_documents import SETTINGS, diff_ids_of, document_of, rows_of, settings_of
from .inspecting import Tree, facts_of, read_layer
from .inspecting.debian import status

__all__ = ["Bases", "Found", "way_out"]

SCHEMA = 1
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
# Of the config object: what an image on the base keeps (`imageconfig`), and nothing that only a build read.


@dataclass(frozen=True, slots=True)
class Found:
    """What was read off a base: its facts, and dpkg's database as it is (``None``: there is none)."""

    facts: BaseFacts
    status: tuple[str, ...] | None


class Bases:
    """Locks bases through one registry client, which is made when it is first needed."""

    def __init__(self, registry: Callable[[], Registry], reporter: Reporter, cache: Path | None = None) -> None:
        self._make, self._reporter = registry, reporter
        self._opened: Registry | None = None
        self._cache = cache_dir() / "bases" if cache is None else cache
        self._resolved: dict[str, Manifest] = {}
        self._found: dict[str, Found] = {}

    def __enter__(self) -> Bases:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._opened is not None:
            self._opened.close()

    @property
    def _registry(self) -> Registry:
        if self._opened is None:
            self._opened = self._make()
        return self._opened

    def lock(self, base: RegistryBase, platform: Platform, kept: LockedBase | None, *, as_is: bool) -> LockedBase:
        """The base on ``platform``: the digest of ``kept`` where it is given, else what the name leads to now.

        With ``as_is`` the facts are ``None`` where the layers cannot be read. Raises :class:`RegistryError` where the
        registry cannot be asked or lacks the image, :class:`RefusedError` for a platform that it is not for and for
        what cannot lie under an image of ours, :class:`ArtifactError` where its parts do not fit together.
        """
        wanted = Reference.parse(base.reference)
        if wanted.tag is None and wanted.digest is None:
            wanted = wanted.with_tag("latest")
            self._reporter.note(f"{base.reference}: no tag, which means `latest`")
        locked = self._locked(base, wanted, platform) if kept is None else kept
        try:
            return replace(locked, facts=self.found(locked, platform).facts)
        except (RefusedError, ArtifactError) as e:
            if not as_is:
                raise
            self._reporter.warn(f"{e.message}; the image is used as it is, and nothing is known of what is in it")
            return replace(locked, facts=None)

    def moved(self, base: RegistryBase, kept: LockedBase) -> bool:
        """Whether the name leads to another image now; ``False`` where it has a digest, or nobody can be asked."""
        wanted = Reference.parse(base.reference)
        if wanted.digest is not None:
            return False
        try:
            head = self._registry.head(located(wanted))
        except FlyteBuildError:
            return False
        return head is not None and head.digest not in (kept.index, kept.manifest.digest)

    # -- which image -------------------------------------------------------------------------------

    def _locked(self, base: RegistryBase, wanted: Reference, platform: Platform) -> LockedBase:
        top = self._manifest(wanted, base)
        index = top.digest if top.media_type in _INDEXES else None
        if index is not None:
            digest = _chosen(top, platform, base)
            found = self._manifest(wanted.with_digest(digest), base)
        else:
            found = top
        if found.media_type not in _MANIFESTS:
            raise RefusedError(
                f"{base.reference}: expected an image manifest, found `{found.media_type}`",
                hint="a base is an image of schema 2 or of the OCI; copy older ones with `skopeo copy --format oci`",
            )
        named = wanted if wanted.tag is not None else replace(wanted, digest=None)
        return self._described(base, replace(named, digest=found.digest), index, found, platform)

    def _manifest(self, ref: Reference, base: RegistryBase) -> Manifest:
        if (known := self._resolved.get(str(ref))) is not None:
            return known
        with self._reporter.work(f"asking for {ref}"), _telling(base):
            found = self._registry.manifest(located(ref))
        if found is None:
            raise RegistryError(f"{ref}: no such image in the registry", hint=way_out(base))
        if not DIGEST.fullmatch(found.digest):
            raise RefusedError(f"{ref}: expected a SHA-256 digest", hint="name the image by its tag or by its SHA-256")
        self._resolved[str(ref)] = found
        return found

    def _described(
        self, base: RegistryBase, ref: Reference, index: str | None, manifest: Manifest, platform: Platform
    ) -> LockedBase:
        document = manifest.json
        try:
            config = _blob(document["config"])
            rows = [_blob(row) for row in document["layers"]]
        except (KeyError, TypeError, ValueError) as e:
            why = f": {e}" if type(e) is ValueError else ""
            raise ArtifactError(f"{ref}: the manifest lacks what the image specification demands{why}") from None
        with _telling(base):
            data = self._registry.read_blob(located(ref), config.digest)
        image = document_of(data, f"{ref}: the configuration")
        theirs = f"{image.get('os')}/{image.get('architecture')}"
        if theirs != platform:
            raise _not_for(base, platform, [theirs])
        diff_ids = diff_ids_of(image.get("rootfs"))
        if len(diff_ids) != len(rows) or not all(map(DIGEST.fullmatch, diff_ids)):
            raise ArtifactError(f"{ref}: expected a diff_id for each of {len(rows)} layers, found {len(diff_ids)}")
        strange = sorted({row.media_type for row in rows} - OCI_TYPES.keys())
        if strange:
            raise RefusedError(
                f"{base.reference}: layers of the type {', '.join(strange)} cannot lie under an image",
                hint="only tar layers can, plain or compressed with gzip; use another base",
            )
        said = settings_of(image.get("config"), f"{ref}: the configuration")
        return LockedBase(
            reference=str(ref),
            index=index,
            manifest=LockedBlob(manifest.media_type, manifest.digest, len(manifest.data)),
            config=config,
            layers=tuple(LockedLayer(r.media_type, r.digest, r.size, d) for r, d in zip(rows, diff_ids, strict=True)),
            settings={key: said[key] for key in SETTINGS if said.get(key)},
            history=tuple(_history(row) for row in rows_of(image.get("history"))),
        )

    # -- what is in it -----------------------------------------------------------------------------

    def found(self, base: LockedBase, platform: Platform) -> Found:
        """What is in ``base``; its layers are read if nobody has on this machine."""
        digest = base.manifest.digest
        if digest not in self._found:
            self._found[digest] = self._cached(digest) or self._read(base, platform)
        return self._found[digest]

    def _read(self, base: LockedBase, platform: Platform) -> Found:
        ref, tree = located(Reference.parse(base.reference)), Tree()
        self._cache.mkdir(parents=True, exist_ok=True)
        total = sum(layer.size for layer in base.layers)
        with (
            scratch(self._cache) as folder,
            self._reporter.work(f"reading {base.name} ({platform})", total, unit="bytes") as progress,
        ):
            for number, layer in enumerate(base.layers, 1):
                blob = cache_dir() / "oci" / "blobs" / "sha256" / layer.digest.removeprefix("sha256:")
                pulled = not (blob.is_file() and blob.stat().st_size == layer.size)
                if pulled:
                    blob = folder / "blob"
                    self._registry.pull_blob(ref, layer.digest, layer.size, blob, advance=progress.advance)
                else:
                    progress.advance(layer.size)
                read_layer(blob, layer.diff_id, number, tree, f"{base.name}, layer {number}")
                if pulled:
                    blob.unlink()
        texts = status(tree)
        found = Found(facts_of(tree, base.settings), tuple(texts) if texts is not None else None)
        self._keep(base.manifest.digest, found)
        return found

    def _path(self, digest: str) -> Path:
        return self._cache / f"{digest.removeprefix('sha256:')}.json"

    def _cached(self, digest: str) -> Found | None:
        path = self._path(digest)
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if raw["schema"] != SCHEMA:
                return None
            facts = parse_facts(Reader(path), raw["facts"], "$.facts")
            return Found(facts, tuple(raw["status"]) if raw["status"] is not None else None)
        except (OSError, ValueError, KeyError, TypeError, LockError):
            return None

    def _keep(self, digest: str, found: Found) -> None:
        """Whole or not at all; a cache that cannot be written is none."""
        raw = {"schema": SCHEMA, "facts": found.facts.to_json(), "status": found.status}
        try:
            handle, temporary = tempfile.mkstemp(prefix=".facts.", dir=self._cache)
            with os.fdopen(handle, "w", encoding="utf-8") as f:
                json.dump(raw, f, ensure_ascii=False)
            os.replace(temporary, self._path(digest))
        except OSError:
            pass


def way_out(base: RegistryBase, said: str | None = None) -> str:
    """What to do where the registry of ``base`` cannot help; ``said``: what its own error says to do."""
    mirror = "name a mirror of it with $FLYTE_BUILD_REGISTRY_MIRROR"
    if base.official:
        mirror += ', or take `base = "registry"` out of the settings: Debian\'s own packages need no registry'
    if said:
        return f"{said} Or {mirror}" if said.endswith("?") else f"{said}; or {mirror}"
    if base.official:
        return mirror
    return f"check the name and your login (`docker login`, `skopeo login`), or {mirror}"


class _telling:
    """A registry's errors get the way out as their hint."""

    def __init__(self, base: RegistryBase) -> None:
        self._base = base

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RegistryError):
            hint = way_out(self._base, error.hint)
            raise RegistryError(f"{self._base.reference}: {error.message}", hint=hint, detail=error.detail) from None


def _chosen(index: Manifest, platform: Platform, base: RegistryBase) -> str:
    """The manifest of an index for ``platform``; the first, as engines choose (image-spec, image-index.md)."""
    there = []
    for row in rows_of(index.json.get("manifests")):
        said = row.get("platform")
        said = said if isinstance(said, dict) else {}
        theirs = f"{said.get('os')}/{said.get('architecture')}"
        if theirs == platform:
            try:
                return descriptor(row).digest
            except ValueError as e:
                raise RegistryError(f"{base.reference}: the index's entry for {platform}: {e}") from None
        if said.get("os") != "unknown":  # attestations, as BuildKit marks them
            there.append(theirs + (f"/{said['variant']}" if said.get("variant") else ""))
    raise _not_for(base, platform, there)


def _not_for(base: RegistryBase, platform: str, there: list[str]) -> RefusedError:
    return RefusedError(
        f"{base.reference}: expected an image for {platform}, found one for {', '.join(there) or 'no platform'}",
        hint="give the image a platform that its base has: `.clone(platform=(…))`",
    )


def _blob(raw: object) -> LockedBlob:
    said = descriptor(raw)
    found = LockedBlob(said.media_type, said.digest, said.size)
    if not DIGEST.fullmatch(found.digest):
        raise RefusedError(
            f"expected a blob with a SHA-256 digest, found `{found.digest}`",
            hint="copy the base with `skopeo copy --format oci`, and name the copy",
        )
    return found


def _history(row: Mapping[str, Any]) -> dict[str, Json]:
    """The fields of the specification, of the types that it gives them."""
    out: dict[str, Json] = {
        key: row[key] for key in ("created", "created_by", "author", "comment") if isinstance(row.get(key), str)
    }
    return out | {"empty_layer": True} if row.get("empty_layer") else out
