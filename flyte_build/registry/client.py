"""A client of OCI registries (distribution specification 1.1): manifests, blobs, tags and referrers.

It knows nothing of what images mean, and decides no order: who pushes an image pushes its blobs first, then
manifests by digest, then tags. What every call keeps to: bytes are verified against their digest in both
directions, requests are authorised, retried and redirected as :mod:`.transport` says, and errors are
:class:`RegistryError` without secrets.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

from ..kernel.documents import is_number, parse
from ..kernel.errors import InputError, RegistryError
from . import downloads, referrers
from .auth import scope
from .messages import Access, Request
from .reference import Reference, check_digest
from .retrying import Patience
from .secrets import redact_url
from .settling import Underway, put_seen
from .transport import Transport
from .upload_body import Outgoing
from .uploads import CHUNK, Upload
from .values import MANIFEST_TYPES, Descriptor, Manifest, PutResult, digest_of

__all__ = ["Registry"]

_MOST_MANIFEST = 16 << 20
_MOST_SMALL = 16 << 20
_PAGES = 1000


def _ignore(_: int) -> None:
    return None


class Registry:
    """Registries, as many as references name; safe to use from several threads, and a context manager.

    ``insecure`` hosts (``host`` or ``host:port``) may be spoken to in plain HTTP, as loopback may; all others have
    TLS. ``connections`` bounds those open at once to all hosts that share their authorities: a call from more
    threads waits. A ``source`` of :meth:`push_blob` must not read from the same :class:`Registry`, whose
    connections it would wait for. ``home``: the host that ``FLYTE_BUILD_REGISTRY_USER`` and ``…_PASSWORD`` are for,
    by default that of ``FLYTE_BUILD_REGISTRY``. ``timeout``: seconds without a byte. ``wait``, ``clock`` and
    ``chance`` are time and luck.
    """

    def __init__(
        self,
        *,
        insecure: Collection[str] = (),
        connections: int = 8,
        environ: Mapping[str, str] = os.environ,
        docker_config: Path | None = None,
        home: str | None = None,
        attempts: int = 6,
        timeout: float = 60.0,
        chunk: int = CHUNK,
        certificates: Sequence[Path] | None = None,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.transport = Transport(
            insecure=insecure,
            connections=connections,
            environ=environ,
            docker_config=docker_config,
            home=home,
            patience=Patience(attempts, wait=wait, chance=chance),
            timeout=timeout,
            clock=clock,
            certificates=certificates,
        )
        self._chunk = chunk
        self._without_chunks: set[str] = set()
        self._underway = Underway()

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the object can be used again."""
        self.transport.close()

    # -- manifests -------------------------------------------------------------------------------------

    def manifest(self, ref: Reference, *, accept: Sequence[str] = MANIFEST_TYPES) -> Manifest | None:
        """The manifest or index that ``ref`` names, verified; ``None`` where the registry has none.

        Raises :class:`RegistryError` where the bytes are not those of the digest that was asked for or stated.
        """
        url = self.url(ref, f"manifests/{ref.target}")
        request = Request(
            "GET",
            url,
            self.access(ref, "pull"),
            frozenset({200, 404}),
            {"Accept": ", ".join(accept)},
            limit=_MOST_MANIFEST,
        )
        answer = self.transport.send(request)
        if answer.status == 404:
            return None
        digest = ref.digest or digest_of(answer.body)
        stated = answer.headers.get("docker-content-digest")
        for wanted in (digest, stated):
            if wanted is not None and digest_of(answer.body, _algorithm(wanted)) != wanted:
                raise RegistryError(
                    f"GET {redact_url(url)}: expected {wanted}, found {digest_of(answer.body, _algorithm(wanted))}",
                    hint="the registry, or a proxy before it, has other bytes under this digest",
                )
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        return Manifest(_media_type(kind, answer.body, url), digest, answer.body)

    def head(self, ref: Reference) -> Descriptor | None:
        """What ``ref`` names, without its bytes; ``None`` where the registry has none."""
        url = self.url(ref, f"manifests/{ref.target}")
        headers = {"Accept": ", ".join(MANIFEST_TYPES)}
        answer = self.transport.send(Request("HEAD", url, self.access(ref, "pull"), frozenset({200, 404}), headers))
        if answer.status == 404:
            return None
        stated, length = answer.headers.get("docker-content-digest"), answer.headers.get("content-length", "")
        if (stated is None and ref.digest is None) or not is_number(length):
            found = self.manifest(ref)
            return found.descriptor if found is not None else None
        if ref.digest is not None and stated is not None and stated != ref.digest:
            raise RegistryError(f"HEAD {redact_url(url)}: expected {ref.digest}, found {stated}")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        return Descriptor(kind, check_digest(ref.digest or stated or ""), int(length))

    def put_manifest(self, ref: Reference, data: bytes, media_type: str) -> PutResult:
        """Store ``data`` under the tag of ``ref``, or by its digest where that has none.

        One that is refused for a blob which the registry has after all is sent again. Raises
        :class:`RegistryError` where the registry refuses (a blob is missing, …) or says that it stored other
        bytes; :class:`InputError` where ``ref`` has a digest that is not that of ``data``.
        """
        digest = digest_of(data, _algorithm(ref.digest or "sha256:"))
        if ref.digest not in (None, digest):
            raise InputError(f"{ref}: expected a manifest of that digest, found {digest}")
        url = self.url(ref, f"manifests/{ref.tag or digest}")
        request = Request(
            "PUT", url, self.access(ref, "pull", "push"), frozenset({200, 201}), {"Content-Type": media_type}, data
        )
        answer = put_seen(self, ref, request, data)
        stated = answer.headers.get("docker-content-digest")
        if stated is not None and stated != digest_of(data, _algorithm(stated)):
            raise RegistryError(
                f"PUT {redact_url(url)}: expected {digest}, found {stated}",
                hint="the registry changed the manifest: it cannot hold images by digest",
            )
        if stated is None and self.head(Reference(ref.host, ref.repository, digest=digest)) is None:
            raise RegistryError(f"PUT {redact_url(url)}: {answer.status}, but {digest} is not there")
        return PutResult(digest, answer.headers.get("oci-subject") is not None)

    # -- blobs -----------------------------------------------------------------------------------------

    def blob(self, ref: Reference, digest: str) -> int | None:
        """The size in bytes of the blob ``digest`` in the repository of ``ref``; ``None`` where it has none."""
        url = self.url(ref, f"blobs/{check_digest(digest)}")
        answer = self.transport.send(Request("HEAD", url, self.access(ref, "pull"), frozenset({200, 404})))
        if answer.status == 404:
            return None
        length = answer.headers.get("content-length", "")
        if not is_number(length):
            raise RegistryError(f"HEAD {redact_url(url)}: expected a Content-Length, found `{length}`")
        return int(length)

    def push_blob(
        self,
        ref: Reference,
        digest: str,
        size: int,
        source: Callable[[int], BinaryIO],
        *,
        mount_from: Sequence[str] = (),
        advance: Callable[[int], object] = _ignore,
    ) -> Literal["exists", "mounted", "uploaded"]:
        """See to it that the repository of ``ref`` has the blob, and say how; on return the registry has confirmed it.

        ``source(offset)`` opens the bytes from ``offset``, as often as it takes. ``mount_from``: repositories that
        may have the blob, ``name`` or ``host/name``; those of other registries are passed over. ``advance`` is told
        of ``size`` bytes in all.
        """
        access = self.access(ref, "pull", "push")
        blob = Outgoing(check_digest(digest), size, source, advance)
        with self._underway.alone(ref, digest):
            upload = Upload(self.transport, access, blob, chunk=self._chunk, whole=ref.host in self._without_chunks)
            if upload.exists():
                blob.tell(size)
                return "exists"
            if upload.mount(_neighbours(ref, mount_from)):
                return "mounted"
            upload.send()
            if upload.whole:
                self._without_chunks.add(ref.host)
            return "uploaded"

    def pull_blob(
        self, ref: Reference, digest: str, size: int, target: Path, *, advance: Callable[[int], object] = _ignore
    ) -> None:
        """The blob into the file ``target``, which appears (or is replaced) when all its bytes are verified.

        Raises :class:`RegistryError` where the bytes are not those of the digest, more or less than ``size``.
        """
        url = self.url(ref, f"blobs/{check_digest(digest)}")
        downloads.pull(self.transport, Request("GET", url, self.access(ref, "pull")), digest, size, target, advance)

    def read_blob(self, ref: Reference, digest: str, limit: int = _MOST_SMALL) -> bytes:
        """A small blob (a config, a listing), verified; raises :class:`RegistryError` beyond ``limit`` bytes."""
        url = self.url(ref, f"blobs/{check_digest(digest)}")
        return downloads.read(self.transport, Request("GET", url, self.access(ref, "pull")), digest, limit)

    # -- lists -----------------------------------------------------------------------------------------

    def referrers(self, ref: Reference, digest: str, artifact_type: str | None = None) -> list[dict[str, Any]]:
        """Descriptors of the manifests in the repository of ``ref`` whose subject is ``digest``, if any."""
        return referrers.list_referrers(self, ref, check_digest(digest), artifact_type)

    def put_referrer(self, ref: Reference, data: bytes, media_type: str) -> PutResult:
        """Store a manifest with a ``subject`` by digest, and list it there where the registry does not itself."""
        return self.put_referrers(ref, [data], media_type)[0]

    def put_referrers(self, ref: Reference, documents: Sequence[bytes], media_type: str) -> list[PutResult]:
        """The same of several manifests with one ``subject``, which are listed in their order and at once.

        Raises :class:`InputError` where they have none, or not the same one, and :class:`RegistryError` where the
        registry refuses, or others keep overwriting the list.
        """
        return referrers.put_referrers(self, ref, documents, media_type, self._underway)

    def tags(self, ref: Reference) -> list[str]:
        """The tags of the repository, in the registry's order; empty where there is no such repository."""
        found: list[str] = []
        url = self.url(ref, "tags/list?n=1000")
        for _ in range(_PAGES):
            answer = self.transport.send(Request("GET", url, self.access(ref, "pull"), frozenset({200, 404})))
            if answer.status == 404:
                return found
            try:
                found += [str(tag) for tag in parse(answer.body).get("tags") or ()]
            except (ValueError, AttributeError, TypeError):
                raise RegistryError(f"GET {redact_url(url)}: expected a list of tags, found none") from None
            following = referrers.next_page(answer.headers.get("link", ""), answer.url)
            if following is None:
                return found
            url = following
        raise RegistryError(f"GET {redact_url(url)}: more than {_PAGES} pages of tags")

    # -- for the parts of this package -----------------------------------------------------------------

    def url(self, ref: Reference, path: str) -> str:
        return self.transport.url(ref.host, f"/v2/{ref.repository}/{path}")

    def access(self, ref: Reference, *actions: str) -> Access:
        return Access(ref.host, ref.repository, frozenset({scope(ref.repository, *actions)}))


def _neighbours(ref: Reference, names: Sequence[str]) -> list[str]:
    found = []
    for name in names:
        first, _, rest = name.partition("/")
        if name.startswith(f"{ref.host}/"):
            name = name.removeprefix(f"{ref.host}/")
        elif (rest and any(c in first for c in ".:")) or first == "localhost":
            continue
        if name != ref.repository:
            found.append(name)
    return list(dict.fromkeys(found))


def _algorithm(digest: str) -> str:
    algorithm = digest.partition(":")[0]
    if algorithm not in ("sha256", "sha512"):
        raise RegistryError(f"expected a digest of sha256 or sha512, found `{digest}`")
    return algorithm


def _media_type(stated: str, data: bytes, url: str) -> str:
    """The media type, which header and document must agree on: or two clients would read two images."""
    try:
        document = parse(data)
    except ValueError:
        raise RegistryError(f"GET {redact_url(url)}: expected a manifest, found no JSON") from None
    inside = document.get("mediaType") if isinstance(document, dict) else None
    if isinstance(document, dict) and "manifests" in document and ("layers" in document or "config" in document):
        raise RegistryError(f"GET {redact_url(url)}: a manifest that is an index as well is refused")
    if inside and stated and inside != stated:
        raise RegistryError(f"GET {redact_url(url)}: expected the manifest to be `{stated}`, found `{inside}` in it")
    return str(inside or stated)
