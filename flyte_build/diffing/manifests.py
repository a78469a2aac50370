"""Two images that should be one → where they first differ: the layer, and in it the path; the configuration; the rest.

``difference`` compares what two images mean; this compares bytes that a hash says are not the same, and looks for the
cause. Layers come first: a configuration that differs only because it lists other layers is no difference of its own.
Reads blobs that it is given, fetches nothing itself.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from ..kernel.errors import ArtifactError
from ..kernel.layer_tar import GZIP, LayerTar, most_inflated
from .entries import File
from .tarfiles import LayerFiles, read_layer

__all__ = ["Divergence", "Holder", "first_differences", "first_path"]

# What a tar header says besides what a layer's files are compared by.
_HEADER = ("mtime", "uname", "gname", "pax_headers", "type")


class Holder(Protocol):
    """Where an image's blobs are."""

    def document(self, digest: str) -> Mapping[str, Any] | None:
        """The JSON of a manifest or a configuration; ``None`` where it is not here."""

    def file(self, digest: str, size: int) -> Path | None:
        """A file with the blob; ``None`` where it is not here."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """One cause. ``layer`` counts from 1, ``title`` is the layer's; ``path`` is in the layer, or a key of the
    configuration; ``what`` says what was expected and found there."""

    part: Literal["layer", "config", "manifest"]
    what: str
    layer: int | None = None
    title: str | None = None
    path: str | None = None

    def __str__(self) -> str:
        if self.part == "layer":
            where = f"layer {self.layer}" + (f" (`{self.title}`)" if self.title else "")
        else:
            where = {"config": "configuration", "manifest": "manifest"}[self.part]
        return f"{where}: " + (f"`{self.path}`: {self.what}" if self.path is not None else self.what)

    def to_json(self) -> dict[str, object]:
        return {"part": self.part, "layer": self.layer, "title": self.title, "path": self.path, "what": self.what}


def first_differences(
    expected: Mapping[str, Any], there: Holder, found: Mapping[str, Any], here: Holder
) -> list[Divergence]:
    """Where the image of manifest ``found`` (blobs in ``here``) is not the one of ``expected`` (blobs ``there``).

    The first layer that differs, with its first path; the first setting of the configuration; the manifest's own.
    Empty only for equal manifests. Raises :class:`ArtifactError` for a manifest that is none.
    """
    old, new = _rows(expected), _rows(found)
    configs = _config(expected, there), _config(found, here)
    causes = _layers(old, there, new, here, configs)
    causes += _configs(expected, found, configs, of_layers=bool(causes))
    rest = _changes(_without(expected), _without(found))
    causes += [Divergence("manifest", what, path=key) for key, what in rest[:1]]
    if not causes and expected != found:
        causes.append(Divergence("manifest", "sizes or media types of its blobs differ"))
    return causes


# -- layers ----------------------------------------------------------------------------------------


def _rows(manifest: Mapping[str, Any]) -> list[tuple[str, int]]:
    try:
        return [(str(row["digest"]), int(row["size"])) for row in manifest["layers"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ArtifactError("expected an image manifest, found none", hint="name the image, not an artifact") from None


def _layers(
    old: Sequence[tuple[str, int]],
    there: Holder,
    new: Sequence[tuple[str, int]],
    here: Holder,
    configs: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
) -> list[Divergence]:
    unequal = [i for i, (a, b) in enumerate(zip_longest(old, new)) if a is None or b is None or a[0] != b[0]]
    if not unequal:
        return []
    first, more = unequal[0], len(unequal) - 1
    after = f"; {more} more layer{'s' if more > 1 else ''} after it" if more else ""
    title = _title(configs[1], first, len(new)) or _title(configs[0], first, len(old))
    if first >= len(old) or first >= len(new):
        what = f"expected {len(old)} layers, found {len(new)}"
        return [Divergence("layer", what, first + 1, title)]
    sums = [_diff_id(config, first) for config in configs]
    path: str | None = None
    if sums[0] is not None and sums[0] == sums[1]:
        what = "the same files, compressed otherwise"
    else:
        path, what = _inside(old[first], there, new[first], here)
    return [Divergence("layer", what + after, first + 1, title, path)]


def _inside(old: tuple[str, int], there: Holder, new: tuple[str, int], here: Holder) -> tuple[str | None, str]:
    """The first path in which two layers differ, and how; no path where it cannot be told."""
    files = there.file(*old), here.file(*new)
    digests = f"expected {old[0]}, found {new[0]}"
    if files[0] is None or files[1] is None:
        return None, f"{digests}; the {'expected' if files[0] is None else 'found'} one is not here to look into"
    read = []
    for file, digest in ((files[0], old[0]), (files[1], new[0])):
        try:
            read.append(read_layer(file, digest, lambda _: False))
        except ArtifactError as e:
            return None, f"{digests}; {e.message}"
    before, after = read
    if before is None or after is None:
        return None, f"{digests}; compressed in a way that is not known here"
    found = first_path(before, after)
    return found if found is not None else _first_header(files[0], files[1])


def first_path(expected: LayerFiles, found: LayerFiles) -> tuple[str, str] | None:
    """The first path, in the order of the tars, in which two layers differ, and in what; ``None`` if in none."""
    for old, new in zip_longest(expected.files.items(), found.files.items()):
        if old == new:
            continue
        if new is None or (old is not None and old[0] not in found.files):
            assert old is not None
            return old[0], f"missing; expected {_describe(old[1])}"
        if old is None or new[0] not in expected.files:
            return new[0], f"found {_describe(new[1])}, expected nothing"
        if old[0] != new[0]:
            return new[0], f"order: expected `{old[0]}` before it"
        return new[0], _unequal(old[1], new[1])
    return None


def _unequal(old: File, new: File) -> str:
    if old.kind != new.kind:
        return f"expected {_describe(old)}, found {_describe(new)}"
    said = []
    for name, a, b in (
        ("mode", _octal(old.mode), _octal(new.mode)),
        ("owner", old.owner, new.owner),
        ("target", old.link, new.link),
        ("size", old.size, new.size),
    ):
        if a != b:
            said.append(f"{name}: expected {a}, found {b}")
    if old.sha256 != new.sha256:
        said.append(f"content: expected SHA-256 {old.sha256}, found {new.sha256}")
    return "; ".join(said)


def _octal(mode: int | None) -> str | None:
    return None if mode is None else f"{mode:04o}"


def _describe(file: File) -> str:
    what = {"file": f"a file of {file.size} bytes", "folder": "a folder", "device": "a device"}.get(file.kind)
    return what or f"a {'symlink' if file.kind == 'link' else 'hard link'} to `{file.link}`"


def _first_header(old: Path, new: Path) -> tuple[str | None, str]:
    """The first path whose header differs in what no file system shows."""
    for a, b in zip_longest(_headers(old), _headers(new)):
        if a is None or b is None:
            return None, "the same files, but not each of them once"
        for name in _HEADER:
            before, after = getattr(a, name), getattr(b, name)
            if before != after:
                return b.name, f"tar header, {name}: expected {before!r}, found {after!r}"
    return None, "the same files with the same headers; the tar's padding, or how numbers are written, differs"


def _headers(blob: Path) -> Iterator[tarfile.TarInfo]:
    with open(blob, "rb") as raw:
        packed = raw.read(2) == GZIP
        raw.seek(0)
        limit = most_inflated(os.fstat(raw.fileno()).st_size)
        for member, _, _ in LayerTar(raw, compressed=packed, limit=limit).members():
            yield member


# -- configuration and manifest --------------------------------------------------------------------


def _config(manifest: Mapping[str, Any], holder: Holder) -> Mapping[str, Any] | None:
    try:
        return holder.document(str(manifest["config"]["digest"]))
    except (KeyError, TypeError):
        return None


def _configs(
    expected: Mapping[str, Any],
    found: Mapping[str, Any],
    configs: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
    *,
    of_layers: bool,
) -> list[Divergence]:
    digests = [str((manifest.get("config") or {}).get("digest")) for manifest in (expected, found)]
    if digests[0] == digests[1]:
        return []
    old, new = configs
    if old is None or new is None:
        if of_layers:
            return []
        which = "expected" if old is None else "found"
        return [Divergence("config", f"expected {digests[0]}, found {digests[1]}; the {which} one is not here")]
    skipped = ("rootfs",) if of_layers else ()
    changes = _changes(
        {k: v for k, v in old.items() if k not in skipped}, {k: v for k, v in new.items() if k not in skipped}
    )
    if changes:
        more = f"; {len(changes) - 1} more setting{'s' if len(changes) > 2 else ''}" if len(changes) > 1 else ""
        return [Divergence("config", changes[0][1] + more, path=changes[0][0])]
    return [] if of_layers else [Divergence("config", "the same settings, written otherwise")]


def _changes(old: Any, new: Any, at: str = "") -> list[tuple[str, str]]:
    """Every place in which two JSON values differ, by its path, and how."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        return [c for k in keys for c in _changes(old.get(k), new.get(k), f"{at}.{k}" if at else str(k))]
    if isinstance(old, list) and isinstance(new, list):
        pairs = enumerate(zip_longest(old, new))
        return [c for i, (a, b) in pairs for c in _changes(a, b, f"{at}[{i}]")]
    if old == new and type(old) is type(new):
        return []
    return [(at, f"expected {_shown(old)}, found {_shown(new)}")]


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)


def _without(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in manifest.items() if k not in ("config", "layers")}


def _diff_id(config: Mapping[str, Any] | None, index: int) -> str | None:
    try:
        return str(cast("Mapping[str, Any]", config)["rootfs"]["diff_ids"][index])
    except (KeyError, TypeError, IndexError):
        return None


def _title(config: Mapping[str, Any] | None, index: int, count: int) -> str | None:
    """What the history says of the layer, where it says something of each."""
    history = (config or {}).get("history")
    steps = (
        [h for h in history if isinstance(h, dict) and not h.get("empty_layer")] if isinstance(history, list) else []
    )
    if len(steps) != count or index >= count:
        return None
    return " ".join(str(steps[index].get("created_by") or "").removeprefix("flyte-build: ").split())[:120] or None
