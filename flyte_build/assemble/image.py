"""Layers → an image: configuration, manifest, index (OCI image-spec v1.1), and the check that layers agree."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .digests import sha256
from .errors import AssembleError
from .results import LayerResult, overlap

__all__ = [
    "CREATED",
    "LAYER_TYPE",
    "canonical",
    "check_conflicts",
    "check_image",
    "descriptor",
    "image_config",
    "image_index",
    "image_manifest",
    "verbatim_blobs",
    "write_layout",
]

CREATED = "1980-01-01T00:00:00Z"
"""The time in every image: an image has no age, it has inputs."""

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no white space, in UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    """The OCI descriptor of ``data``."""
    return {"mediaType": media_type, "digest": "sha256:" + sha256(data).hexdigest(), "size": len(data)}


def check_conflicts(layers: Sequence[tuple[str, Mapping[str, str]]], wheels: frozenset[str] = frozenset()) -> list[str]:
    """Raises :class:`AssembleError` where two layers hold one path and not the same thing.

    ``layers`` are titles and listings. An upper layer would hide the lower one's file, or change the mode of its
    folder, and which one wins would depend on the order alone. Among the layers whose titles are in ``wheels`` it may
    hide files, as distributions do that are installed one after another: what hides what is in the answer.
    """
    hidden: dict[tuple[str, str], list[str]] = {}
    owner: dict[str, tuple[str, str]] = {}
    for title, listing in layers:
        for path, identity in listing.items():
            other, known = owner.setdefault(path, (title, identity))
            if known == identity:
                continue
            if {other, title} <= wheels and known.startswith("f ") and identity.startswith("f "):
                hidden.setdefault((other, title), []).append(path)
                owner[path] = title, identity
            else:
                raise AssembleError(
                    f"layers `{other}` and `{title}` both hold `{path}`, and not the same: `{known}` and `{identity}`; "
                    "an image can hold only one of them"
                )
    return [overlap(paths, *pair) for pair, paths in hidden.items()]


def check_image(spec: Mapping[str, Any], results: Sequence[LayerResult]) -> list[str]:
    """:func:`check_conflicts` for an image, less what is meant to replace what lies below.

    Layers of kind ``files`` may: the user said so. So may the folders of a ``system`` layer: it owns and opens
    packages' folders (``/root``, ``/var/tmp``) as maintainer scripts do. And what a registry base holds may be hidden
    by all that lies on it, as under ``FROM``: whoever builds on a base asks for more than it has. A ``sealed`` layer
    changes what is below it; that is what its programs were run for. And ``bytecode`` is of the module that is there.
    """
    packaged: set[str] = set()
    checked: list[tuple[str, Mapping[str, str]]] = []
    for layer, result in zip(spec["layers"], results, strict=True):
        listing = result.listing
        if layer["kind"] in ("files", "base", "sealed", "bytecode"):
            continue
        if layer["kind"] == "debian":
            packaged.update(listing)
        elif layer["kind"] == "system":
            listing = {p: i for p, i in listing.items() if p not in packaged or not i.startswith("d ")}
        checked.append((layer["title"], listing))
    wheels = frozenset(layer["title"] for layer in spec["layers"] if layer["kind"] == "wheels")
    return check_conflicts(checked, wheels)


def _platform(spec: Mapping[str, Any]) -> dict[str, str]:
    parts = spec["platform"].split("/")
    return dict(zip(("os", "architecture", "variant"), parts, strict=False))


def image_config(spec: Mapping[str, Any], results: Sequence[LayerResult]) -> bytes:
    """The image configuration of the plan ``spec`` on the layers ``results`` (image-spec, config.md).

    The history is the base's own, where there is one, and then ours.
    """
    made = [layer for layer in spec["layers"] if layer["kind"] != "base"]
    ours = [{"created": CREATED, "created_by": f"flyte-build: {layer['title']}"} for layer in made]
    history = [*spec.get("history", ()), *ours]
    return canonical(
        {
            **_platform(spec),
            "created": CREATED,
            "config": spec["config"],
            "rootfs": {"type": "layers", "diff_ids": [result.diff_id for result in results]},
            "history": history,
        }
    )


def image_manifest(spec: Mapping[str, Any], config: bytes, results: Sequence[LayerResult]) -> bytes:
    """The image manifest of the plan ``spec`` (image-spec, manifest.md)."""
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(CONFIG_TYPE, config),
        "layers": [
            {"mediaType": layer.get("media_type", LAYER_TYPE), "digest": r.digest, "size": r.size}
            for layer, r in zip(spec["layers"], results, strict=True)
        ],
    }
    if spec.get("annotations"):
        manifest["annotations"] = spec["annotations"]
    return canonical(manifest)


def image_index(spec: Mapping[str, Any], manifest: bytes, ref: str | None = None) -> bytes:
    """An index of the one manifest, which ``ref`` names (image-spec, image-index.md)."""
    media_type = spec["verbatim"]["manifest"]["mediaType"] if "verbatim" in spec else MANIFEST_TYPE
    entry = {**descriptor(media_type, manifest), "platform": _platform(spec)}
    if ref is not None:
        entry["annotations"] = {REF_NAME: ref}
    return canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]})


def write_layout(out: str, spec: Mapping[str, Any], results: Sequence[LayerResult], *, ref: str | None = None) -> str:
    """Complete the OCI image layout in the folder ``out`` (image-spec, image-layout.md).

    The layers' blobs must already lie in ``out/blobs/sha256``, and where the plan has ``verbatim``, its manifest and
    configuration too. Writes configuration, manifest, index and the layout's marker; returns the manifest's digest.
    Raises :class:`AssembleError` where layers conflict.
    """
    blobs = os.path.join(out, "blobs", "sha256")
    if "verbatim" in spec:
        with open(os.path.join(blobs, spec["verbatim"]["manifest"]["digest"].removeprefix("sha256:")), "rb") as f:
            manifest = f.read()
        _check_verbatim(spec, manifest)
    else:
        check_image(spec, results)
        config = image_config(spec, results)
        manifest = image_manifest(spec, config, results)
        for data in (config, manifest):
            _write(os.path.join(blobs, sha256(data).hexdigest()), data)
    _write(os.path.join(out, "index.json"), image_index(spec, manifest, ref))
    _write(os.path.join(out, "oci-layout"), canonical({"imageLayoutVersion": "1.0.0"}))
    return "sha256:" + sha256(manifest).hexdigest()


def verbatim_blobs(spec: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 (hex) → a name for messages, of the manifest and configuration that an image takes from its base."""
    kinds = ("manifest", "config") if "verbatim" in spec else ()
    return {spec["verbatim"][kind]["digest"].removeprefix("sha256:"): f"the base's {kind}" for kind in kinds}


def _check_verbatim(spec: Mapping[str, Any], manifest: bytes) -> None:
    """The base's own manifest must hold the plan's configuration and layers."""
    try:
        document = json.loads(manifest)
        found = [document["config"]["digest"], *(row["digest"] for row in document["layers"])]
    except (ValueError, KeyError, TypeError):
        found = []
    expected = [spec["verbatim"]["config"]["digest"], *(layer["digest"] for layer in spec["layers"])]
    if found != expected:
        raise AssembleError(f"the base's manifest names {', '.join(found) or 'no blobs'}, not {', '.join(expected)}")


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as f:
        f.write(data)
