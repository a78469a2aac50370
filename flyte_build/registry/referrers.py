"""What refers to a manifest: signatures, SBOMs, provenance. The registry's list, or a tag's where it keeps none.

Distribution specification, "Listing Referrers" and "Referrers Tag Schema": a registry without the API has an index of
the referrers under the tag ``sha256-<hex>``, which clients keep.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urljoin, urlsplit

from ..kernel.documents import parse
from ..kernel.errors import InputError, RegistryError
from .messages import Access, Request
from .reference import Reference
from .secrets import redact_url
from .settling import Underway
from .values import IMAGE_INDEX, Manifest, PutResult

if TYPE_CHECKING:
    from .transport import Transport

__all__ = ["fallback_tag", "list_referrers", "put_referrers"]

_PAGES = 100
_TRIES = 4


class Registry(Protocol):
    """What is asked of :class:`flyte_build.registry.client.Registry`, which offers these functions as methods."""

    transport: Transport

    def url(self, ref: Reference, path: str) -> str: ...

    def access(self, ref: Reference, *actions: str) -> Access: ...

    def manifest(self, ref: Reference, *, accept: Sequence[str]) -> Manifest | None: ...

    def put_manifest(self, ref: Reference, data: bytes, media_type: str) -> PutResult: ...


def fallback_tag(digest: str) -> str:
    """The tag under which clients keep the referrers of ``digest``."""
    algorithm, _, value = digest.partition(":")
    return f"{algorithm[:32]}-{value[:64]}"


def list_referrers(registry: Registry, ref: Reference, digest: str, artifact_type: str | None) -> list[dict[str, Any]]:
    """See :meth:`Registry.referrers`."""
    query = f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else ""
    url = registry.url(ref, f"referrers/{digest}{query}")
    found: list[dict[str, Any]] = []
    for page in range(_PAGES):
        request = Request("GET", url, registry.access(ref, "pull"), frozenset({200, 400, 404, 405}))
        answer = registry.transport.send(request)
        listed = _manifests(answer.body) if answer.status == 200 else None
        if listed is None:
            if page:
                raise RegistryError(f"GET {redact_url(url)}: expected an index, found none")
            found = _fallback(registry, ref, digest)
            break
        found += listed
        following = next_page(answer.headers.get("link", ""), answer.url)
        if following is None:
            break
        url = following
    else:
        raise RegistryError(f"GET {redact_url(url)}: more than {_PAGES} pages of referrers")
    return [d for d in found if artifact_type is None or d.get("artifactType") == artifact_type]


def put_referrers(
    registry: Registry, ref: Reference, documents: Sequence[bytes], media_type: str, underway: Underway
) -> list[PutResult]:
    """See :meth:`Registry.put_referrers`. ``underway``: of one subject's, one writes the list and others wait."""
    parsed = [json.loads(data) for data in documents]
    subjects = {d.get("subject", {}).get("digest") if isinstance(d, dict) else None for d in parsed}
    subject = subjects.pop() if len(subjects) == 1 else None
    if not isinstance(subject, str):
        raise InputError("expected manifests with one `subject`, found none or several")
    results, entries = [], []
    for data, document in zip(documents, parsed, strict=True):
        result = registry.put_manifest(Reference(ref.host, ref.repository), data, media_type)
        results.append(result)
        if not result.subject_accepted:
            entries.append(_entry(result.digest, len(data), document, media_type))
    if entries:
        tag = Reference(ref.host, ref.repository).with_tag(fallback_tag(subject))
        with underway.alone(ref, tag.target):
            _listed(registry, tag, subject, entries)
    return results


def _listed(registry: Registry, tag: Reference, subject: str, entries: Sequence[dict[str, Any]]) -> None:
    """See to it that the list of the referrers of ``subject``, which is under ``tag``, has ``entries``."""
    # Other clients may write the same tag at the same moment, and the last one wins: it is read again.
    for attempt in range(_TRIES + 1):
        known = _fallback(registry, tag, subject)
        there = {d.get("digest") for d in known}
        lacking = [entry for entry in entries if entry["digest"] not in there]
        if not lacking:
            return
        if attempt < _TRIES:
            index = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [*known, *lacking]}
            registry.put_manifest(tag, json.dumps(index, sort_keys=True, separators=(",", ":")).encode(), IMAGE_INDEX)
    raise RegistryError(f"{tag}: others keep overwriting this list of referrers", hint="push again")


def _entry(digest: str, size: int, document: Mapping[str, Any], media_type: str) -> dict[str, Any]:
    """A referrer's descriptor in the list: with its artifact type and its annotations."""
    entry: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": size}
    kind = document.get("artifactType") or document.get("config", {}).get("mediaType")
    if kind:
        entry["artifactType"] = kind
    if document.get("annotations"):
        entry["annotations"] = document["annotations"]
    return entry


def next_page(link: str, url: str) -> str | None:
    """The URL that a ``Link`` with ``rel="next"`` names (RFC 8288), of the same origin as ``url``."""
    start, end = link.find("<"), link.find(">")
    if start < 0 or end < start or "next" not in link[end:]:
        return None
    try:
        target = urljoin(url, link[start + 1 : end])
        before, after = urlsplit(url), urlsplit(target)
    except ValueError as e:
        raise RegistryError(f"GET {redact_url(url)}: the next page has no address: {e}") from None
    if (before.scheme, before.netloc) != (after.scheme, after.netloc):
        raise RegistryError(f"GET {redact_url(url)}: the next page is elsewhere: {redact_url(target)}")
    return target


def _fallback(registry: Registry, ref: Reference, digest: str) -> list[dict[str, Any]]:
    found = registry.manifest(Reference(ref.host, ref.repository, tag=fallback_tag(digest)), accept=(IMAGE_INDEX,))
    return (_manifests(found.data) or []) if found is not None else []


def _manifests(body: bytes) -> list[dict[str, Any]] | None:
    try:
        document = parse(body)
        found = document.get("manifests")
    except (ValueError, AttributeError):
        return None
    listed = found or []
    return listed if isinstance(listed, list) and all(isinstance(d, dict) for d in listed) else None
