"""Any OCI image layout → contents: configuration, layers, files, and the packages that its files tell of.

An image that was not made here says nothing of wheels' hashes. Python's packages are read off the ``.dist-info``
folders (PyPA, "Recording installed projects"), Debian's off dpkg's database. Reads only; hashes what it reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from packaging.utils import canonicalize_name

from ..kernel.canonical import Json
from ..kernel.errors import ArtifactError, InputError
from ..kernel.stanzas import stanzas
from ..store import layout
from .contents import Contents, Layer, Package
from .entries import File
from .filesystem import merged
from .tarfiles import LayerFiles, read_layer

__all__ = ["Chosen", "choose", "read_image"]

_STATUS = "var/lib/dpkg/status"
# Images without a package manager have one file a package (distroless), under names that scanners know.
_STATUS_FOLDER = "var/lib/dpkg/status.d/"
_DAMAGED = "the image is damaged; copy or build it again"
# Unpacked files of an image nest as deep as indexes do in practice; a cycle ends here.
_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Chosen:
    """A manifest of a layout: its digest, and the name and the derivation that the index gives it."""

    digest: str
    name: str | None
    derivation: str | None
    platform: str | None


def choose(folder: Path, ref: str | None, platform: str | None, prefer: str | None = None) -> Chosen:
    """The one image of the layout in ``folder`` that ``ref`` means: a name in the index, one of our environments, or a
    digest's beginning; ``None`` is right where there is only one. Of several platforms, ``platform``, else ``prefer``.

    Raises :class:`InputError` where it is no layout, or not exactly one image answers; the message lists them.
    """
    index = folder / "index.json"
    document = _json(index) if index.is_file() else None
    if document is None or not (folder / "oci-layout").is_file():
        raise InputError(
            f"{folder}: expected an OCI image layout (a folder with oci-layout and index.json), found "
            + ("something else" if folder.exists() else "nothing"),
            hint="`flyte-build build FILE --output oci:DIR` writes one, and so does `skopeo copy docker://… oci:DIR`",
        )
    every = _images(folder, document, None, _DEPTH)
    named = [c for c in every if ref is None or _means(c, ref)]
    found = {c.digest: c for c in named if platform is None or c.platform in (None, platform)}
    preferred = {c.digest: c for c in found.values() if platform is None and c.platform == prefer}
    for some in (found, preferred):
        if len(some) == 1:
            return next(iter(some.values()))
    have = ", ".join(
        sorted({f"`{c.name or c.digest[:19]}`" + (f" ({c.platform})" if c.platform else "") for c in every})
    )
    wanted = "exactly one image" if ref is None else f"exactly one image called `{ref}`"
    wanted += f" for {platform}" if platform else ""
    raise InputError(
        f"{folder}: expected {wanted}, found {len(found)}; there are: {have or 'none'}",
        hint="name one: `oci:DIR:NAME` or `oci:DIR:sha256:…`, and --platform where it has several",
    )


def _shown(image: Chosen) -> str:
    return f"`{image.name or image.digest[:19]}`" + (f" ({image.platform})" if image.platform else "")


def _means(image: Chosen, ref: str) -> bool:
    if ref.startswith("sha256:"):
        return image.digest.startswith(ref)
    return image.name == ref or (image.platform is not None and image.name == layout.ref_name(ref, image.platform))


def _images(folder: Path, index: Mapping[str, Any], name: str | None, depth: int) -> list[Chosen]:
    """The manifests that an index leads to, those of nested indexes under the outer one's name."""
    found: list[Chosen] = []
    for entry in layout.manifests(dict(index)):
        digest = entry.get("digest")
        if not isinstance(digest, str):
            continue
        called = layout.annotation(entry, layout.REF_NAME) or name
        kind = str(entry.get("mediaType", ""))
        if ("index" in kind or "manifest.list" in kind) and depth:
            found += _images(folder, _document(folder, digest), called, depth - 1)
        elif _stated(entry).get("os") != "unknown":  # attestations, as BuildKit marks them
            found.append(Chosen(digest, called, layout.annotation(entry, layout.DERIVATION), _platform(entry)))
    return found


def _stated(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found = entry.get("platform")
    return found if isinstance(found, dict) else {}


def _platform(entry: Mapping[str, Any]) -> str | None:
    said = _stated(entry) or entry
    if not isinstance(said.get("os"), str) or not isinstance(said.get("architecture"), str):
        return None
    return "/".join(str(said[k]) for k in ("os", "architecture", "variant") if said.get(k))


def read_image(folder: Path, digest: str, subject: str) -> Contents:
    """The contents of the image whose manifest is ``digest``, from the blobs of the layout in ``folder``.

    Raises :class:`ArtifactError` where a blob is not what its name says. A layer that is not here, or compressed in a
    way that is not known here, is *not known*.
    """
    manifest = _document(folder, digest)
    try:
        config = _document(folder, manifest["config"]["digest"])
        rows = [(str(row["digest"]), int(row["size"])) for row in manifest["layers"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ArtifactError(f"{folder}: {digest} is no image manifest", hint=_DAMAGED) from None
    titles = _titles(config, len(rows))
    layers: list[Layer] = []
    read: list[LayerFiles | None] = []
    for title, (blob, size) in zip(titles, rows, strict=True):
        found, because = _layer(folder, blob)
        read.append(found)
        layers.append(
            Layer(title, digest=blob, size=size, files=found.files if found else None, because=because)
        )  # fmt: skip
    complete = all(r is not None for r in read)
    view = merged([r.files if r else None for r in read])
    because = "a layer's files are not known"
    said = config.get("config")
    return Contents(
        subject=subject,
        kind="image",
        identity=digest,
        facts={"platform": platform} if (platform := _platform(config)) else {},
        wheels=_wheels(view) if complete else None,
        debs=_debs(view, read) if complete else None,
        config=cast("Mapping[str, Json]", said) if isinstance(said, dict) else {},
        annotations=cast("Mapping[str, str]", manifest.get("annotations") or {}),
        layers=tuple(layers),
        unknown={
            "copied": "an image does not tell which of its files were copied",
            "wheels": because,
            "debs": because,
        },
    )


def _layer(folder: Path, digest: str) -> tuple[LayerFiles | None, str]:
    path = _blob(folder, digest)
    try:
        found = read_layer(path, digest, _tells)
    except FileNotFoundError:
        return None, "the layer is not in the layout"
    except OSError as e:
        raise ArtifactError(f"{path}: cannot be read: {e.strerror or e}", hint=_DAMAGED) from None
    return found, "the layer is compressed in a way that is not known here"


def _tells(path: str) -> bool:
    return path == _STATUS or path.startswith(_STATUS_FOLDER)


def _titles(config: Mapping[str, Any], count: int) -> list[str]:
    """What the history says of each layer, or its number."""
    history = config.get("history")
    steps = (
        [h for h in history if isinstance(h, dict) and not h.get("empty_layer")] if isinstance(history, list) else []
    )
    if len(steps) != count:
        return [f"layer {i + 1}" for i in range(count)]
    said = [str(h.get("created_by") or f"layer {i + 1}").removeprefix("flyte-build: ") for i, h in enumerate(steps)]
    return [" ".join(title.split())[:120] for title in said]


def _wheels(view: Mapping[str, File]) -> dict[str, Package]:
    """Distributions in every ``site-packages``; one of a second folder is named with it."""
    found: dict[str, Package] = {}
    for path in view:
        folder, _, name = path.removesuffix("/METADATA").rpartition("/")
        if path.endswith(".dist-info/METADATA") and folder.endswith("site-packages"):
            project, _, version = name.removesuffix(".dist-info").rpartition("-")
            key = str(canonicalize_name(project))
            found[key if key not in found else f"{key} in /{folder}"] = Package(version)
    return found


def _debs(view: Mapping[str, File], read: list[LayerFiles | None]) -> dict[str, Package]:
    """Installed packages by name, off dpkg's database as the topmost layer has it."""
    found: dict[str, Package] = {}
    contents: dict[str, bytes] = {}
    for layer in read:
        contents |= layer.contents if layer else {}
    texts = [contents[path] for path in sorted(contents) if path in view and not path.endswith(".md5sums")]
    for text in texts:
        for stanza in stanzas(text):
            name, version = stanza.get("Package"), stanza.get("Version")
            if name and version and str(stanza.get("Status", "installed")).split()[-1:] == ["installed"]:
                key = name if name not in found else f"{name}:{stanza.get('Architecture', '')}"
                found[key] = Package(version)
    return found


def _blob(folder: Path, digest: str) -> Path:
    algorithm, _, name = digest.partition(":")
    if algorithm != "sha256" or len(name) != 64 or not name.isalnum():
        raise ArtifactError(f"{folder}: expected a digest sha256:<64 hexadecimal digits>, found `{digest}`")
    return folder / "blobs" / "sha256" / name


def _document(folder: Path, digest: str) -> dict[str, Any]:
    path = _blob(folder, digest)
    try:
        data = path.read_bytes()
    except OSError as e:
        raise ArtifactError(f"{path}: cannot be read: {e.strerror or e}", hint=_DAMAGED) from None
    if "sha256:" + hashlib.sha256(data).hexdigest() != digest or (found := layout.parse(data)) is None:
        raise ArtifactError(f"{path}: expected JSON with the digest {digest}, found something else", hint=_DAMAGED)
    return found


def _json(path: Path) -> dict[str, Any] | None:
    return layout.parse(path.read_bytes())
