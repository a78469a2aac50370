"""Images into a Docker daemon, through its `POST /images/load`: one archive, made while it is sent.

The daemon takes layers compressed, and opens only those whose chain of diff_ids it does not have (image-spec,
config.md, *Layer ChainID*), so what it has is left out of the archive. That holds for its own storage; one on
containerd is sent everything, as an OCI layout, and then keeps the manifest's digest. Talks to the daemon by Docker's
SDK for Python, an extra.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ..kernel.errors import FlyteBuildError, InputError, StoreError
from ..kernel.reporting import Reporter
from ..store import Store
from . import tarball
from .archive import blob_members, docker_manifest, layout_members
from .engines import LoadedImage, Wanted
from .tarball import Member, member

__all__ = ["chain_ids", "load_docker"]

# Seconds without a word from the daemon: it unpacks a layer in silence.
_SILENCE = 900
# Images that are looked at for layers that need not be sent.
_LOOKED_AT = 500


def load_docker(store: Store, images: Sequence[Wanted], reporter: Reporter) -> list[LoadedImage]:
    """See :func:`flyte_build.delivery.daemons.load`."""
    with _daemon() as client:
        there = {image.name: _find(client, image) for image in images}
        missing = list({i.image.manifest_digest: i for i in images if there[i.name] is None}.values())
        sent: dict[str, int] = {}
        if missing:
            contained = _on_containerd(client)
            known = set() if contained else _known_chains(client)
            try:
                sent = _send(client, store, missing, known, reporter, as_layout=contained)
            except StoreError:
                if not known or not _whole(store, missing):
                    raise
                # An image that had the layers may have been removed meanwhile: then everything is needed.
                sent = _send(client, store, missing, set(), reporter, as_layout=contained)
        loaded = []
        for image in images:
            before = there[image.name]
            if before is not None:
                reporter.note(f"{image.image.environment}: the Docker daemon has the image already")
            identity = before or _find(client, image)
            if identity is None:
                raise StoreError(
                    f"{image.name}: expected the Docker daemon to have the image {image.config} now, found none",
                    hint="look at it with `docker images --no-trunc`, then run this again",
                )
            _name(client, image, identity)
            bytes_sent = sent.pop(image.image.manifest_digest, 0)
            loaded.append(image.loaded(identity, reused=before is not None, sent=bytes_sent))
        return loaded


def chain_ids(diff_ids: Iterable[str]) -> Iterator[str]:
    """The chain of each layer on those before it (image-spec, config.md)."""
    chain = ""
    for diff_id in diff_ids:
        chain = "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest() if chain else diff_id
        yield chain


def _send(
    client: Any, store: Store, images: Sequence[Wanted], known: set[str], reporter: Reporter, *, as_layout: bool
) -> dict[str, int]:
    """Send one archive of ``images`` without the layers in ``known`` chains; the bytes of each, by manifest digest."""
    built = [image.image for image in images]
    needed = {digest for image in images for digest in _needed(image, known)}
    if as_layout:
        members = list(layout_members(store, built, docker=True))
    else:
        every = {digest for image in images for digest, _ in image.blobs}
        members = [
            member("manifest.json", docker_manifest(store, built)),
            *blob_members(store, built, frozenset(every - needed)),
        ]
    title = f"load {', '.join(image.environment for image in built)} into Docker"
    with reporter.work(title, tarball.total(members), unit="bytes") as progress:
        _post(client, _counted(members, progress.advance))
    sent: dict[str, int] = {}
    done: set[str] = set()
    for image in images:
        fresh = {d: size for d, size in image.blobs if (as_layout or d in needed) and d not in done}
        done |= fresh.keys()
        sent[image.image.manifest_digest] = sum(fresh.values())
    return sent


def _whole(store: Store, images: Sequence[Wanted]) -> bool:
    """Whether the store still has all blobs, as one that was found damaged is moved aside."""
    return all(store.blob(digest, size) for image in images for digest, size in image.blobs)


def _needed(image: Wanted, known: set[str]) -> Iterator[str]:
    """The configuration, and the layers above those the daemon has in this order."""
    yield image.config
    below = True
    for chain, digest in zip(chain_ids(image.diff_ids), image.layers, strict=True):
        below = below and chain in known
        if not below:
            yield digest


def _counted(members: Sequence[Member], advance: Any) -> Iterator[bytes]:
    for piece in tarball.stream(members):
        yield piece
        advance(len(piece))


# -- the daemon --------------------------------------------------------------------------------------


@contextmanager
def _daemon() -> Iterator[Any]:
    """A connection to the daemon that `docker` itself would ask: ``DOCKER_HOST``, else the context in use."""
    try:
        import docker
        import docker.errors
        from docker.context import ContextAPI
        from docker.utils import kwargs_from_env
    except ImportError as e:
        raise InputError(
            f"loading into Docker needs its SDK for Python, and `{e.name}` is not installed",
            hint="pip install 'flyte-build[docker]'",
        ) from None
    where = kwargs_from_env()
    if "base_url" not in where:
        with _spoken("the Docker context"):
            context = ContextAPI.get_context(os.environ.get("DOCKER_CONTEXT"))
        if context is not None and context.Host:
            where = {"base_url": context.Host, **({"tls": context.TLSConfig} if context.TLSConfig else {})}
    address = where.get("base_url", "unix:///var/run/docker.sock").replace("http+unix://", "unix://")
    with _spoken(address):
        client = docker.APIClient(version="auto", timeout=_SILENCE, **where)
    try:
        with _spoken(address):
            yield client
    finally:
        client.close()


@contextmanager
def _spoken(address: str) -> Iterator[None]:
    """What the SDK or the connection raises, as our own error."""
    import requests
    from docker.errors import DockerException

    try:
        yield
    except FlyteBuildError:
        raise
    except (DockerException, requests.RequestException) as e:
        reason, hint = _reason(e)
        raise StoreError(f"{address}: the Docker daemon {reason}", hint=hint) from e


def _reason(error: BaseException) -> tuple[str, str]:
    """What went wrong and what to do about it, from whatever is at the bottom of ``error``."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, PermissionError):
            return (
                "may not be asked by you: permission denied",
                "join the `docker` group and log in again, or set DOCKER_HOST to a daemon of yours",
            )
        if isinstance(cause, FileNotFoundError | ConnectionRefusedError):
            return (
                f"is not running there ({cause.strerror or cause})",
                "start it, set DOCKER_HOST, or use podman instead, which needs no daemon",
            )
    explained = (getattr(cause, "explanation", None) for cause in causes)
    said = next((str(text) for text in explained if text), str(error))
    if "API version" in said or "is too old" in said:
        return f"is too old for the SDK or too new: {said}", "upgrade the daemon, or the package `docker`"
    return f"refused: {said.strip()}", "look at the daemon's own log"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [e for e in (one.__cause__, one.__context__, *one.args) if isinstance(e, BaseException)]


def _post(client: Any, pieces: Iterator[bytes]) -> None:
    """Send the archive, and read what the daemon says until it has finished. Its errors come in the same stream."""
    for event in client.load_image(pieces):
        said = event.get("error") or event.get("message") if isinstance(event, dict) else None
        if said:
            raise StoreError(
                f"the Docker daemon refused the images: {said}",
                hint="the daemon's own log says more (`journalctl -u docker`)",
            )


def _find(client: Any, image: Wanted) -> str | None:
    """The daemon's id of the image: its configuration's digest, or its manifest's where containerd keeps images."""
    from docker.errors import NotFound

    for digest in (image.config, image.image.manifest_digest):
        with suppress(NotFound):
            found = client.inspect_image(digest)
            if tuple(found.get("RootFS", {}).get("Layers") or ()) == image.diff_ids:
                return str(found["Id"])
    return None


def _name(client: Any, image: Wanted, identity: str) -> None:
    if image.name not in (client.inspect_image(identity).get("RepoTags") or ()):
        repository, _, tag = image.name.rpartition(":")
        client.tag(identity, repository, tag)


def _on_containerd(client: Any) -> bool:
    """Whether containerd keeps the daemon's images (``docker info`` shows its snapshotter as the driver's type)."""
    status = client.info().get("DriverStatus") or ()
    return any(str(value).startswith("io.containerd.snapshotter") for _, value in status)


def _known_chains(client: Any) -> set[str]:
    """The chains of all layers of the daemon's images."""
    from docker.errors import NotFound

    known: set[str] = set()
    for identity in sorted({str(row["Id"]) for row in client.images(all=True)})[:_LOOKED_AT]:
        with suppress(NotFound):
            known.update(chain_ids(client.inspect_image(identity).get("RootFS", {}).get("Layers") or ()))
    return known
