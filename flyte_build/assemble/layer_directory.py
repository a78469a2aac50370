"""A layer made on its own, as a folder: what one action of Nix or Bazel leaves for the one that joins layers.

The folder holds ``blob`` (the layer), ``spec.json`` (what it was made of), ``listing.json`` (its paths, for the check
that layers agree) and ``result.json`` (derivation, digest, size, diff_id, diff_size, warnings). The derivation is the
hash of the spec without its title, as everywhere: layers are known by it, never by their place in a row.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import AssembleError
from .image import canonical, write_layout
from .layer import LayerResult, layer_artifacts, write_layer

__all__ = ["Finished", "derivation", "join_layers", "make_layer", "read_layer"]

_KEYS = ("digest", "size", "diff_id", "diff_size")


@dataclass(frozen=True, slots=True)
class Finished:
    """A layer's folder, read: ``blob`` is the path of its bytes."""

    derivation: str
    spec: dict[str, Any]
    result: LayerResult
    blob: str


def derivation(spec: Mapping[str, Any]) -> str:
    """The hash of a layer's spec: ``sha256:<hex>`` of its canonical JSON, the title left out."""
    identity = {key: value for key, value in spec.items() if key != "title"}
    return "sha256:" + hashlib.sha256(canonical(identity)).hexdigest()


def make_layer(spec: dict[str, Any], resolve: Callable[[str], str], out: str, compiled: str | None = None) -> Finished:
    """Make the layer that ``spec`` describes, as the folder ``out``, new or empty; it is removed where that fails.

    ``resolve`` maps an artifact's SHA-256 to a verified local file; ``compiled`` as :func:`~.layer.write_layer` has it.
    Raises :class:`AssembleError` for an input that cannot become a layer and ``OSError`` where ``out`` holds something
    or cannot be written.
    """
    _claim(out)
    try:
        scratch, blob = os.path.join(out, "scratch"), os.path.join(out, "blob")
        os.mkdir(scratch)
        with open(blob, "xb", buffering=0) as f:
            result = write_layer(spec, resolve, f, scratch=scratch, compiled=compiled)
        shutil.rmtree(scratch)
        known = derivation(spec)
        shown = {"derivation": known, **{key: getattr(result, key) for key in _KEYS}, "warnings": result.warnings}
        for name, value in (("spec", spec), ("listing", result.listing), ("result", shown)):
            with open(os.path.join(out, f"{name}.json"), "xb") as f:
                f.write(canonical(value))
        return Finished(known, spec, result, blob)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _claim(out: str) -> None:
    """Make the folder ``out``; build systems may have made it, and then it is empty."""
    os.makedirs(out, exist_ok=True)
    if os.listdir(out):
        raise FileExistsError(17, "the folder exists and is not empty", out)


def read_layer(folder: str) -> Finished:
    """What :func:`make_layer` left in ``folder``; raises :class:`AssembleError` where that is something else.

    The blob is not read: whoever keeps folders of layers (a Nix store, Bazel's cache) vouches for their bytes.
    """
    found: dict[str, Any] = {}
    for name in ("spec", "listing", "result"):
        with open(os.path.join(folder, f"{name}.json"), "rb") as f:
            try:
                found[name] = json.load(f)
            except ValueError as e:
                raise AssembleError(f"expected the folder of a finished layer: {name}.json: {e}", folder) from None
    spec, shown = found["spec"], found["result"]
    try:
        result = LayerResult(**{key: shown[key] for key in _KEYS}, listing=dict(found["listing"]))
        known = str(shown["derivation"])
        same = known == derivation(spec)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise AssembleError("expected the folder of a finished layer, found other JSON", folder) from None
    if not same:
        raise AssembleError(f"expected the spec of {known}, found that of {derivation(spec)}", folder)
    return Finished(known, spec, result, os.path.join(folder, "blob"))


def join_layers(
    plan: Mapping[str, Any], layers: Iterable[Finished], out: str, *, ref: str | None = None, link: bool = False
) -> str:
    """Make the OCI image layout of ``plan`` in ``out``, new or empty, from finished ``layers``, in any order.

    A layer is found by its derivation; one that needs no artifacts is made here where it was not given. With
    ``link``, blobs are symbolic links to the layers' folders instead of copies. Returns the manifest's digest. Raises
    :class:`AssembleError` where layers conflict, one is missing, or one is given that the plan has no place for: then
    whoever grouped the artifacts does not group as the plan does.
    """
    given = {layer.derivation: layer for layer in layers}
    _claim(out)
    try:
        blobs = os.path.join(out, "blobs", "sha256")
        os.makedirs(blobs)
        unused = dict(given)
        results = []
        for spec in plan["layers"]:
            known = derivation(spec)
            unused.pop(known, None)
            if known not in given:
                if layer_artifacts(spec) or spec["kind"] == "bytecode":
                    raise AssembleError(f"expected a finished layer `{spec['title']}` ({known}), found none")
                given[known] = make_layer(spec, _no_artifact, os.path.join(out, "made"))
                _place(given[known], blobs, link=False)
                shutil.rmtree(os.path.join(out, "made"))
            else:
                _place(given[known], blobs, link=link)
            results.append(given[known].result)
        if unused:
            raise AssembleError(f"the image has no layer {', '.join(sorted(unused))}; there are: {_named(plan)}")
        return write_layout(out, plan, results, ref=ref)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _place(layer: Finished, blobs: str, *, link: bool) -> None:
    place = os.path.join(blobs, layer.result.digest.removeprefix("sha256:"))
    # Two layers of one content are one blob.
    if not os.path.lexists(place):
        if link:
            os.symlink(layer.blob, place)
        else:
            shutil.copyfile(layer.blob, place)


def _no_artifact(sha256: str) -> str:
    raise AssertionError(f"a layer without artifacts asked for {sha256}")


def _named(plan: Mapping[str, Any]) -> str:
    return ", ".join(f"`{spec['title']}` {derivation(spec)}" for spec in plan["layers"])
