"""Targets that read from memory: documents of registries, indexes, archives and caches."""

from __future__ import annotations

import io
import json
import re
import struct
from pathlib import Path
from typing import Any

from flyte_build.assemble.base import _Inflating
from flyte_build.assemble.elf import shared_object
from flyte_build.assemble.untar import members
from flyte_build.kernel.layer_tar import LayerTar
from flyte_build.locking.apt.index import Index
from flyte_build.locking.apt.package import installed_packages
from flyte_build.locking.apt.release import parse_release
from flyte_build.locking.base_documents import diff_ids_of, document_of, rows_of, settings_of
from flyte_build.locking.inspecting import Tree, facts_of
from flyte_build.locking.inspecting.debian import installed
from flyte_build.locking.inspecting.tree import Node
from flyte_build.locks import lockfile
from flyte_build.registry.challenge import parse_challenges
from flyte_build.registry.client import _media_type
from flyte_build.registry.referrers import _manifests, next_page
from flyte_build.registry.secrets import Secrets
from flyte_build.registry.values import Manifest, digest_of
from flyte_build.remote.cache_entries import read_image, read_layer, unpack_listing
from flyte_build.sources.indexes import metadata
from flyte_build.sources.indexes.pages import Page
from flyte_build.sources.mirrors import Mirror
from flyte_build.submit.action import Outcome
from flyte_build.submit.verdict import judge
from flyte_build.supply.licenses import of_deb, of_wheel
from flyte_build.supply.signature_formats import of_bundle, of_simple

from ..support.images import image_of, wheels_layer

__all__ = [
    "challenge", "config", "elf", "error", "gzip_members", "image", "index_page", "licence", "listing", "lock",
    "manifest", "of_range", "packages", "realisation", "release", "signature", "status", "tar_members",
]  # fmt: skip

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MIRROR = Mirror("https://mirror.example", "debian", "a test")
IMAGE = image_of("a", [wheels_layer("alpha 1.0", [])])
"""What realisations in a cache are held against."""


def of_range(data: bytes, folder: Path) -> None:
    metadata.parse(metadata.from_archive(len(data), data[-64:], lambda a, b: data[a:b]))


def tar_members(data: bytes, folder: Path) -> None:
    list(members(io.BytesIO(data), "a.deb", "data.tar"))


def gzip_members(data: bytes, folder: Path) -> None:
    for plain in (stream := _Inflating()).feed(data, "layer"):
        assert len(plain) <= 1 << 20
    stream.close("layer")
    tar = LayerTar(io.BytesIO(data), compressed=True, limit=1 << 26)
    for _ in tar.members():
        pass
    tar.drain()


def manifest(data: bytes, folder: Path) -> None:
    _manifests(data)
    _media_type("", data, "registry")
    found = Manifest(_MANIFEST, digest_of(data), data)
    for blob in found.blobs():
        assert blob.size >= 0
    rows_of(found.json.get("manifests"))


def config(data: bytes, folder: Path) -> None:
    document = document_of(data, "the configuration")
    diff_ids_of(document.get("rootfs"))
    facts_of(Tree(), settings_of(document.get("config"), "the configuration"))
    rows_of(document.get("history"))


def lock(data: bytes, folder: Path) -> None:
    """The bytes of a lock's file, which may be of any environment."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        (folder / "env.json").write_bytes(data)
        assert lockfile.read(folder, "env") is not None
        return
    lockfile.parse(text, Path("lockfiles/env.json")).text()


def packages(data: bytes, folder: Path) -> None:
    index = Index(data, "amd64", "debian", "Packages")
    for name in index.names:
        for package in (*index.versions(name), *index.providers(name)):
            for relation in (*package.provides, *(r for clause in package.depends for r in clause)):
                relation.accepts(package.version)


def status(data: bytes, folder: Path) -> None:
    """dpkg's database in a base."""
    text = data.decode("utf-8", "replace")
    tree = Tree()
    tree.add("var/lib/dpkg/status", Node("file", content=data))
    for _ in installed(tree):
        pass
    for package in installed_packages([text], "amd64"):
        for relation in (*package.provides, *(r for clause in package.depends for r in clause)):
            relation.accepts(package.version)


def release(data: bytes, folder: Path) -> None:
    parse_release(data.decode("utf-8", "replace"), _MIRROR, "bookworm")


def index_page(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "replace")
    html = text.lstrip()[:1] != "{"
    named = re.search(r'"filename":\s*"([^"\\]+)"', text)
    if named is not None:
        for found in Page(text, "https://index.example/a/", html=html).named(named[1]):
            assert found.name == named[1]
    for found in Page(text, "https://index.example/a/", html=html).files():
        assert isinstance(found.url, str)


def realisation(data: bytes, folder: Path) -> None:
    """A layer's manifest in a shared cache."""
    read_layer(IMAGE.layers[0], "registry.example/cache", data)


def image(data: bytes, folder: Path) -> None:
    """An image's manifest and configuration in a shared cache: two documents, divided by a zero."""
    first, _, second = data.partition(b"\0")
    read_image(IMAGE, "registry.example/cache", first, second)


def listing(data: bytes, folder: Path) -> None:
    unpack_listing(data)


def signature(data: bytes, folder: Path) -> None:
    """A layer of a signature and its annotations, divided by a zero; and a bundle."""
    payload, _, notes = data.partition(b"\0")
    try:
        annotations: Any = json.loads(notes)
    except (ValueError, RecursionError):
        annotations = None
    of_simple(payload, annotations)
    of_bundle(data)


def challenge(data: bytes, folder: Path) -> None:
    """``WWW-Authenticate`` and ``Link``, a line each."""
    lines = data.decode("latin-1").split("\n")
    parse_challenges(lines)
    Secrets().redact(data.decode("latin-1"))
    for line in lines:
        next_page(line, "https://registry.example/v2/a/referrers/x")


def licence(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "replace")
    of_wheel(text)
    of_deb(text)


def elf(data: bytes, folder: Path) -> None:
    def read_at(offset: int, size: int) -> bytes:
        assert size <= 1 << 22, f"asked for {size} bytes at once"
        return data[offset : offset + size]

    shared_object(read_at)


def error(data: bytes, folder: Path) -> None:
    """error.pb of a task: whatever it is, there is a verdict, and it can be written down."""
    verdict = judge(Outcome(1), data, outputs=False, wanted=True, timeout=None)
    assert verdict.error is not None
    json.dumps([verdict.error.code, verdict.error.message], ensure_ascii=False).encode()


def library() -> bytes:
    """A small shared library with a soname (System V ABI): headers, a dynamic section, and one string."""
    strings, dynamic = b"\0liba.so.1\0", 64 + 2 * 56
    body = struct.pack("<qQqQqQ", 5, 0x1000 + dynamic + 48, 14, 1, 0, 0) + strings
    size = dynamic + len(body)
    loads = struct.pack("<IIQQQQQQ", 1, 4, 0, 0x1000, 0x1000, size, size, 4096)
    loads += struct.pack("<IIQQQQQQ", 2, 4, dynamic, 0x1000 + dynamic, 0, 48, 48, 8)
    head = struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    return b"\x7fELF\2\1\1".ljust(16, b"\0") + head + loads + body
